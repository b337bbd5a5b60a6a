"""A provider of a fake daemon: how it behaves, and what a test has it do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from .command_answer import Answers

Saying = Literal["yes", "no", "never"]
"""What a provider says to something that it is asked for; "never" is no answer at all."""


class Desk(Protocol):
    """What carries out for a provider what a test has it do."""

    def terminate_agreement(self, reason: str, keep_activity: bool) -> None: ...
    def kill_exe_unit(self) -> None: ...
    def vanish(self) -> None: ...
    def die(self) -> None: ...
    def come_back(self) -> None: ...
    def stop_reporting(self) -> None: ...
    def report_again(self) -> None: ...
    def send_debit_note(self) -> None: ...
    def commands(self) -> list[dict[str, Any]]: ...
    def files(self) -> dict[str, bytes]: ...
    def agreements(self) -> list[str]: ...
    def activities(self) -> list[str]: ...


@dataclass(eq=False)
class FakeProvider:
    """A provider; its attributes are its habits, and may be changed at any moment.

    Args:
        name: what it calls itself; `prov-1` and so on, if it is not given.
        answers: what its `run` commands answer: a function of the command as it is in the ExeScript, or a
            mapping of command lines or programs. None, or an answer of None: success without output.
        per_second, per_cpu_second, start: its prices, in GLM; the last one is due once for an activity.
        cpu_rate: how many threads of its processor an activity keeps busy, as it counts them.
        overcharge: the factor by which it charges more than its prices.
        properties: of its offer, beside and instead of the usual ones.
        constraints: further ones of its offer, each in parentheses.
        subnet: where it offers; None: wherever somebody asks.
        most_agreements: how many it has at a time.
        proposals: what it says to a counter-proposal.
        agreements_wanted: what it says to an agreement.
        activities_wanted: what it says when an activity is to be created; "no" ends it at once.
        reason: what it says with every "no".
        answers_after, approves_after, creates_after: seconds until it says so.
        deploy_error, start_error, transfer_error: the message with which such a command fails.
        command_seconds: how long each command takes at least.
        answers_results: whether anybody hears what became of a command.
        streams: whether the output of commands can be followed as it comes.
        destroys: whether it destroys an activity when it is asked to; else it ends it with the agreement.
        debit_note_interval: seconds between two debit notes; None: as was agreed, or each 120 s.
        sends_notes, sends_invoice: whether it does.
        invoice_after: seconds from the end of an agreement to its invoice.
        terminates_after: seconds from when an activity is first ready until it terminates the agreement.
        dies_after: seconds from then until it is dead, without a word.

    All seconds go by the clock of the fake daemon.
    """

    name: str = ""
    answers: Answers | None = None
    per_second: Decimal = Decimal("0.0001")
    per_cpu_second: Decimal = Decimal("0.0002")
    start: Decimal = Decimal("0.0001")
    cpu_rate: float = 0.0
    overcharge: Decimal = Decimal(1)
    properties: Mapping[str, Any] = field(default_factory=dict)
    constraints: str = ""
    subnet: str | None = None
    most_agreements: int = 1
    proposals: Saying = "yes"
    agreements_wanted: Saying = "yes"
    activities_wanted: Saying = "yes"
    reason: str = "not today"
    answers_after: float = 0.0
    approves_after: float = 0.0
    creates_after: float = 0.0
    deploy_error: str | None = None
    start_error: str | None = None
    transfer_error: str | None = None
    command_seconds: float = 0.0
    answers_results: bool = True
    streams: bool = True
    destroys: bool = True
    debit_note_interval: float | None = None
    sends_notes: bool = True
    sends_invoice: bool = True
    invoice_after: float = 0.0
    terminates_after: float | None = None
    dies_after: float | None = None

    _desk: Desk | None = field(default=None, init=False, repr=False)

    @property
    def node_id(self) -> str:
        """Its id on the network, which goes by its name."""
        return "0x" + hashlib.sha3_256(f"provider {self.name}".encode()).hexdigest()[:40]

    def charge(self, seconds: float, cpu_seconds: float) -> Decimal:
        """What it charges for an activity that has used so much."""
        seconds_, cpu_seconds_ = (Decimal(round(one * 1000)) / 1000 for one in (seconds, cpu_seconds))
        fair = self.start + seconds_ * self.per_second + cpu_seconds_ * self.per_cpu_second
        return fair * self.overcharge

    # --- what it is like --------------------------------------------------------------------------------

    @property
    def agreements(self) -> list[str]:
        """The ids of the agreements that it has in force."""
        return self._at_work().agreements()

    @property
    def activities(self) -> list[str]:
        """The ids of its activities that live."""
        return self._at_work().activities()

    @property
    def commands(self) -> list[dict[str, Any]]:
        """Every command that it has begun, in order, as in the ExeScript."""
        return self._at_work().commands()

    @property
    def files(self) -> dict[str, bytes]:
        """The files in the container of its last activity, by path; may be changed."""
        return self._at_work().files()

    # --- what it does when a test says so ---------------------------------------------------------------

    def terminate_agreement(
        self, reason: str = "the provider has other plans", *, keep_activity: bool = False
    ) -> None:
        """Terminate its agreements, and their activities unless `keep_activity`."""
        self._at_work().terminate_agreement(reason, keep_activity)

    def kill_exe_unit(self) -> None:
        """Have its exe-units die: their activities are Terminated, their batches not answered any more."""
        self._at_work().kill_exe_unit()

    def vanish(self) -> None:
        """Be cut off from the network: whatever is asked of it just takes its time."""
        self._at_work().vanish()

    def die(self) -> None:
        """Be gone without a word, while its daemon stays: batches are answered with 500, and the state of its
        activities becomes Unresponsive after 5 seconds."""
        self._at_work().die()

    def come_back(self) -> None:
        """Be reachable again, with all it had; after its death it offers again, and knows of nothing."""
        self._at_work().come_back()

    def stop_reporting(self) -> None:
        """Tell nothing of its activities: they are Unresponsive after 5 seconds, and destroyed after 10."""
        self._at_work().stop_reporting()

    def report_again(self) -> None:
        """Tell of its activities again."""
        self._at_work().report_again()

    def send_debit_note(self) -> None:
        """Send a debit note for each of its activities, now."""
        self._at_work().send_debit_note()

    def at_work_at(self, desk: Desk) -> None:
        """A fake daemon takes it on, and this carries out what it is told to do from now on."""
        self._desk = desk

    def _at_work(self) -> Desk:
        if self._desk is None:
            raise RuntimeError(f"{self.name or 'this provider'} is on no fake daemon: FakeYagna([provider])")
        return self._desk
