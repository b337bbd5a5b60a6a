"""The programs of this machine, and what they need to run elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from ....errors import LocalNetworkError

_FOLDERS = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin")
_LIBRARY = re.compile(r"(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
# The C library loads these by itself.
_NAME_SERVICES = ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
_LDD_SECONDS = 60.0


@cache
def program(name: str) -> Path | None:
    """Return the program of a name; None if there is none that runs without an interpreter but a shell."""
    for folder in _FOLDERS:
        path = Path(os.path.realpath(os.path.join(folder, name)))
        if path.is_file() and os.access(path, os.X_OK | os.R_OK) and not _needs_interpreter(path):
            return path
    return None


def libraries(programs: Iterable[Path]) -> Mapping[str, Path]:
    """Return the shared libraries of programs: the files, by the paths that the programs look for.

    Raises:
        LocalNetworkError: this machine can't say which they are.
    """
    try:
        listed = subprocess.run(
            ["ldd", *map(str, programs)], capture_output=True, timeout=_LDD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalNetworkError(f"the libraries of programs can't be listed: {error}; install ldd") from error
    paths = set(_LIBRARY.findall(os.fsdecode(listed.stdout)))
    for path in list(paths):
        if os.path.basename(path).startswith("libc.so"):
            paths |= {os.path.join(os.path.dirname(path), name) for name in _NAME_SERVICES}
    return {path: Path(path) for path in sorted(paths) if os.path.isfile(path)}


def _needs_interpreter(path: Path) -> bool:
    with open(path, "rb") as file:
        line = file.readline(200)
    return line.startswith(b"#!") and line[2:].split()[:1] != [b"/bin/sh"]
