"""The template: the data folders of both daemons, made once for a user, and copied for each network.

A daemon reads its identities when it starts, so new identities need a second start. A daemon also starts more
slowly with an empty data folder. Copying a template avoids both.
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
from ...errors import LocalNetworkError
from ...yagna.client import Yagna
from ..machine.folders import cache_folder, step_for
from .daemon import GOLEM_NODE
from .daemon_pair import DaemonPair
from .identities import HUB, PROVIDERS, REQUESTOR, LocalIdentity

# Increase this number when the content of a template changes.
_FORMAT = 1
# Templates of several sizes: each identity makes the start of a daemon longer, 64 of them by two seconds.
_SIZES = (4, 8, 16, 32, 64, 128, 200)
_KEYS = "app_keys.json"
_NOT_COPIED = shutil.ignore_patterns("*.log", "*.gz", "yagna.lock", "yagna.pid", "*-shm")


class Template:
    """Data folders for a near and a far daemon that have all identities already.

    Attributes:
        app_keys: the app keys of the providers' identities on the far daemon, by provider name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.app_keys: Mapping[str, str] = json.loads((folder / _KEYS).read_text())

    @classmethod
    def get(cls, providers: int, scope: Scope) -> Template:
        """Return the user's template; makes it if it is missing, which blocks for some seconds.

        Args:
            providers: the number of providers that it must have identities for.
            scope: cancelling it interrupts the making.

        Raises:
            LocalNetworkError: golem-node is not installed, or its daemon did not start.
            ScopeEnded: `scope` was cancelled.
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
        """Copy the data of one daemon.

        Args:
            name: `near` or `far`.
            daemon_folder: the folder of the new daemon.

        Raises:
            LocalNetworkError: a file can't be copied, as on a full disk.
        """
        try:
            shutil.copytree(
                self._folder / name / "data", daemon_folder / "data", ignore=_NOT_COPIED, copy_function=_copy
            )
        except shutil.Error as error:  # it has a list of all files
            raise LocalNetworkError(error.args[0][0][2]) from error


def _copy(source: str, target: str) -> None:
    try:
        shutil.copy2(source, target)
    except OSError as error:
        step = step_for(error, "TMPDIR")
        raise OSError(f"the data of a daemon can't be copied to {target}: {error.strerror}{step}") from error


def _make(folder: Path, providers: Sequence[LocalIdentity], scope: Scope) -> None:
    # Renamed when it is complete: a killed process must not leave an incomplete template.
    making = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
    try:
        daemons = DaemonPair(making, scope)
        try:
            _replace_identity(daemons.near.client, REQUESTOR)
            _replace_identity(daemons.far.client, HUB)
            keys = {one.name: _make_provider(daemons.far.client, one, scope) for one in providers}
            daemons.near.stop()
            daemons.far.stop()
        finally:
            daemons.close()
        (making / _KEYS).write_text(json.dumps(keys))
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _replace_identity(daemon: Yagna, identity: LocalIdentity) -> None:
    """Replace the identity that the daemon has made for itself by `identity`."""
    first = daemon.identity.me().node_id
    node_id = _create(daemon, identity)["nodeId"]
    daemon.bridge.call("local/identity/Update", {"nodeId": node_id, "alias": None, "setDefault": True})
    daemon.bridge.call("local/identity/DropId", {"nodeId": first})


def _make_provider(daemon: Yagna, identity: LocalIdentity, scope: Scope) -> str:
    """Create a provider's identity; returns an app key of it."""
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
