"""Runs a script and notes which of its lines calls the library with what: a program of its own.

`simple-golem local check` runs scripts by it, to tell the line of the script that has broken a rule.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

from ..background import forks

_PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
# The functions that `dataclasses` generates are in no file.
_GENERATED = "<string>"
# What stands between a script and what it calls: a public method is wrapped by a function of the other file.
_BETWEEN = (_GENERATED, str(Path(forks.__file__).resolve()))
_LONGEST_TEXT = 4096


class CallRecorder:
    """Writes each call from the script to the library: its line, the function, and the texts it is given."""

    def __init__(self, script: str, record: str) -> None:
        self._script = script
        self._record = open(record, "a", encoding="utf-8")  # noqa: SIM115 - open until the process ends
        self._lock = threading.Lock()

    def start(self) -> None:
        """Record the calls of all threads from now on."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith((_PACKAGE, _GENERATED)):
            return
        caller = frame.f_back
        while caller is not None and caller.f_code.co_filename in _BETWEEN:
            caller = caller.f_back
        if caller is None or caller.f_code.co_filename != self._script:
            return
        texts = [text[:_LONGEST_TEXT] for value in list(frame.f_locals.values()) for text in _texts(value)]
        call = {"line": caller.f_lineno, "function": frame.f_code.co_name, "texts": texts}
        # Without a record, as on a full disk, or where the script closes all files, the script goes on.
        with self._lock, suppress(OSError, ValueError):
            self._record.write(json.dumps(call) + "\n")
            self._record.flush()


def _texts(value: object) -> list[str]:
    if isinstance(value, (str, os.PathLike)):
        return [os.fspath(value)] if isinstance(os.fspath(value), str) else []
    if isinstance(value, (tuple, list)):
        return [text for one in value for text in _texts(one)]
    return []


def main() -> None:
    """Run the script that is named after the file for the record, with the arguments after it."""
    record, script, *arguments = sys.argv[1:]
    path = os.path.abspath(script)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(path)
    CallRecorder(path, record).start()
    runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    main()
