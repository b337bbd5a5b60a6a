"""yapapi, in an environment of its own: made once, in the user's cache folder, kept for the next time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from simple_golem.background.file_lock import locked
from simple_golem.local.machine.folders import cache_folder

from .subject import SUBJECTS, YAPAPI, Subject

_REQUIREMENT = "yapapi==0.13.1"
# It needs pkg_resources, which later ones do not have.
_REQUIREMENTS = (_REQUIREMENT, "setuptools<82")


class NoPeer(Exception):
    """It can't be installed here: the table goes without it."""


def the_peer() -> Subject:
    """yapapi as a subject; blocks for half a minute when it has to be installed.

    Raises:
        NoPeer: it can't be.
    """
    folder = (
        cache_folder() / f"{_REQUIREMENT.replace('==', '-')}-py{sys.version_info[0]}{sys.version_info[1]}"
    )
    with locked(cache_folder() / "peer.lock"):
        if not folder.exists():
            _make(folder)
    path = f"{folder / 'gftp'}{os.pathsep}{os.environ.get('PATH', '')}"
    return Subject(YAPAPI, "with_yapapi.py", str(folder / "bin" / "python"), {"PATH": path})


def _make(folder: Path) -> None:
    # Complete before it has its name: whoever is killed in between leaves nothing that looks ready.
    making = Path(tempfile.mkdtemp(prefix="peer-in-making-", dir=folder.parent))
    try:
        _call([sys.executable, "-m", "venv", str(making)])
        _call([str(making / "bin" / "python"), "-m", "pip", "install", "-q", *_REQUIREMENTS])
        gftp = making / "gftp" / "gftp"
        gftp.parent.mkdir()
        # As quick as the real one, which is no Python program.
        program = (SUBJECTS / "gftp.py").read_text().partition("\n")[2]
        gftp.write_text(f"#!{folder / 'bin' / 'python'} -SE\n{program}")
        gftp.chmod(0o755)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _call(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        raise NoPeer(f"{' '.join(command)}: {run.stderr}")
