"""`python -m tests.soak.scale.busy INSTANCES SECONDS`: instances with a batch a second each."""

from __future__ import annotations

import json
import sys

from simple_golem import Golem, Run, Service
from tests.soak.scale.beat import Beat

_LAST_BATCH_SECONDS = 60.0


class Worker(Service):
    """Makes a batch each second."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat

    def run(self) -> None:
        self._beat.keep(lambda: self.execute(Run("/bin/true")))


def main(instances: int, seconds: float) -> None:
    beat = Beat(instances)
    with Golem(budget=500, progress=False) as golem:
        cluster = golem.run_service(Worker, instance_params=[{"beat": beat}] * instances)
        report = beat.measure(seconds)
        # They end by themselves, unless their daemon is gone.
        cluster.wait(_LAST_BATCH_SECONDS)
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
