"""A whole small run, from opening a Golem to its last invoice, which uses most of the daemon's endpoints."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from simple_golem import Golem, Run, Service, UploadBytes
from simple_golem.events import ActivityCreated, AgreementMade, DebitNoteAccepted, DemandPublished

HELLO = ("/bin/echo", "hello")
_NOTE_SECONDS = 30.0


class Worker(Service):
    """Gets a file and runs one command; with `note` it ends only after that is set."""

    def __init__(self, said: list[str], note: threading.Event | None) -> None:
        self.said = said
        self.note = note

    def start(self) -> Any:
        return [UploadBytes(b"some data", "/golem/work/data")]

    def run(self) -> Any:
        self.said.append(self.execute(Run(*HELLO)).stdout.strip())
        if self.note is not None:
            self.note.wait(_NOTE_SECONDS)


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
    patience: float = 60.0, *, golem: Golem | None = None, with_note: bool = False, **options: Any
) -> Outcome:
    """Run a worker on one provider, to its end.

    Args:
        patience: seconds until the run counts as hanging, and is stopped.
        golem: not open yet; None: one with the daemon of the environment.
        with_note: True: the worker ends only after a debit note was accepted. A quick one may end before.
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
    golem.on_event(count)
    golem.on_event(lambda event: accepted.set(), only=DebitNoteAccepted)
    try:
        with golem:
            params: dict[str, Any] = {"said": outcome.said, "note": accepted if with_note else None}
            cluster = golem.run_service(Worker, instance_params=[params], **options)
            if not cluster.wait(patience):
                raise TimeoutError(f"the run has not ended after {patience:g} s")
    except Exception as error:  # noqa: BLE001 - the outcome has it
        outcome.error = error
    outcome.seconds = time.monotonic() - began
    return outcome
