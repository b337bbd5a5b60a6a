"""How long an activity with a large image takes, from its creation until deploy and start are answered."""

from __future__ import annotations

import sys
import time

from stopwatch import say

from simple_golem import Golem, vm
from simple_golem.events import ActivityCreated, Event


def main(tag: str, rounds: int) -> None:
    created: list[float] = []

    def heard(event: Event) -> None:
        if isinstance(event, ActivityCreated):
            created.append(time.monotonic())

    ready = []
    with Golem(budget=5) as golem:
        golem.on_event(heard)
        for _ in range(rounds):
            machine = golem.rent(payload=vm.repo(image_tag=tag))
            # The event comes on a thread of its own, about when it happens.
            ready.append(time.monotonic() - created[-1])
            machine.stop()
    say({"ready": ready})


if __name__ == "__main__":
    main(sys.argv[1], rounds=int(sys.argv[2]))
