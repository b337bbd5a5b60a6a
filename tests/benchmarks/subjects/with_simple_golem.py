"""The same work by simple_golem."""

from __future__ import annotations

import logging
import sys
import time

from stopwatch import Stopwatch

from simple_golem import Golem, Run, Service


class Echo(Service):
    """Runs its batches one after the other; the default payload and deployment are the floor's."""

    def __init__(self, batches: int, watch: Stopwatch) -> None:
        self._batches = batches
        self._watch = watch

    def run(self) -> None:
        for number in range(self._batches):
            began = time.monotonic()
            result = self.execute(Run("/bin/echo", str(number)))
            self._watch.round_trip(time.monotonic() - began)
            if number == 0:
                self._watch.first()
            assert result.stdout == f"{number}\n", result
        self._watch.last()


def main(instances: int, batches: int) -> None:
    # Where many are on one machine, finding them all takes longer than anybody is kept in the dark for; that
    # is told and is no failure.
    logging.getLogger("simple_golem.services.cluster").setLevel(logging.ERROR)
    watch = Stopwatch()
    with Golem(budget=50) as golem:
        params = [{"batches": batches, "watch": watch}] * instances
        golem.run_service(Echo, instance_params=params).wait()
    watch.tell(modules=[name for name in sys.modules if name.startswith("simple_golem")])


if __name__ == "__main__":
    main(instances=int(sys.argv[1]), batches=int(sys.argv[2]))
