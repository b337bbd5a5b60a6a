"""A provider of a fake daemon: its habits, and what a test can order it to do."""

from __future__ import annotations

import hashlib
import math
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from .command_answer import Answers

Saying = Literal["yes", "no", "never"]
"""How a provider answers a request; "never" means that it does not answer."""


class Desk(Protocol):
    """Carries out what a test orders a provider to do."""

    def terminate_agreement(self, reason: str, keep_activity: bool) -> None: ...
    def kill_exe_unit(self) -> None: ...
    def kill_agent(self) -> None: ...
    def shut_down(self) -> None: ...
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
    """A provider; its attributes are its habits, and a test may change them at any moment.

    All seconds are those of the fake daemon's clock.

    Args:
        name: the name in its offer; `prov-1` and so on if it is not given.
        answers: what its `run` commands answer: a function of the command as it is in the ExeScript, or a
            mapping of command lines or programs. None, and an answer of None, mean success without output.
        per_second, per_cpu_second, start: its prices, in GLM; `start` is due once for each activity.
        cpu_rate: how many processor threads its activities use, as it counts them.
        overcharge: the factor by which its debit notes and invoices exceed its prices.
        properties: properties of its offer, in addition to the usual ones or in place of them.
        constraints: additional constraints of its offer, each in parentheses.
        subnet: the subnet of its offer; None: the subnet of each demand.
        most_agreements: how many agreements it has at the same time.
        proposals: its answer to a counter-proposal.
        agreements_wanted: its answer to an agreement.
        activities_wanted: its answer to the creation of an activity; "no" terminates the activity at once.
        reason: the reason that it gives with each "no".
        answers_after, approves_after, creates_after: seconds until it gives these three answers.
        deploy_error, start_error, transfer_error: the message with which each such command fails.
        loses_output: whether it loses the end of a program's output, as virtual machines do: up to 64 KiB of
            what is beyond 4 KiB. `Run(…, keep_all=True)` brings it whole all the same.
        volumes: the volumes of its image.
        missing_programs: programs that are not in its image. As in a virtual machine, their exit code is 9.
        command_seconds: the shortest time of each command.
        answers_results: whether requests for the results of a batch are answered; if not, they time out.
        streams: whether its batches send events.
        destroys: whether it destroys an activity on request; if not, the activity ends with the agreement.
        debit_note_interval: seconds between two debit notes; None: the agreed interval, or 120 seconds.
        sends_notes, sends_invoice: whether it sends debit notes, and an invoice.
        invoice_after: seconds from the end of an agreement to its invoice.
        terminates_after: seconds from an activity's first Ready to the end of the agreement; None: never.
        dies_after: seconds from an activity's first Ready to `die()`; None: never.
        servers: what listens on the ports of its activities in private networks: functions by port, each
            called with a connected socket on a thread of its own. Other ports refuse connections.
        times_out_after: seconds after which a request for one of its activities times out while it has
            vanished, where the request itself allows more.
        unresponsive_after, destroyed_after: seconds without a report after which an activity becomes
            Unresponsive, and is destroyed.
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
    loses_output: bool = False
    volumes: Sequence[str] = ("/golem/input", "/golem/output", "/golem/work")
    missing_programs: Collection[str] = ()
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
    servers: Mapping[int, Callable[[socket.socket], object]] = field(default_factory=dict)
    times_out_after: float = math.inf
    unresponsive_after: float = 5.0
    destroyed_after: float = 10.0

    _desk: Desk | None = field(default=None, init=False, repr=False)

    @property
    def node_id(self) -> str:
        """Its id on the network, which is made of its name."""
        return "0x" + hashlib.sha3_256(f"provider {self.name}".encode()).hexdigest()[:40]

    def charge(self, seconds: float, cpu_seconds: float) -> Decimal:
        """What it charges for an activity, in GLM."""
        seconds_, cpu_seconds_ = (Decimal(round(one * 1000)) / 1000 for one in (seconds, cpu_seconds))
        fair = self.start + seconds_ * self.per_second + cpu_seconds_ * self.per_cpu_second
        return fair * self.overcharge

    # --- what it has ------------------------------------------------------------------------------------

    @property
    def agreements(self) -> list[str]:
        """The ids of its agreements in force."""
        return self._at_work().agreements()

    @property
    def activities(self) -> list[str]:
        """The ids of its activities that have not ended."""
        return self._at_work().activities()

    @property
    def commands(self) -> list[dict[str, Any]]:
        """All commands that it has started, in order, as in the ExeScript."""
        return self._at_work().commands()

    @property
    def files(self) -> dict[str, bytes]:
        """The files of its last activity by path; a test may change them."""
        return self._at_work().files()

    # --- orders of a test -------------------------------------------------------------------------------

    def terminate_agreement(
        self, reason: str = "the provider has other plans", *, keep_activity: bool = False
    ) -> None:
        """Terminate its agreements, and their activities unless `keep_activity`."""
        self._at_work().terminate_agreement(reason, keep_activity)

    def kill_exe_unit(self) -> None:
        """Kill its exe-units: their activities become Terminated, and their batches are not answered."""
        self._at_work().kill_exe_unit()

    def kill_agent(self) -> None:
        """Kill its agent alone: its activities go on, but it sends nothing more, and destroys nothing."""
        self._at_work().kill_agent()

    def shut_down(self) -> None:
        """Shut it down in good order.

        The commands that run fail, and its activities are `["Ready", "Terminated"]` for a moment, then
        Terminated. It does not end its agreements, and sends no invoice.
        """
        self._at_work().shut_down()

    def vanish(self) -> None:
        """Cut it off from the network: all requests to it time out."""
        self._at_work().vanish()

    def die(self) -> None:
        """Kill all its processes but the daemon.

        It sends nothing more. Requests for batches are answered with 500, and its activities become
        Unresponsive after `unresponsive_after`.
        """
        self._at_work().die()

    def come_back(self) -> None:
        """End `vanish`, with all it had.

        Or end `die`, `shut_down` or `kill_agent`: it offers again, without its agreements.
        """
        self._at_work().come_back()

    def stop_reporting(self) -> None:
        """Stop its reports: its activities become Unresponsive, and are destroyed later."""
        self._at_work().stop_reporting()

    def report_again(self) -> None:
        """Start its reports again."""
        self._at_work().report_again()

    def send_debit_note(self) -> None:
        """Send a debit note for each of its activities now."""
        self._at_work().send_debit_note()

    def at_work_at(self, desk: Desk) -> None:
        """Called by the fake daemon: `desk` carries out the orders of the test from now on."""
        self._desk = desk

    def _at_work(self) -> Desk:
        if self._desk is None:
            raise RuntimeError(
                f"{self.name or 'this provider'} has no fake daemon: write FakeYagna([provider])"
            )
        return self._desk
