"""How long after a command has failed simple_golem tells of it; both clocks are this machine's."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from stopwatch import say

from simple_golem import CommandFailed, Golem, Run, Service
from simple_golem.model.events.batches import BatchEnded
from simple_golem.model.events.event import Event

# Where the deploy works, this fails in its middle, long before its last command and the end of a poll.
BATCH = (Run.shell("sleep 1"), Run.shell("exit 1"), Run.shell("sleep 20"))


class Failing(Service):
    def run(self) -> None:
        try:
            self.execute(*BATCH)
        except CommandFailed:
            return
        raise AssertionError("a command that exits with 1 has not failed")


def main() -> None:
    delays: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, BatchEnded) and event.failure is not None:
            failed = event.results[-1].finished_at
            assert failed is not None
            delays.append((datetime.now(timezone.utc) - failed).total_seconds())

    # The failure is what is asked for here.
    logging.getLogger("simple_golem").setLevel(logging.CRITICAL)
    with Golem(budget=50, raise_failures=False) as golem:
        golem.on_event(note)
        golem.run_service(Failing, respawn_unstarted_instances=False).wait()
    (delay,) = delays
    say({"delay": delay})


if __name__ == "__main__":
    main()
