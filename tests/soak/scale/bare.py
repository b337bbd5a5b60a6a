"""`python -m tests.soak.scale.bare INSTANCES SECONDS`: the same batches by plain loops over `requests`.

It checks nothing, repeats nothing, and can't be stopped.
"""

from __future__ import annotations

import json
import sys
import threading

from bare_floor import Life, Work

from tests.soak.scale.beat import Beat


class BeatingWork(Work):
    """Lives that make a batch each second."""

    def __init__(self, instances: int) -> None:
        super().__init__(instances, 0, BeatingLife)
        self.beat = Beat(instances)


class BeatingLife(Life):
    """One agreement, one activity, and a batch each second."""

    def work(self, activity: str) -> None:
        assert isinstance(self._work, BeatingWork)
        script = [{"run": {"entry_point": "/bin/true", "args": []}}]
        self._work.beat.keep(lambda: self._batch(activity, script))


def main(instances: int, seconds: float) -> None:
    work = BeatingWork(instances)
    running = threading.Thread(target=work.run, name="floor")
    running.start()
    report = work.beat.measure(seconds)
    running.join()
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
