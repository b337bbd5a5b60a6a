"""The ledger of the local chain: all balances, and all transactions.

It is our own code because yagna needs one token with two methods, and no virtual machine. A transaction takes
11 µs here, and no package is needed. `server.py` says which packages were considered.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ...model.cost import plain

# As on hoodi, where the daemon looks for them.
CHAIN_ID = 560048
TOKEN = "0x55555555555556acff9c332ed151758858bd7a26"
BASE_FEE = 1_000_000_000
TRANSFER = bytes.fromhex("a9059cbb")

_TRANSFER_GAS = 52_000
_PLAIN_GAS = 21_000
_WORD = 32
_UNITS = 10**18


class ChainRefusal(Exception):
    """The chain refuses a transaction or a request; the message says why."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A signed transaction. Amounts are in the smallest units of gas money, prices are per unit of gas.

    Attributes:
        hash: the id of the transaction.
        chain_id: the chain that it is meant for.
        nonce: its number among the sender's transactions.
        tip: the price above the base fee.
        highest_price: the limit of the whole price, with `tip`.
        gas: the limit of the gas.
        sender: the address that has signed it.
        to: the address of a contract or of an account; None: a new contract.
        value: the gas money that it transfers.
        data: the encoded call of a contract.
    """

    hash: str
    chain_id: int
    nonce: int
    tip: int
    highest_price: int
    gas: int
    sender: str
    to: str | None
    value: int
    data: bytes

    @property
    def price(self) -> int:
        return min(self.highest_price, BASE_FEE + self.tip)


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction on the chain.

    Attributes:
        transaction: the transaction.
        block: the number of its block.
        gas_used: the gas that it has cost.
        succeeded: False: it has only cost gas.
        moved: the recipient and the amount of a transfer of GLM; None for other transactions.
    """

    transaction: Transaction
    block: int
    gas_used: int
    succeeded: bool
    moved: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer of GLM.

    Attributes:
        transaction: the hash of the transaction, as a payment names it.
        sender: the payer's address, in lower case.
        recipient: the payee's address, in lower case.
        amount: the amount in GLM.
    """

    transaction: str
    sender: str
    recipient: str
    amount: Decimal

    def to_wire(self) -> Mapping[str, Any]:
        return {**asdict(self), "amount": str(self.amount)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Transfer:
        return cls(**{**wire, "amount": Decimal(wire["amount"])})


class Ledger:
    """A chain with one token, GLM, and a new block each second; each transaction is mined at once.

    May be used by any number of threads.

    Attributes:
        chain_id: the number that tells it from other chains.
    """

    def __init__(self, chain_id: int = CHAIN_ID) -> None:
        self.chain_id = chain_id
        self._lock = threading.Lock()
        self._began = time.time()
        self._glm: defaultdict[str, int] = defaultdict(int)
        self._gas: defaultdict[str, int] = defaultdict(int)
        self._nonces: defaultdict[str, int] = defaultdict(int)
        self._mined: dict[str, Mined] = {}

    # balances and transactions

    def glm_of(self, address: str) -> int:
        """The GLM that an address owns, in its smallest units."""
        with self._lock:
            return self._glm[address.lower()]

    def gas_of(self, address: str) -> int:
        """The gas money that an address owns, in its smallest units."""
        with self._lock:
            return self._gas[address.lower()]

    def nonce_of(self, address: str) -> int:
        """The number of transactions of an address."""
        with self._lock:
            return self._nonces[address.lower()]

    def mined(self, hash: str) -> Mined | None:
        with self._lock:
            return self._mined.get(hash.lower())

    def transfers(self) -> list[Transfer]:
        """All successful transfers of GLM, the oldest first."""
        with self._lock:
            return [
                Transfer(one.transaction.hash, one.transaction.sender, one.moved[0], to_glm(one.moved[1]))
                for one in self._mined.values()
                if one.moved is not None
            ]

    # blocks

    @property
    def head(self) -> int:
        """The number of the latest block."""
        return 1 + int(time.time() - self._began)

    def time_of(self, block: int) -> int:
        """The time of a block, in seconds since 1970."""
        return int(self._began) + block - 1

    # changes

    def set_funds(self, address: str, glm: int, gas: int | None = None) -> None:
        """Set the balances of an address, in smallest units; None: the gas money stays as it is."""
        with self._lock:
            self._glm[address.lower()] = glm
            if gas is not None:
                self._gas[address.lower()] = gas

    def add(self, transaction: Transaction) -> None:
        """Put a transaction into the latest block.

        Raises:
            ChainRefusal: its nonce or chain is wrong, or its sender can't pay the gas.
        """
        with self._lock:
            self._check(transaction)
            sender = transaction.sender
            self._nonces[sender] += 1
            needed = gas_needed(transaction.to, transaction.data)
            used = min(needed, transaction.gas)
            self._gas[sender] -= used * transaction.price
            succeeded, moved = False, None
            if needed <= transaction.gas:
                succeeded, moved = self._execute(transaction)
            self._mined[transaction.hash] = Mined(transaction, self.head, used, succeeded, moved)

    def _check(self, transaction: Transaction) -> None:
        """Check what a node checks before it accepts a transaction, with a node's messages."""
        expected = self._nonces[transaction.sender]
        if transaction.hash in self._mined:
            raise ChainRefusal("already known")
        if transaction.chain_id != self.chain_id:
            raise ChainRefusal(f"invalid chain id: have {transaction.chain_id}, want {self.chain_id}")
        if transaction.nonce < expected:
            raise ChainRefusal(f"nonce too low: next nonce {expected}, tx nonce {transaction.nonce}")
        if transaction.nonce > expected:
            raise ChainRefusal(f"nonce too high: next nonce {expected}, tx nonce {transaction.nonce}")
        if transaction.highest_price < BASE_FEE:
            raise ChainRefusal("max fee per gas less than block base fee")
        if transaction.gas < _PLAIN_GAS:
            raise ChainRefusal("intrinsic gas too low")
        if self._gas[transaction.sender] < transaction.gas * transaction.highest_price + transaction.value:
            raise ChainRefusal("insufficient funds for gas * price + value")

    def _execute(self, transaction: Transaction) -> tuple[bool, tuple[str, int] | None]:
        sender = transaction.sender
        if transaction.to != TOKEN:
            if transaction.to is None or transaction.data:
                return False, None
            self._gas[sender] -= transaction.value
            self._gas[transaction.to] += transaction.value
            return True, None
        asked = transfer_asked(transaction.data)
        if asked is None or transaction.value or self._glm[sender] < asked[1]:
            return False, None
        recipient, amount = asked
        self._glm[sender] -= amount
        self._glm[recipient] += amount
        return True, asked


def transfer_asked(data: bytes) -> tuple[str, int] | None:
    """The recipient and the amount, if the data is a call of the token's `transfer`; else None."""
    if data[:4] != TRANSFER or len(data) != 4 + 2 * _WORD:
        return None
    return "0x" + data[4 + _WORD - 20 : 4 + _WORD].hex(), int.from_bytes(data[4 + _WORD :], "big")


def gas_needed(to: str | None, data: bytes) -> int:
    """The gas that a transaction needs: a fixed amount for each kind."""
    return _TRANSFER_GAS if to == TOKEN or data else _PLAIN_GAS


def block_hash(number: int) -> str:
    return "0x" + hashlib.sha256(f"simple_golem local block {number}".encode()).hexdigest()


def to_glm(units: int) -> Decimal:
    """Convert smallest units to GLM, exactly in every decimal context."""
    return Decimal(plain(Decimal(f"{units}E-18")))


def to_units(glm: Decimal) -> int:
    """Convert GLM to smallest units; raises ValueError if it has more than 18 digits after the point."""
    units = Fraction(glm) * _UNITS
    if units.denominator != 1:
        raise ValueError(f"{glm} GLM: a token has 18 digits after the point, not more")
    return units.numerator
