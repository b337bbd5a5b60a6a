"""golem-js, in a folder of its own: installed once, in the user's cache folder, kept for the next time."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from simple_golem.background.file_lock import locked
from simple_golem.local.machine.folders import cache_folder
from tests.benchmarks.peer import NoPeer

_REQUIREMENT = "@golem-sdk/golem-js@3.6.0"
_SECONDS = 100.0


def golem_js() -> Path:
    """The folder from which node finds golem-js; blocks for some seconds when it has to be installed.

    Raises:
        NoPeer: it can't be.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NoPeer(f"there is no {program}")
    folder = cache_folder() / f"golem-js-{_REQUIREMENT.rpartition('@')[2]}"
    with locked(cache_folder() / "golem-js.lock"):
        if not folder.exists():
            _make(folder)
    return folder


def _make(folder: Path) -> None:
    # Complete before it has its name: whoever is killed in between leaves nothing that looks ready.
    making = Path(tempfile.mkdtemp(prefix="golem-js-in-making-", dir=folder.parent))
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(making)]
    try:
        run = subprocess.run(
            [*command, _REQUIREMENT],
            env={**os.environ, "npm_config_update_notifier": "false"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        if run.returncode != 0:
            raise NoPeer(run.stderr)
        making.rename(folder)
    except subprocess.TimeoutExpired as error:
        raise NoPeer(str(error)) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
