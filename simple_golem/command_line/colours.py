"""Whether a stream shows colours, and text that stands back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def shows_colours(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream is a terminal with colours, and `NO_COLOR` does not turn them off."""
    return stream.isatty() and environ.get("TERM") != "dumb" and not environ.get("NO_COLOR")


def dim(text: str, stream: TextIO, environ: Mapping[str, str] = os.environ) -> str:
    """Return the text as a stream shows it less brightly, or as it is where there are no colours."""
    return f"{_DIM}{text}{_PLAIN}" if shows_colours(stream, environ) else text
