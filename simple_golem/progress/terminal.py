"""Whether there is a terminal that a progress bar can be drawn in."""

from __future__ import annotations

import os
import sys


def can_show_bar() -> bool:
    """Whether stderr is a terminal that can show a bar, without a Python prompt on it."""
    interactive = hasattr(sys, "ps1") or os.environ.get("TERM") == "dumb"
    return sys.stderr is not None and sys.stderr.isatty() and not interactive
