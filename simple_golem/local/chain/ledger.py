"""Who owns how much on the chain of a local network, and every transaction there was."""

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

# Those of hoodi, where the daemon looks for them.
CHAIN_ID = 560048
TOKEN = "0x55555555555556acff9c332ed151758858bd7a26"
BASE_FEE = 1_000_000_000
TRANSFER = bytes.fromhex("a9059cbb")

_TRANSFER_GAS = 52_000
_PLAIN_GAS = 21_000
_WORD = 32
_UNITS = 10**18


class ChainRefusal(Exception):
    """The chain does not take a transaction, or has no answer to a question; the message says why."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What somebody has signed; amounts are in the smallest units of gas money, prices are per unit of gas.

    Attributes:
        hash: its name on the chain.
        highest_price: the limit of the whole price, `tip` included.
        sender: who has signed it.
        to: a contract or anybody else; None would make a new contract.
        value: gas money that goes along.
        data: what is asked of a contract.
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
    """A transaction that is on the chain for good.

    Attributes:
        succeeded: False for one that has cost gas and done nothing else.
        moved: the recipient and amount of a transfer of GLM, if it was one that succeeded.
    """

    transaction: Transaction
    block: int
    gas_used: int
    succeeded: bool
    moved: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Transfer:
    """GLM that went from one to another.

    Attributes:
        transaction: the hash of the transaction, as a payment names it.
        sender, recipient: addresses, in small letters.
        amount: in GLM.
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
    """A chain with one token, GLM, and a new block each second; every transaction is mined as it comes.

    May be used by any number of threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.time()
        self._glm: defaultdict[str, int] = defaultdict(int)
        self._gas: defaultdict[str, int] = defaultdict(int)
        self._nonces: defaultdict[str, int] = defaultdict(int)
        self._mined: dict[str, Mined] = {}

    # what everybody may ask

    def glm_of(self, address: str) -> int:
        """How much GLM an address owns, in its smallest units."""
        with self._lock:
            return self._glm[address.lower()]

    def gas_of(self, address: str) -> int:
        """How much gas money an address owns, in its smallest units."""
        with self._lock:
            return self._gas[address.lower()]

    def nonce_of(self, address: str) -> int:
        """How many transactions an address has made."""
        with self._lock:
            return self._nonces[address.lower()]

    def mined(self, hash: str) -> Mined | None:
        with self._lock:
            return self._mined.get(hash.lower())

    def transfers(self) -> list[Transfer]:
        """All transfers of GLM that succeeded, in their order."""
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
        """When a block was made, in seconds since 1970."""
        return int(self._began) + block - 1

    # what changes it

    def set_funds(self, address: str, glm: int, gas: int | None = None) -> None:
        """Have an address own so much from now on; its gas money stays as it is where none is given."""
        with self._lock:
            self._glm[address.lower()] = glm
            if gas is not None:
                self._gas[address.lower()] = gas

    def add(self, transaction: Transaction) -> None:
        """Put a transaction into the latest block.

        Raises:
            ChainRefusal: it has the wrong number or chain, or its sender can't pay the gas.
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
        """What a node checks before it takes a transaction at all, in a node's words."""
        expected = self._nonces[transaction.sender]
        if transaction.hash in self._mined:
            raise ChainRefusal("already known")
        if transaction.chain_id != CHAIN_ID:
            raise ChainRefusal(f"invalid chain id: have {transaction.chain_id}, want {CHAIN_ID}")
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
    """Recipient and amount, if this is what the token's `transfer` is called with."""
    if data[:4] != TRANSFER or len(data) != 4 + 2 * _WORD:
        return None
    return "0x" + data[4 + _WORD - 20 : 4 + _WORD].hex(), int.from_bytes(data[4 + _WORD :], "big")


def gas_needed(to: str | None, data: bytes) -> int:
    """How much gas a transaction uses, all of it: the chain counts no single steps."""
    return _TRANSFER_GAS if to == TOKEN or data else _PLAIN_GAS


def block_hash(number: int) -> str:
    return "0x" + hashlib.sha256(f"simple_golem local block {number}".encode()).hexdigest()


def to_glm(units: int) -> Decimal:
    """Smallest units as GLM, exact to the last digit whatever the thread's decimal context is."""
    return Decimal(plain(Decimal(f"{units}E-18")))


def to_units(glm: Decimal) -> int:
    """GLM as smallest units; ValueError if it has more than 18 digits after the point."""
    units = Fraction(glm) * _UNITS
    if units.denominator != 1:
        raise ValueError(f"{glm} GLM: a token has 18 digits after the point, not more")
    return units.numerator
