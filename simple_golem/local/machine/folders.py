"""Where the local network keeps things: locks and state in a temporary folder, its template in a cache."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from ...background.file_lock import FileLock, is_locked, locked
from ...errors import LocalNetworkError

_LOCK = "lock"


def runtime_folder() -> Path:
    """The user's own folder for locks and for the state of the networks that are up."""
    folder = Path(tempfile.gettempdir()) / f"simple-golem-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise LocalNetworkError(f"{folder} is not yours: remove it, or set TMPDIR to another folder")
    return folder


def cache_folder() -> Path:
    """The user's cache folder, or the runtime folder where there is no place for one."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "simple_golem"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _made(runtime_folder() / "cache")
    return folder if os.access(folder, os.W_OK) else _made(runtime_folder() / "cache")


class StateFolder:
    """The folder of one network, under a lock while the network lives.

    Making one removes those that networks left which could not remove their own.
    """

    def __init__(self) -> None:
        networks = _made(runtime_folder() / "networks")
        # A new folder must not be taken for an abandoned one before its own lock is there.
        with locked(networks / _LOCK):
            for folder in networks.glob("net-*"):
                if not is_locked(folder / _LOCK):
                    shutil.rmtree(folder, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(prefix="net-", dir=networks))
            self._lock = FileLock(self.path / _LOCK)

    def remove(self) -> None:
        """Delete the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
