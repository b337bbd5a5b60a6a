"""The line of the progress bar in a terminal, drawn by tqdm."""

from __future__ import annotations

import threading
from typing import Any, ClassVar
from weakref import WeakSet

from tqdm.std import tqdm


class OwnBar:
    """Lets a bar of tqdm share nothing with the program's own bars: it has its own lock, and no thread.

    The lock that tqdm makes by default is one of `multiprocessing`. It fixes the start method, and a later
    `multiprocessing.set_start_method` in the program would fail.
    """

    monitor_interval = 0
    _instances: ClassVar[WeakSet[Any]] = WeakSet()
    _lock = threading.RLock()


class BarLine(OwnBar, tqdm):  # type: ignore[type-arg]
    """A bar that is one line of a terminal."""
