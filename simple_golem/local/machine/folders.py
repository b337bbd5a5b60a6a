"""The folders of local networks: a cache folder for the template, a temporary folder for locks and state."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

import platformdirs

from ...background.file_lock import FileLock, is_locked, locked
from ...errors import LocalNetworkError

_LOCK = "lock"


def runtime_folder() -> Path:
    """Return the user's folder for locks and for the state of running networks; makes it if it is missing.

    It is in the system's temporary folder, not in `platformdirs.user_runtime_path`. That one is missing in
    containers and under `sudo`, and is meant for small files: the daemons write databases and logs here.

    Raises:
        LocalNetworkError: another user owns the folder.
    """
    folder = Path(tempfile.gettempdir()) / f"simple-golem-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise LocalNetworkError(f"{folder} is not yours: remove it, or set TMPDIR to another folder")
    return folder


def cache_folder() -> Path:
    """Return the user's cache folder; where it can't be written to, a folder in the runtime folder."""
    folder = platformdirs.user_cache_path("simple_golem", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _made(runtime_folder() / "cache")
    return folder if os.access(folder, os.W_OK) else _made(runtime_folder() / "cache")


def step_for(error: OSError, variable: str) -> str:
    """Return what to do about an error of a folder, as the end of a sentence; empty if nothing is known.

    Args:
        error: what has gone wrong.
        variable: the environment variable that leads to another folder.
    """
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    return f"; make room on that disk, or set {variable} to a folder on another one"


def strikes_folder() -> Path:
    """Return the folder for the logs of what rules refuse or change; they outlive their networks."""
    return _made(runtime_folder() / "rules")


class StateFolder:
    """The folder of one running network, protected by a lock.

    Making one also removes the folders of networks that were killed.
    """

    def __init__(self) -> None:
        networks = _made(runtime_folder() / "networks")
        # Under a common lock: a new folder without its own lock yet would look abandoned.
        with locked(networks / _LOCK):
            for folder in networks.glob("net-*"):
                if not is_locked(folder / _LOCK):
                    shutil.rmtree(folder, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(prefix="net-", dir=networks))
            self._lock = FileLock(self.path / _LOCK)

    def remove(self) -> None:
        """Delete the folder with its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
