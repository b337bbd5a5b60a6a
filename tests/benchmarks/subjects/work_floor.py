"""The floor of many items: the bare loops of `bare_floor.py`, which take their items from one queue."""

from __future__ import annotations

import queue
import sys

from bare_floor import Life, Work


class SharedWork(Work):
    """Lives that share their items; nobody has one that another life has begun."""

    def __init__(self, machines: int, items: int) -> None:
        super().__init__(machines, items, Worker)
        self.items: queue.SimpleQueue[int] = queue.SimpleQueue()
        for item in range(items):
            self.items.put(item)


class Worker(Life):
    """One machine: an item after the other, until there is none."""

    def work(self, activity: str) -> None:
        assert isinstance(self._work, SharedWork)
        while True:
            try:
                self._work.items.get_nowait()
            except queue.Empty:
                return
            self._batch(activity, [{"run": {"entry_point": "/bin/true", "args": []}}])
            self._work.watch.first()


if __name__ == "__main__":
    work = SharedWork(machines=int(sys.argv[1]), items=int(sys.argv[2]))
    work.run()
    work.watch.tell(machines=int(sys.argv[1]))
