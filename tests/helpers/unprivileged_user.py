"""Runs a program as a user without privileges, with a copy of the package that this user can read."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.helpers.hand_made_images import shell_root

ROOT = Path(__file__).resolve().parents[2]
# The modules of sandboxes and their interfaces, which need no other packages.
_LOCAL = (
    *("machine/processes", "sandbox/sandbox", "sandbox/sandbox_maker", "sandbox/first_process"),
    "sandbox/memory_group",
    *("exe_unit/vpn/interface", "exe_unit/vpn/netlink", "daemon/quick_sockets"),
)
_PARTS = ("errors.py", "background/cancellation.py", *(f"local/{name}.py" for name in _LOCAL))
_NOBODY = 65534


def run_by_nobody(program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program that uses these modules only; skips the test where no other user is possible.

    The folder `root` in its working folder has a root with a shell.
    """
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    if os.geteuid() != 0 or python is None:
        pytest.skip("runs as an unprivileged user anyway, or there is no Python for one")
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "simple_golem")
        for name in _PARTS:
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "simple_golem" / name, package / name)
        shell_root(Path(folder, "root"))
        Path(folder).chmod(0o755)
        return subprocess.run(
            [python, "-B", "-c", program],
            cwd=folder,
            # This copy is a namespace package; Python prefers a regular package on PYTHONPATH.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            user=_NOBODY,
            group=_NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
