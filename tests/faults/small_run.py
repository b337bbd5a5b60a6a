"""A whole small run, from opening a Golem to its last invoice, which uses most of the daemon's endpoints."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simple_golem import Golem, Run, Service, UploadBytes
from simple_golem.background.cancellation import Deadline
from simple_golem.events import ActivityCreated, AgreementMade, DebitNoteAccepted, DemandPublished

HELLO = ("/bin/echo", "hello")
_LONGEST_WAIT_SECONDS = 30.0


class Worker(Service):
    """Gets a file and runs one command; it ends only when it may."""

    def __init__(self, said: list[str], may_end: Callable[[], bool]) -> None:
        self.said = said
        self.may_end = may_end

    def start(self) -> Any:
        return [UploadBytes(b"some data", "/golem/work/data")]

    def run(self) -> Any:
        self.said.append(self.execute(Run(*HELLO)).stdout.strip())
        waiting = Deadline(_LONGEST_WAIT_SECONDS)
        while not (self.may_end() or waiting.passed):
            self.wait(0.01)


@dataclass
class Outcome:
    """How a run has ended.

    Attributes:
        said: what the command printed, once for each time that it was run.
        error: what the script raised.
        seconds: how long it took.
        demands, agreements, activities: how many were made, by the events.
    """

    said: list[str] = field(default_factory=list)
    error: BaseException | None = None
    seconds: float = 0.0
    demands: int = 0
    agreements: int = 0
    activities: int = 0

    @property
    def went_well(self) -> bool:
        return self.error is None and self.said == ["hello"]


def run_once(
    patience: float = 60.0,
    *,
    golem: Golem | None = None,
    with_note: bool = False,
    until: Callable[[], bool] = lambda: True,
    **options: Any,
) -> Outcome:
    """Run a worker on one provider, to its end.

    Args:
        patience: seconds until the run counts as hanging, and is stopped.
        golem: not open yet; None: one with the daemon of the environment.
        with_note: True: the worker ends only after a debit note was accepted. A quick one may end before.
        until: the worker ends only when this is true, as when something else has asked the daemon.
        options: for `run_service`.
    """
    outcome = Outcome()
    began = time.monotonic()
    golem = golem or Golem(1)

    def count(event: object) -> None:
        outcome.demands += isinstance(event, DemandPublished)
        outcome.agreements += isinstance(event, AgreementMade)
        outcome.activities += isinstance(event, ActivityCreated)

    accepted = threading.Event()

    def may_end() -> bool:
        return until() and (accepted.is_set() or not with_note)

    golem.on_event(count)
    golem.on_event(lambda event: accepted.set(), only=DebitNoteAccepted)
    try:
        with golem:
            params = {"said": outcome.said, "may_end": may_end}
            cluster = golem.run_service(Worker, instance_params=[params], **options)
            if not cluster.wait(patience):
                raise TimeoutError(f"the run has not ended after {patience:g} s")
    except Exception as error:  # noqa: BLE001 - the outcome has it
        outcome.error = error
    outcome.seconds = time.monotonic() - began
    return outcome
