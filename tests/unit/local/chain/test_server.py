"""The chain as a daemon asks it: JSON-RPC over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from simple_golem.local.chain.ledger import TOKEN
from simple_golem.local.chain.server import Chain
from tests.helpers.wallet import Wallet, transfer

PAYER, PAYEE = Wallet(1), Wallet(2)
FUNDS = 3 * 10**18


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    chain = Chain()
    chain.ledger.set_funds(PAYER.address, FUNDS, 10**18)
    yield chain
    chain.close()


def post(chain: Chain, body: Any) -> Any:
    return requests.post(chain.url, json=body, timeout=5).json()


def ask(chain: Chain, method: str, *parameters: object) -> Any:
    """The result of a method, or the error's message."""
    answer = post(chain, {"jsonrpc": "2.0", "id": 7, "method": method, "params": parameters})
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
    return answer["error"]["message"] if "error" in answer else answer["result"]


def call(data: bytes, to: str = TOKEN) -> dict[str, str]:
    return {"from": PAYER.address, "to": to, "data": "0x" + data.hex()}


def send(chain: Chain, amount: int, nonce: int = 0) -> str:
    raw = PAYER.sign(transfer(PAYEE.address, amount), nonce=nonce)
    name: str = ask(chain, "eth_sendRawTransaction", "0x" + raw.hex())
    return name


def test_it_is_hoodi_and_its_head_is_fresh(chain: Chain) -> None:
    assert int(ask(chain, "eth_chainId"), 16) == 560048
    number = ask(chain, "eth_blockNumber")
    block = ask(chain, "eth_getBlockByNumber", "latest", False)
    assert int(block["number"], 16) >= int(number, 16)
    assert abs(int(block["timestamp"], 16) - time.time()) < 3


def test_a_block_is_the_same_each_time_and_none_is_there_before_its_time(chain: Chain) -> None:
    head = int(ask(chain, "eth_blockNumber"), 16)
    first = ask(chain, "eth_getBlockByNumber", hex(1), False)
    assert first == ask(chain, "eth_getBlockByNumber", "earliest", False)
    assert first["parentHash"] != first["hash"]
    assert ask(chain, "eth_getBlockByNumber", hex(head + 100), False) is None
    assert ask(chain, "eth_getBlockByNumber", "0x0", False) is None


def test_balances_are_told(chain: Chain) -> None:
    balance_of = bytes.fromhex("70a08231") + bytes(12)
    asked = [call(balance_of + bytes.fromhex(who.address[2:])) for who in (PAYER, PAYEE)]
    assert [int(ask(chain, "eth_call", one, "latest"), 16) for one in asked] == [FUNDS, 0]
    assert int(ask(chain, "eth_getBalance", PAYER.address, "latest"), 16) == 10**18


def test_a_payment_is_sent_and_found_again(chain: Chain) -> None:
    gas = ask(chain, "eth_estimateGas", call(transfer(PAYEE.address, 5)))
    name = send(chain, 5)
    receipt = ask(chain, "eth_getTransactionReceipt", name)
    assert receipt["status"] == "0x1"
    assert receipt["gasUsed"] == gas
    assert (receipt["from"], receipt["to"]) == (PAYER.address, TOKEN)
    assert int(ask(chain, "eth_blockNumber"), 16) >= int(receipt["blockNumber"], 16)
    (log,) = receipt["logs"]
    assert (log["address"], int(log["data"], 16), log["transactionHash"]) == (TOKEN, 5, name)
    assert [topic[-40:] for topic in log["topics"][1:]] == [PAYER.address[2:], PAYEE.address[2:]]
    found = ask(chain, "eth_getTransactionByHash", name)
    assert (found["hash"], found["nonce"]) == (name, "0x0")
    assert found["input"] == "0x" + transfer(PAYEE.address, 5).hex()
    assert ask(chain, "eth_getTransactionCount", PAYER.address, "latest") == "0x1"


def test_a_payment_of_more_than_there_is_can_not_be_estimated_and_fails(chain: Chain) -> None:
    estimate = ask(chain, "eth_estimateGas", call(transfer(PAYEE.address, FUNDS + 1)))
    assert "transfer amount exceeds balance" in estimate
    receipt = ask(chain, "eth_getTransactionReceipt", send(chain, FUNDS + 1))
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])


def test_refusals_have_the_texts_of_a_real_node(chain: Chain) -> None:
    send(chain, 5)
    assert send(chain, 5) == "already known"
    assert send(chain, 6).startswith("nonce too low")
    assert send(chain, 6, nonce=3).startswith("nonce too high")
    assert "EIP-1559" in ask(chain, "eth_sendRawTransaction", "0x00")


def test_what_is_not_there_is_null(chain: Chain) -> None:
    unknown = "0x" + "00" * 32
    assert ask(chain, "eth_getTransactionReceipt", unknown) is None
    assert ask(chain, "eth_getTransactionByHash", unknown) is None


def test_there_is_one_contract_and_it_has_two_methods(chain: Chain) -> None:
    assert ask(chain, "eth_call", call(bytes.fromhex("95d89b41")), "latest").startswith("execution reverted")
    assert ask(chain, "eth_call", call(bytes.fromhex("95d89b41"), to=PAYEE.address), "latest") == "0x"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], -32700),
        ("hello", -32700),
        ({"id": 1}, -32700),
        ({"id": 1, "method": "eth_mine"}, -32601),
        ({"id": 1, "method": ["eth_mine"]}, -32601),
        ({"id": 1, "method": "eth_getBalance"}, -32602),
        ({"id": 1, "method": "eth_getBalance", "params": [7]}, -32602),
        ({"id": 1, "method": "eth_getBalance", "params": {"a": 7}}, -32602),
        ({"id": 1, "method": "eth_getBlockByNumber", "params": ["newest"]}, -32602),
        ({"id": 1, "method": "eth_sendRawTransaction", "params": ["0xzz"]}, -32602),
        ({"id": 1, "method": "eth_call", "params": ["0x"]}, -32602),
    ],
)
def test_an_invalid_request_gets_a_json_rpc_error(chain: Chain, body: Any, code: int) -> None:
    assert post(chain, body)["error"]["code"] == code


def test_it_goes_down_and_comes_back_with_all_that_was_paid(chain: Chain) -> None:
    name = send(chain, 5)
    chain.stop()
    chain.stop()
    with pytest.raises(requests.ConnectionError):
        ask(chain, "eth_chainId")
    chain.start()
    chain.start()
    assert ask(chain, "eth_getTransactionReceipt", name)["status"] == "0x1"


def test_two_chains_have_nothing_in_common(chain: Chain) -> None:
    other = Chain()
    try:
        assert other.url != chain.url
        assert int(ask(other, "eth_getBalance", PAYER.address, "latest"), 16) == 0
    finally:
        other.close()


def test_each_payment_network_has_a_chain_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    chain = Chain({"hoodi": 560048, "holesky": 17000})
    try:
        chain.ledgers["holesky"].set_funds(PAYER.address, FUNDS, 7)
        asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        urls = (chain.url, chain.url_of("hoodi"), chain.url_of("holesky"))
        found = [requests.post(url, json=asked, timeout=5).json()["result"] for url in urls]
        assert [int(one, 16) for one in found] == [560048, 560048, 17000]
        assert chain.ledger is chain.ledgers["hoodi"]
        assert chain.ledger.glm_of(PAYER.address) == 0
    finally:
        chain.close()
