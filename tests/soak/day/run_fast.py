"""`python -m tests.soak.day.run_fast CLOCK MODULE [ARGUMENT…]`: runs a module that has the fast clock."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tests.soak.day.fast_clock import FastClock, replace_clocks

if __name__ == "__main__":
    replace_clocks(FastClock(Path(sys.argv[1])))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
