"""The ledger: what is checked, what moves, and that nothing is lost or made on the way."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest

from simple_golem.local.chain.ledger import BASE_FEE, ChainRefusal, Ledger, Transfer, to_glm, to_units
from simple_golem.local.chain.transaction import decoded
from tests.helpers.wallet import PRICE, Wallet, transfer

GAS = 10**18
PAYER, PAYEE = Wallet(1), Wallet(2)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.set_funds(PAYER.address, 1000, GAS)
    return ledger


def send(ledger: Ledger, data: bytes, **options: object) -> str:
    transaction = decoded(PAYER.sign(data, **options))  # type: ignore[arg-type]
    ledger.add(transaction)
    return transaction.hash


def test_a_transfer_moves_its_amount_and_costs_gas(ledger: Ledger) -> None:
    name = send(ledger, transfer(PAYEE.address, 400))
    assert (ledger.glm_of(PAYER.address), ledger.glm_of(PAYEE.address)) == (600, 400)
    mined = ledger.mined(name)
    assert mined is not None
    assert mined.succeeded
    assert mined.transaction.price == BASE_FEE + 1000
    assert ledger.gas_of(PAYER.address) == GAS - mined.gas_used * mined.transaction.price
    assert ledger.nonce_of(PAYER.address) == 1


def test_transfers_are_listed_in_their_order_and_as_they_go_over_the_wire(ledger: Ledger) -> None:
    names = [send(ledger, transfer(PAYEE.address, amount), nonce=amount) for amount in range(3)]
    transfers = ledger.transfers()
    assert [one.transaction for one in transfers] == names
    assert transfers[2] == Transfer(names[2], PAYER.address, PAYEE.address, Decimal("2E-18"))
    assert [Transfer.from_wire(one.to_wire()) for one in transfers] == transfers


def test_a_transfer_of_all_there_is_leaves_nothing(ledger: Ledger) -> None:
    send(ledger, transfer(PAYEE.address, 1000))
    assert ledger.glm_of(PAYER.address) == 0


def test_a_transfer_of_more_than_there_is_fails_in_its_receipt_and_costs_gas(ledger: Ledger) -> None:
    mined = ledger.mined(send(ledger, transfer(PAYEE.address, 1001)))
    assert mined is not None
    assert (mined.succeeded, mined.moved) == (False, None)
    assert (ledger.glm_of(PAYER.address), ledger.glm_of(PAYEE.address)) == (1000, 0)
    assert ledger.gas_of(PAYER.address) < GAS
    assert ledger.nonce_of(PAYER.address) == 1
    assert ledger.transfers() == []


@pytest.mark.parametrize("data", [b"", b"\x01\x02\x03\x04", transfer(PAYEE.address, 1)[:-1]])
def test_the_token_does_nothing_but_transfer(ledger: Ledger, data: bytes) -> None:
    mined = ledger.mined(send(ledger, data))
    assert mined is not None
    assert not mined.succeeded


def test_a_transfer_to_oneself_changes_nothing(ledger: Ledger) -> None:
    send(ledger, transfer(PAYER.address, 400))
    assert ledger.glm_of(PAYER.address) == 1000


def test_gas_money_can_be_sent_as_well(ledger: Ledger) -> None:
    mined = ledger.mined(send(ledger, b"", to=PAYEE.address, value=5))
    assert mined is not None
    assert mined.succeeded
    assert ledger.gas_of(PAYEE.address) == 5
    assert ledger.gas_of(PAYER.address) == GAS - 5 - mined.gas_used * mined.transaction.price


def test_too_little_gas_is_used_up_for_nothing(ledger: Ledger) -> None:
    mined = ledger.mined(send(ledger, transfer(PAYEE.address, 400), gas=30_000))
    assert mined is not None
    assert (mined.succeeded, mined.gas_used) == (False, 30_000)
    assert ledger.glm_of(PAYEE.address) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nonce": 1}, "nonce too high: next nonce 0, tx nonce 1"),
        ({"chain_id": 1}, "invalid chain id: have 1"),
        ({"gas": 20_999}, "intrinsic gas too low"),
        ({"gas": GAS // PRICE + 1}, "insufficient funds for gas"),
        ({"value": GAS}, "insufficient funds for gas"),
        ({"price": BASE_FEE - 1}, "max fee per gas less than block base fee"),
    ],
)
def test_a_refused_transaction_changes_nothing(ledger: Ledger, options: dict[str, int], said: str) -> None:
    with pytest.raises(ChainRefusal, match=said):
        send(ledger, transfer(PAYEE.address, 1), **options)
    assert (ledger.nonce_of(PAYER.address), ledger.gas_of(PAYER.address)) == (0, GAS)
    assert ledger.transfers() == []


def test_nothing_is_paid_twice(ledger: Ledger) -> None:
    send(ledger, transfer(PAYEE.address, 1))
    with pytest.raises(ChainRefusal, match="already known"):
        send(ledger, transfer(PAYEE.address, 1))
    with pytest.raises(ChainRefusal, match="nonce too low: next nonce 1, tx nonce 0"):
        send(ledger, transfer(PAYEE.address, 2))
    assert ledger.glm_of(PAYEE.address) == 1


def test_without_gas_money_nothing_is_paid(ledger: Ledger) -> None:
    ledger.set_funds(PAYEE.address, 1000)
    with pytest.raises(ChainRefusal, match="insufficient funds for gas"):
        ledger.add(decoded(PAYEE.sign(transfer(PAYER.address, 1))))


def test_funds_can_be_set_and_gas_money_left_as_it_is(ledger: Ledger) -> None:
    ledger.set_funds(PAYER.address.upper().replace("0X", "0x"), 7)
    assert (ledger.glm_of(PAYER.address), ledger.gas_of(PAYER.address)) == (7, GAS)


def test_threads_that_pay_at_once_make_and_lose_nothing() -> None:
    ledger = Ledger()
    wallets = [Wallet(secret) for secret in range(1, 5)]
    for wallet in wallets:
        ledger.set_funds(wallet.address, 1000, GAS)
    transactions = {
        wallet: [
            decoded(wallet.sign(transfer(other.address, 1), nonce=nonce))
            for nonce, other in enumerate(3 * wallets)
        ]
        for wallet in wallets
    }

    def pay(wallet: Wallet) -> None:
        for transaction in transactions[wallet]:
            ledger.add(transaction)

    threads = [threading.Thread(target=pay, args=(wallet,)) for wallet in wallets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.transfers()) == 48
    assert [ledger.glm_of(wallet.address) for wallet in wallets] == [1000] * 4


def test_a_block_is_as_old_as_its_number_says(ledger: Ledger) -> None:
    head = ledger.head
    assert ledger.time_of(head) - ledger.time_of(1) == head - 1


LARGE = 10**40 + 1


@pytest.mark.parametrize("units", [0, 1, 10**18, LARGE])
def test_amounts_are_exact_in_both_directions(units: int) -> None:
    assert to_units(to_glm(units)) == units


def test_amounts_of_glm_have_no_needless_digits() -> None:
    assert [str(to_glm(units)) for units in (0, 25 * 10**17, 1000 * 10**18, LARGE)] == [
        "0",
        "2.5",
        "1000",
        "10000000000000000000000.000000000000000001",
    ]


def test_there_is_nothing_smaller_than_the_smallest_unit() -> None:
    with pytest.raises(ValueError, match="18 digits after the point"):
        to_units(Decimal("1E-19"))
