"""The progress bar's one line, drawn by tqdm."""

from __future__ import annotations

import threading
from typing import Any, ClassVar
from weakref import WeakSet

from tqdm.std import tqdm


class BarLine(tqdm):  # type: ignore[type-arg]
    """A bar that has nothing to do with those of the program: a lock of its own, and no thread."""

    monitor_interval = 0
    _instances: ClassVar[WeakSet[Any]] = WeakSet()
    _lock = threading.RLock()
