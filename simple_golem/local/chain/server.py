"""A small chain that the daemon takes for an Ethereum node: a JSON-RPC server in front of a ledger.

It is our own code for three reasons. A test node of Ethereum (anvil, hardhat) is a program of its own, not a
Python package. `eth-tester` with `py-evm` installs 32 packages and has no JSON-RPC server.
And yagna asks for twelve methods and one token contract only, which take these few lines.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..machine.folders import runtime_folder
from ..machine.json_server import JsonServer, Request
from ..machine.ports import hold_ports
from .ledger import (
    BASE_FEE,
    CHAIN_ID,
    TOKEN,
    ChainRefusal,
    Ledger,
    Mined,
    block_hash,
    gas_needed,
    transfer_asked,
)
from .transaction import decoded

logger = logging.getLogger(__name__)

_BALANCE_OF = bytes.fromhex("70a08231")
_TRANSFERRED = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_BLOOM = "0x" + "00" * 256
_NO_HASH = "0x" + "00" * 32
_ZERO_ADDRESS = "0x" + "00" * 20
_GAS_LIMIT = 30_000_000
_NOT_JSON_RPC, _NO_METHOD, _REFUSED, _BAD_REQUEST = -32700, -32601, -32000, -32602


class Chain:
    """A JSON-RPC server on a port of its own; it can be stopped and started, and keeps its ledgers.

    Attributes:
        ledger: the balances and transactions of the first network.
        ledgers: those of all networks, by name.
        url: the URL of the server, which answers for the first network.
    """

    def __init__(self, networks: Mapping[str, int] | None = None) -> None:
        """Start listening; does not block.

        Args:
            networks: the ids of the chains, by the name of the payment network; by default only hoodi.

        Raises:
            LocalNetworkError: there is no free port.
        """
        self.ledgers = {name: Ledger(number) for name, number in (networks or {"hoodi": CHAIN_ID}).items()}
        self.ledger = next(iter(self.ledgers.values()))
        # Held also while the server is stopped: the daemons know only this port.
        (self._port,) = hold_ports(1, runtime_folder() / "ports")
        self.url = f"http://127.0.0.1:{self._port.number}"
        self._server: JsonServer | None = None
        self.start()

    def url_of(self, network: str) -> str:
        """The URL of the chain of a payment network."""
        return f"{self.url}/{network}"

    def start(self) -> None:
        """Start listening again; does nothing if the server listens already."""
        if self._server is None:
            self._server = JsonServer("chain", self._answer, self._port.number)

    def stop(self) -> None:
        """Stop listening until `start`; blocks for about 0.1 s."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def close(self) -> None:
        """Stop listening for good, and release the port; blocks for about 0.1 s."""
        self.stop()
        self._port.release()

    def _answer(self, request: Request) -> tuple[int, object]:
        if request.method != "POST":
            return 405, {"message": f"the method is POST, not {request.method}"}
        return 200, answer(self.ledgers.get(request.target.strip("/"), self.ledger), request.body)


def answer(ledger: Ledger, question: bytes) -> Mapping[str, Any]:
    """Return the JSON-RPC answer to a request; every error becomes an error answer."""
    try:
        request = json.loads(question)
        number, method, parameters = request.get("id"), request["method"], request.get("params", [])
    except (ValueError, AttributeError, KeyError):
        return _error(None, _NOT_JSON_RPC, "this is no JSON-RPC request")
    handle = _METHODS.get(method) if isinstance(method, str) else None
    if handle is None:
        logger.warning("the chain does not have the method %s", method)
        return _error(number, _NO_METHOD, f"the method {method} does not exist/is not available")
    try:
        return {"jsonrpc": "2.0", "id": number, "result": handle(ledger, parameters)}
    except ChainRefusal as refusal:
        logger.info("%s was refused: %s", method, refusal)
        return _error(number, _REFUSED, str(refusal))
    except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        return _error(number, _BAD_REQUEST, f"invalid parameters of {method}: {error}")


def _error(number: object, code: int, message: str) -> Mapping[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}


# --- the methods ---------------------------------------------------------------------------------


def _block(ledger: Ledger, number: int) -> Mapping[str, Any] | None:
    if not 1 <= number <= ledger.head:
        return None
    return {
        "number": hex(number),
        "hash": block_hash(number),
        "parentHash": block_hash(number - 1),
        "timestamp": hex(ledger.time_of(number)),
        "baseFeePerGas": hex(BASE_FEE),
        "gasLimit": hex(_GAS_LIMIT),
        "gasUsed": "0x0",
        "size": "0x200",
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "nonce": "0x0000000000000000",
        "miner": _ZERO_ADDRESS,
        "author": _ZERO_ADDRESS,
        "extraData": "0x",
        "logsBloom": _BLOOM,
        "mixHash": _NO_HASH,
        "sha3Uncles": _NO_HASH,
        "stateRoot": _NO_HASH,
        "transactionsRoot": _NO_HASH,
        "receiptsRoot": _NO_HASH,
        "transactions": [],
        "uncles": [],
    }


def _block_by_number(ledger: Ledger, parameters: Sequence[Any]) -> Mapping[str, Any] | None:
    return _block(ledger, _height(ledger, parameters[0]))


def _height(ledger: Ledger, name: str) -> int:
    if name in ("latest", "pending", "safe", "finalized"):
        return ledger.head
    return 1 if name == "earliest" else int(name, 16)


def _call(ledger: Ledger, parameters: Sequence[Any]) -> str:
    to, data = _asked(parameters[0])
    if to != TOKEN:
        return "0x"  # as an address without a contract answers
    if data[:4] == _BALANCE_OF and len(data) == 36:
        return _word(ledger.glm_of("0x" + data[16:].hex()))
    _check_transfer(ledger, parameters[0])
    return _word(1)


def _estimate_gas(ledger: Ledger, parameters: Sequence[Any]) -> str:
    to, data = _asked(parameters[0])
    if to == TOKEN:
        _check_transfer(ledger, parameters[0])
    return hex(gas_needed(to, data))


def _check_transfer(ledger: Ledger, call: Mapping[str, Any]) -> None:
    asked = transfer_asked(_asked(call)[1])
    if asked is None:
        raise ChainRefusal("execution reverted: this token has only balanceOf and transfer")
    if ledger.glm_of(call.get("from") or _ZERO_ADDRESS) < asked[1]:
        raise ChainRefusal("execution reverted: ERC20: transfer amount exceeds balance")


def _asked(call: Mapping[str, Any]) -> tuple[str | None, bytes]:
    to = call.get("to")
    return to and to.lower(), bytes.fromhex((call.get("data") or call.get("input") or "0x")[2:])


def _send(ledger: Ledger, parameters: Sequence[Any]) -> str:
    transaction = decoded(bytes.fromhex(parameters[0].removeprefix("0x")))
    ledger.add(transaction)
    mined = ledger.mined(transaction.hash)
    logger.info("mined %s", mined)
    return transaction.hash


def _receipt(ledger: Ledger, parameters: Sequence[Any]) -> Mapping[str, Any] | None:
    mined = ledger.mined(parameters[0])
    if mined is None:
        return None
    return {
        **_position(mined),
        "type": "0x2",
        "status": hex(mined.succeeded),
        "gasUsed": hex(mined.gas_used),
        "cumulativeGasUsed": hex(mined.gas_used),
        "effectiveGasPrice": hex(mined.transaction.price),
        "contractAddress": None,
        "logsBloom": _BLOOM,
        "logs": _logs(mined),
    }


def _position(mined: Mined) -> Mapping[str, Any]:
    return {
        "transactionHash": mined.transaction.hash,
        "transactionIndex": "0x0",
        "blockNumber": hex(mined.block),
        "blockHash": block_hash(mined.block),
        "from": mined.transaction.sender,
        "to": mined.transaction.to,
    }


def _logs(mined: Mined) -> list[Mapping[str, Any]]:
    """The log entry of a transfer; the payee's daemon looks for it."""
    if mined.moved is None:
        return []
    recipient, amount = mined.moved
    return [
        {
            **_position(mined),
            "address": TOKEN,
            "topics": [
                _TRANSFERRED,
                _word(int(mined.transaction.sender, 16)),
                _word(int(recipient, 16)),
            ],
            "data": _word(amount),
            "logIndex": "0x0",
            "removed": False,
        }
    ]


def _transaction(ledger: Ledger, parameters: Sequence[Any]) -> Mapping[str, Any] | None:
    mined = ledger.mined(parameters[0])
    if mined is None:
        return None
    transaction = mined.transaction
    return {
        **_position(mined),
        "hash": transaction.hash,
        "type": "0x2",
        "chainId": hex(ledger.chain_id),
        "nonce": hex(transaction.nonce),
        "value": hex(transaction.value),
        "gas": hex(transaction.gas),
        "gasPrice": hex(transaction.price),
        "maxFeePerGas": hex(transaction.highest_price),
        "maxPriorityFeePerGas": hex(transaction.tip),
        "input": "0x" + transaction.data.hex(),
    }


def _word(number: int) -> str:
    return f"0x{number:064x}"


_METHODS: Mapping[str, Callable[[Ledger, Sequence[Any]], object]] = {
    "eth_chainId": lambda ledger, parameters: hex(ledger.chain_id),
    "net_version": lambda ledger, parameters: str(ledger.chain_id),
    "eth_blockNumber": lambda ledger, parameters: hex(ledger.head),
    "eth_gasPrice": lambda ledger, parameters: hex(BASE_FEE),
    "eth_getBlockByNumber": _block_by_number,
    "eth_getBalance": lambda ledger, parameters: hex(ledger.gas_of(parameters[0])),
    "eth_getTransactionCount": lambda ledger, parameters: hex(ledger.nonce_of(parameters[0])),
    "eth_call": _call,
    "eth_estimateGas": _estimate_gas,
    "eth_sendRawTransaction": _send,
    "eth_getTransactionReceipt": _receipt,
    "eth_getTransactionByHash": _transaction,
}
