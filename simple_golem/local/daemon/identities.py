"""The identities of a local network: always the same ones, so that `prov-1` is a familiar face.

Their keys are public, as those of the networks that developers of other chains test with: they guard nothing,
since a local network can be reached from its own machine alone. Each is wrapped as yagna stores keys, with an
empty password, but with one round of key derivation in place of 10,240: a daemon unwraps all of its keys when
it starts, and spends an eighth of a second on each that it made itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """A name and node id, and the key as yagna's own keystore document."""

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
# are address, wrapped key, and check sum of the wrapped key.
_ROWS = [row.split() for row in Path(__file__).with_name("identities.txt").read_text("ascii").splitlines()]

REQUESTOR = _identity("requestor", *_ROWS[0])
HUB = _identity("hub", *_ROWS[1])
PROVIDERS = tuple(_identity(f"prov-{number}", *row) for number, row in enumerate(_ROWS[2:], start=1))
