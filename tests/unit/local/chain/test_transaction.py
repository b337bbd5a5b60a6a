"""Signed transactions: one of yagna's own, and what is no good."""

from __future__ import annotations

import pytest
import rlp

from simple_golem.local.chain.ledger import CHAIN_ID, TOKEN, ChainRefusal
from simple_golem.local.chain.transaction import decoded
from simple_golem.local.daemon.identities import PROVIDERS, REQUESTOR
from tests.helpers.wallet import Wallet, transfer

# Sent by yagna 0.17.6 to pay 0.0002526 GLM, and named so by it in the payment.
OF_YAGNA = bytes.fromhex(
    "02f8b283088bb0808203e88504a817c800830119409455555555555556acff9c332ed151758858bd7a2680b844a9059cbb"
    "000000000000000000000000d58fc3c93a5e8c0a99abefcf94e14e86b7799005"
    "0000000000000000000000000000000000000000000000000000e5bd05453000"
    "c080a07674b26ccdf05bae5a44dcfea2c2e8804fe453a433b5d91eb91fb58d977381df"
    "a02000233eb20c3582d956b7f8f2e8a152d6e468cf02b20d1e9ddf5c7279ea5a24"
)
NAME = "0xc235dac7cb9f4f4ceafcf248f01388db3a62689f80556cbb90ceb842f453a22d"


def test_a_transaction_of_yagna_is_understood() -> None:
    transaction = decoded(OF_YAGNA)
    assert transaction.hash == NAME
    assert transaction.sender == REQUESTOR.node_id
    assert (transaction.chain_id, transaction.to, transaction.nonce) == (CHAIN_ID, TOKEN, 0)
    assert (transaction.gas, transaction.highest_price, transaction.tip) == (72_000, 20 * 10**9, 1000)
    assert transaction.data == transfer(PROVIDERS[0].node_id, 252_600_000_000_000)


def test_the_sender_is_whoever_has_signed() -> None:
    wallets = [Wallet(secret) for secret in (1, 2, 3)]
    raw = [wallet.sign(transfer(PROVIDERS[0].node_id, 1)) for wallet in wallets]
    assert [decoded(one).sender for one in raw] == [wallet.address for wallet in wallets]
    assert len({decoded(one).hash for one in raw}) == 3


def test_a_changed_amount_changes_the_sender_of_a_transaction() -> None:
    wallet = Wallet(7)
    raw = wallet.sign(transfer(PROVIDERS[0].node_id, 1))
    forged = raw.replace(transfer(PROVIDERS[0].node_id, 1), transfer(PROVIDERS[0].node_id, 10**9))
    assert len(forged) == len(raw)
    assert decoded(forged).sender != wallet.address


def fields() -> list[object]:
    return list(rlp.decode(OF_YAGNA[1:]))


def with_field(place: int, value: object) -> bytes:
    changed = fields()
    changed[place] = value
    return b"\x02" + bytes(rlp.encode(changed))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "EIP-1559"),
        (OF_YAGNA[1:], "EIP-1559"),
        (b"\x01" + OF_YAGNA[1:], "EIP-1559"),
        (OF_YAGNA[:-1], "rlp"),
        (OF_YAGNA + b"\x00", "rlp"),
        (b"\x02", "rlp"),
        (b"\x02" + rlp.encode(b"a text"), "twelve fields"),
        (b"\x02" + rlp.encode(fields()[:-1]), "twelve fields"),
        (with_field(5, [b"a list"]), "twelve fields"),
        (with_field(8, b"no list"), "twelve fields"),
        (with_field(9, b"\x07"), "invalid sender"),
        (with_field(10, b""), "invalid sender"),
        (with_field(11, b"\xff" * 32), "invalid sender"),
        (with_field(10, b"\xff" * 33), "invalid sender"),
    ],
)
def test_bytes_that_are_not_a_signed_transaction_are_refused(raw: bytes, said: str) -> None:
    with pytest.raises(ChainRefusal, match=said):
        decoded(raw)
