"""Signs transactions with a key."""

from __future__ import annotations

import rlp
from eth_hash.auto import keccak
from eth_keys.datatypes import PrivateKey

from simple_golem.local.chain.ledger import CHAIN_ID, TOKEN

PRICE = 20_000_000_000


class Wallet:
    """A key and the transactions it signs."""

    def __init__(self, secret: int) -> None:
        self._key = PrivateKey(secret.to_bytes(32, "big"))
        self.address = str(self._key.public_key.to_address())

    def sign(
        self,
        data: bytes = b"",
        *,
        nonce: int = 0,
        to: str = TOKEN,
        value: int = 0,
        gas: int = 72_000,
        price: int = PRICE,
        chain_id: int = CHAIN_ID,
    ) -> bytes:
        """A raw transaction of EIP-1559."""
        fields = [chain_id, nonce, 1000, price, gas, bytes.fromhex(to[2:]), value, data, []]
        signature = self._key.sign_msg_hash(keccak(b"\x02" + rlp.encode(fields)))
        return b"\x02" + rlp.encode([*fields, signature.v, signature.r, signature.s])


def transfer(recipient: str, amount: int) -> bytes:
    """The call data of the token contract that transfers `amount` of its smallest units."""
    return bytes.fromhex("a9059cbb") + bytes(12) + bytes.fromhex(recipient[2:]) + amount.to_bytes(32, "big")
