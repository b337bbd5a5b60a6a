"""Lines with a mark for good or bad, in colours where a terminal shows them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

from ..colours import shows_colours

_GREEN, _RED, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
_NAME_WIDTH = 17


class Marks:
    """Writes such lines to a stream.

    Args:
        stream: gets the lines; standard output by default.
        environ: `NO_COLOR` in it, if it is not empty, turns colours off.
    """

    def __init__(self, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._good, self._bad, self._arrow = ("✓", "✗", "→") if self._shows("✓✗→") else ("ok", "no", "->")
        self._is_coloured = shows_colours(self._stream, environ)

    def write(self, name: str, is_good: bool, text: str, next_step: str = "") -> None:
        """Write one line, and the next step in a second one."""
        mark = self._good if is_good else self._bad
        indent = " " * (len(mark) + 1 + _NAME_WIDTH + 1)
        if self._is_coloured:
            mark = f"{_GREEN if is_good else _RED}{mark}{_PLAIN}"
        lines = [f"{mark} {name:<{_NAME_WIDTH}} {self._shown(text)}"]
        if next_step:
            lines.append(f"{indent}{self._arrow} {self._shown(next_step)}")
        self._stream.write("".join(f"{line}\n" for line in lines))
        self._stream.flush()

    def _shows(self, text: str) -> bool:
        try:
            text.encode(self._stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def _shown(self, text: str) -> str:
        """The text, with `?` for what the terminal can't show."""
        encoding = self._stream.encoding or "ascii"
        return text if self._shows(text) else text.encode(encoding, "replace").decode(encoding)
