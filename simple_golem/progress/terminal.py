"""Whether there is a terminal or a notebook that a progress bar can be drawn in."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec


def can_show_bar() -> bool:
    """Whether this is a notebook, or stderr is a terminal that can show a bar, without a Python prompt."""
    if is_notebook():
        return True
    interactive = hasattr(sys, "ps1") or os.environ.get("TERM") == "dumb"
    return sys.stderr is not None and sys.stderr.isatty() and not interactive


def is_notebook() -> bool:
    """Whether the program runs in a kernel of Jupyter that has widgets."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return hasattr(get_shell(), "kernel") and find_spec("ipywidgets") is not None
