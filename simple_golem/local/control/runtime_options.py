"""The runtimes of the user's own, as options name them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...errors import BadSetting

_NAME = re.compile(r"[\w.-]+")
_TAKEN = ("vm", "vm-nvidia")


def checked_runtimes(runtimes: Mapping[str, str | os.PathLike[str]]) -> list[str]:
    """Return the runtimes as options `NAME=PROGRAM`, each with the whole path of its program.

    Raises:
        BadSetting: a name is not valid, or there is no such program.
    """
    checked = []
    for name, program in runtimes.items():
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise BadSetting(
                f"--runtime {name}={program}: a name has letters, digits, dots, dashes and underscores, "
                f"and is not {' or '.join(_TAKEN)}"
            )
        path = os.path.expanduser(os.fspath(program))
        found = shutil.which(path)
        if found is None:
            step = f": run chmod +x {program}" if os.path.isfile(path) else ""
            raise BadSetting(
                f"--runtime {name}={program}: there is no program {program} that can be executed{step}"
            )
        checked.append(f"{name}={os.path.abspath(found)}")
    return checked


def runtimes_of(options: Iterable[str]) -> dict[str, Path]:
    """Return the path of each program, by the name of its runtime.

    Raises:
        BadSetting: an option is not of the form `NAME=PROGRAM`.
    """
    runtimes = {}
    for option in options:
        name, equals, program = option.partition("=")
        if not (name and equals and program):
            raise BadSetting(f"--runtime {option}: write it as NAME=PROGRAM")
        runtimes[name] = Path(program)
    return runtimes
