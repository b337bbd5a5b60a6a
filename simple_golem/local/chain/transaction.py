"""Decodes signed transactions, and finds their signers."""

from __future__ import annotations

from collections.abc import Sequence

import rlp
from eth_hash.auto import keccak
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from .ledger import ChainRefusal, Transaction

# The kind that yagna sends (EIP-1559): with a tip for the miner and a limit of the price of gas.
_KIND = b"\x02"
_SIGNED, _ALL = 9, 12
_LIST = 8  # the access list, the only field that is a list


def decoded(raw: bytes) -> Transaction:
    """Decode a transaction.

    Raises:
        ChainRefusal: it is of another kind, or its signature is not valid.
    """
    if raw[:1] != _KIND:
        raise ChainRefusal("transaction type not supported: this chain takes only EIP-1559")
    try:
        fields = rlp.decode(raw[1:])
    except rlp.DecodingError as error:
        raise ChainRefusal(f"rlp: {error}") from error
    if [isinstance(field, bytes) for field in fields] != [place != _LIST for place in range(_ALL)]:
        raise ChainRefusal("rlp: these are not the twelve fields of an EIP-1559 transaction")
    chain_id, nonce, tip, highest_price, gas, value = _numbers(fields[:5] + fields[6:7])
    return Transaction(
        hash=hex_of(keccak(raw)),
        chain_id=chain_id,
        nonce=nonce,
        tip=tip,
        highest_price=highest_price,
        gas=gas,
        sender=_signer(fields),
        to=hex_of(fields[5]) if fields[5] else None,
        value=value,
        data=fields[7],
    )


def _signer(fields: Sequence[bytes]) -> str:
    signed = keccak(_KIND + rlp.encode(fields[:_SIGNED]))
    parity, r, s = _numbers(fields[_SIGNED:])
    try:
        key = Signature(vrs=(parity, r, s)).recover_public_key_from_msg_hash(signed)
    except (BadSignature, ValidationError) as error:
        raise ChainRefusal(f"invalid sender: {error}") from error
    return str(key.to_address())


def _numbers(fields: Sequence[bytes]) -> list[int]:
    return [int.from_bytes(field, "big") for field in fields]


def hex_of(data: bytes) -> str:
    return "0x" + data.hex()
