"""The two data folders that every local network starts from, made once for a user and then copied.

A daemon reads which identities are its own when it starts, so that new ones want a second start; and it takes
longer to start with a fresh data folder than with one that is there. A copy costs neither.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...background.cancellation import Scope
from ...background.file_lock import locked
from ...yagna.client import Yagna
from ..machine.folders import cache_folder
from .daemon import GOLEM_NODE
from .daemon_pair import DaemonPair
from .identities import HUB, PROVIDERS, REQUESTOR, LocalIdentity

# To be raised with every change to what is in a template.
_FORMAT = 1
# A daemon is kept busy for a while by each identity that it finds at its start, 64 of them for two seconds.
_SIZES = (4, 8, 16, 32, 64, 128, 200)
_KEYS = "app_keys.json"
_LEFT_OUT = shutil.ignore_patterns("*.log", "*.gz", "yagna.lock", "yagna.pid", "*-shm")


class Template:
    """Data folders for a near and a far daemon whose identities are there already.

    Attributes:
        app_keys: the app key of each provider on the far daemon, by name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.app_keys: Mapping[str, str] = json.loads((folder / _KEYS).read_text())

    @classmethod
    def get(cls, providers: int, scope: Scope) -> Template:
        """The user's own for so many providers, made now if there is none; blocks for some seconds then.

        Raises:
            LocalNetworkError: golem-node is missing, or its daemon does not start.
            ScopeEnded: `scope` was cancelled meanwhile.
        """
        cache = cache_folder()
        size = next(size for size in _SIZES if size >= providers)
        folder = cache / f"template-{importlib.metadata.version(GOLEM_NODE)}-{_FORMAT}-{size}"
        with locked(cache / "template.lock"):
            for leftover in cache.glob("making-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            if not (folder / _KEYS).exists():
                _make(folder, PROVIDERS[:size], scope)
        return cls(folder)

    def copy_to(self, name: str, daemon_folder: Path) -> None:
        """Give a new daemon its data: `name` is `near` or `far`."""
        shutil.copytree(self._folder / name / "data", daemon_folder / "data", ignore=_LEFT_OUT)


def _make(folder: Path, providers: Sequence[LocalIdentity], scope: Scope) -> None:
    # Renamed when complete: whoever is killed in between leaves nothing that looks like a template.
    making = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    try:
        daemons = DaemonPair(making, scope)
        try:
            _own_identity(daemons.near.client, REQUESTOR)
            _own_identity(daemons.far.client, HUB)
            keys = {one.name: _provider(daemons.far.client, one, scope) for one in providers}
            daemons.near.stop()
            daemons.far.stop()
        finally:
            daemons.close()
        (making / _KEYS).write_text(json.dumps(keys))
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _own_identity(daemon: Yagna, identity: LocalIdentity) -> None:
    """Put `identity` in the place of the one that the daemon made for itself."""
    first = daemon.identity.me().node_id
    node_id = _create(daemon, identity)["nodeId"]
    daemon.bridge.call("local/identity/Update", {"nodeId": node_id, "alias": None, "setDefault": True})
    daemon.bridge.call("local/identity/DropId", {"nodeId": first})


def _provider(daemon: Yagna, identity: LocalIdentity, scope: Scope) -> str:
    """Make a provider's identity; returns an app key for it."""
    scope.check()
    node_id = _create(daemon, identity)["nodeId"]
    key: str = daemon.bridge.call(
        "local/appkey/Create",
        {"name": identity.name, "role": "manager", "identity": node_id, "allowOrigins": []},
    )
    return key


def _create(daemon: Yagna, identity: LocalIdentity) -> Mapping[str, Any]:
    message = {"alias": identity.name, "fromKeystore": identity.keystore}
    created: Mapping[str, Any] = daemon.bridge.call("local/identity/CreateGenerated", message)
    return created
