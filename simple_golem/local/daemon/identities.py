"""The identities of a local network. They are always the same, so that each provider keeps its node id.

Their keys are public, like the keys of other test networks. They protect nothing: a local network can be
reached only from its own machine. Each key is stored in yagna's format, with an empty password and one round
of key derivation instead of 10,240. A daemon decrypts all its keys when it starts, and needs an eighth of a
second for each key with 10,240 rounds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """An identity.

    Attributes:
        name: its name, such as `prov-1`.
        node_id: its node id.
        keystore: its key, as a keystore document of yagna.
    """

    name: str
    node_id: str
    keystore: str


def _identity(name: str, address: str, ciphertext: str, mac: str) -> LocalIdentity:
    keystore = {
        "id": "00000000-0000-4000-8000-000000000000",
        "version": 3,
        "address": address,
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": "00" * 16},
            "ciphertext": ciphertext,
            "kdf": "pbkdf2",
            "kdfparams": {"c": 1, "dklen": 32, "prf": "hmac-sha256", "salt": "00" * 32},
            "mac": mac,
        },
    }
    return LocalIdentity(name, f"0x{address}", json.dumps(keystore))


# Each key is the SHA-256 of "simple_golem local requestor", "… hub", "… provider 1" and so on. The columns
# are the address, the encrypted key, and the check sum of the encrypted key.
_ROWS = [row.split() for row in Path(__file__).with_name("identities.txt").read_text("ascii").splitlines()]

REQUESTOR = _identity("requestor", *_ROWS[0])
HUB = _identity("hub", *_ROWS[1])
PROVIDERS = tuple(_identity(f"prov-{number}", *row) for number, row in enumerate(_ROWS[2:], start=1))
