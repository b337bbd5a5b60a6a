"""How a local provider behaves: what it charges, what it takes on, where it lets requestors down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from ...background.cancellation import checked_seconds
from ...errors import LocalNetworkError


@dataclass(frozen=True, slots=True)
class Price:
    """What a provider charges, in GLM.

    Attributes:
        per_second: for each second that an activity exists.
        per_cpu_second: for each second of processor time that its commands take.
        start: once for each activity.
    """

    per_second: Decimal = Decimal("0.0001")
    per_cpu_second: Decimal = Decimal("0.0002")
    start: Decimal = Decimal("0.0001")

    @property
    def coefficients(self) -> list[float]:
        """As an offer has them: in the order of the usage vector, the fixed price last."""
        return [float(self.per_second), float(self.per_cpu_second), float(self.start)]

    def of(self, usage: Sequence[float]) -> Decimal:
        """The price of `usage`: seconds, and seconds of processor time, both to the millisecond."""
        seconds, cpu_seconds = (Decimal(round(counter * 1000)) / 1000 for counter in usage)
        return self.start + seconds * self.per_second + cpu_seconds * self.per_cpu_second


class Answer(str, Enum):
    """What a provider says to something that it is asked for."""

    YES = "yes"
    NO = "no"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class FailingCommands:
    """The commands that fail, before they are executed.

    Attributes:
        containing: those whose program or arguments contain this text; "" is in all of them.
        exit_code: what they exit with.
        stderr: what they write.
    """

    containing: str = ""
    exit_code: int = 1
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class ProviderHabits:
    """One provider's way of doing business; the defaults are those of an honest, friendly one.

    Attributes:
        price: what it charges.
        most_agreements: how many it has at a time; more are turned down.
        runtime: the name of its runtime; whatever it is called, it is the same sandbox.
        gpu: the model of the graphics card that it says it has, with `gpu_mem_gib` GiB; None: none. There is
            none in the sandbox.
        claims: capabilities that its offer has although nothing stands behind them, e.g. `("inet",)`.
        cpu_threads, mem_gib, storage_gib: what its offer says it has.
        proposals: its answer to a counter-proposal.
        agreements: its answer to an agreement.
        approves_after: seconds from the agreement to its approval.
        activities: its answer when an activity is to be created; NO is an activity that ends at once.
        creates_after: seconds from the request to the activity.
        reason: what it says with every NO.
        deploy_error: the message with which every deploy fails; None: none does.
        failing_commands: which of the `run` commands fail; None: none does.
        command_delay: seconds before each command, be it deploy, start, run or another.
        disk_mib: MiB that fit into an activity's root; None: as much as into the machine's memory.
        transfer_speed: KiB that a transfer moves in a second, at most; None: as many as it can.
        cuts_transfers_after: bytes after which every transfer breaks off; None: none does.
        streams: whether the output of commands can be followed as it comes.
        silent_after: seconds from the creation of an activity until its usage is no longer reported, so that
            the daemon finds it unresponsive after 5 s, and is to destroy it after 10 s; None: never.
        silent_for: seconds until it is reported again; None: for good.
        terminates_after: seconds from an activity's first being ready until the provider terminates the
            agreement; None: it does not.
        keeps_activity: whether the activity goes on when the provider has terminated the agreement.
        dies_after: seconds from an activity's first being ready until the provider is gone, without a word;
            None: it stays.
        destroys: whether it destroys an activity when it is asked to; one that does not ends it with the
            agreement.
        debit_note_interval: seconds between two debit notes, whatever was agreed; None: as agreed.
        insists_on_interval: the debit note interval that it answers with, whatever was asked for; None: the
            one that was.
        overcharge: the factor by which it charges more than its price.
        invoices: whether it sends an invoice.
        invoices_after: seconds from the end of the agreement to the invoice; it is busy meanwhile.

    Raises:
        BadWaitTime: one of the seconds can't be a number of seconds.
    """

    price: Price = Price()
    most_agreements: int = 1
    runtime: str = "vm"
    gpu: str | None = None
    gpu_mem_gib: float = 24.0
    claims: Sequence[str] = ()
    cpu_threads: int = 4
    mem_gib: float = 8.0
    storage_gib: float = 64.0
    proposals: Answer = Answer.YES
    agreements: Answer = Answer.YES
    approves_after: float = 0.0
    activities: Answer = Answer.YES
    creates_after: float = 0.0
    reason: str = "not today"
    deploy_error: str | None = None
    failing_commands: FailingCommands | None = None
    command_delay: float = 0.0
    disk_mib: int | None = None
    transfer_speed: float | None = None
    cuts_transfers_after: int | None = None
    streams: bool = True
    silent_after: float | None = None
    silent_for: float | None = None
    terminates_after: float | None = None
    keeps_activity: bool = False
    dies_after: float | None = None
    destroys: bool = True
    debit_note_interval: float | None = None
    insists_on_interval: float | None = None
    overcharge: Decimal = Decimal(1)
    invoices: bool = True
    invoices_after: float = 0.0

    def __post_init__(self) -> None:
        for name in ("approves_after", "creates_after", "command_delay", "invoices_after"):
            checked_seconds(getattr(self, name), name, allow_none=False)
        for name in ("silent_after", "silent_for", "terminates_after", "dies_after", "debit_note_interval"):
            checked_seconds(getattr(self, name), name)
        checked_seconds(self.insists_on_interval, "insists_on_interval")

    def charge(self, usage: Sequence[float]) -> Decimal:
        """What it charges for `usage`, which need not be what it is worth."""
        return self.price.of(usage) * self.overcharge

    def to_wire(self) -> Mapping[str, Any]:
        """As JSON can carry it to another process."""
        price = {name: str(value) for name, value in asdict(self.price).items()}
        answers = {name: getattr(self, name).value for name in _ANSWERS}
        return {**asdict(self), **answers, "price": price, "overcharge": str(self.overcharge)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> ProviderHabits:
        failing = wire["failing_commands"]
        values = {
            "price": Price(**{name: Decimal(value) for name, value in wire["price"].items()}),
            "overcharge": Decimal(wire["overcharge"]),
            "claims": tuple(wire["claims"]),
            "failing_commands": None if failing is None else FailingCommands(**failing),
        }
        return cls(**{**wire, **values, **{name: Answer(wire[name]) for name in _ANSWERS}})


_ANSWERS = ("proposals", "agreements", "activities")


def habits_of(providers: int | Sequence[ProviderHabits], most: int) -> list[ProviderHabits]:
    """One entry for each provider of a network that was asked for as a number, or as their habits.

    Raises:
        LocalNetworkError: there are none, or more than `most`.
    """
    nonsense = LocalNetworkError(f"providers is how many, or a list of ProviderHabits, not {providers!r}")
    if isinstance(providers, bool) or not isinstance(providers, (int, Sequence)):
        raise nonsense
    habits = [ProviderHabits()] * providers if isinstance(providers, int) else list(providers)
    if not all(isinstance(entry, ProviderHabits) for entry in habits):
        raise nonsense
    if not 1 <= len(habits) <= most:
        count = providers if isinstance(providers, int) else len(habits)
        raise LocalNetworkError(f"a local network has 1 to {most} providers, not {count}")
    return habits
