"""Calls a function in a forked child, and returns what it answers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable


def in_forked_child(answer: Callable[[], str]) -> str:
    """Fork, call `answer` in the child, and return what it returned; an error is returned as its repr."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Since 3.12, of processes with several threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        try:
            text = answer()
        except BaseException as error:  # noqa: BLE001 - the test compares it
            text = repr(error)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode()
    assert os.waitpid(child, 0) == (child, 0)
    return text
