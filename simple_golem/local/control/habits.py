"""`ProviderHabits`: the prices, limits and faults of a local provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from ...background.cancellation import checked_seconds
from ...errors import LocalNetworkError
from .as_real import AsReal


@dataclass(frozen=True, slots=True)
class Price:
    """The prices of a provider, in GLM.

    Attributes:
        per_second: the price of each second of an activity.
        per_cpu_second: the price of each second of processor time.
        start: the fixed price of an activity.
    """

    per_second: Decimal = Decimal("0.0001")
    per_cpu_second: Decimal = Decimal("0.0002")
    start: Decimal = Decimal("0.0001")

    @property
    def coefficients(self) -> list[float]:
        """The prices in the order of an offer: as in its usage vector, then the fixed price."""
        return [float(self.per_second), float(self.per_cpu_second), float(self.start)]

    def of(self, usage: Sequence[float]) -> Decimal:
        """Return the price of a usage in GLM; `usage` has the seconds and the seconds of processor time."""
        seconds, cpu_seconds = (Decimal(round(counter * 1000)) / 1000 for counter in usage)
        return self.start + seconds * self.per_second + cpu_seconds * self.per_cpu_second


class Answer(str, Enum):
    """How a provider answers a request.

    Attributes:
        YES: it accepts.
        NO: it refuses.
        NEVER: it does not answer.
    """

    YES = "yes"
    NO = "no"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class FailingCommands:
    """Commands that fail without being executed.

    Attributes:
        containing: a command fails if its program or arguments contain this text; "": all commands fail.
        exit_code: the exit code of these commands.
        stderr: the output of these commands to stderr.
    """

    containing: str = ""
    exit_code: int = 1
    stderr: str = ""


@dataclass(frozen=True, slots=True)
class ProviderHabits:
    """How one local provider behaves; the defaults are those of a correct provider.

    Attributes:
        price: its prices.
        most_agreements: how many agreements it has at a time; it refuses more.
        runtime: the name of its runtime in its offer. The sandbox is the same for every name.
        gpu: the model of the graphics card in its offer; None: no card. The sandbox never has one.
        gpu_mem_gib: the memory of that card in its offer, in GiB.
        claims: additional capabilities in its offer, which it does not really have, e.g. `("inet",)`.
        cpu_threads: the number of threads in its offer. An activity gets no more, and no more than there are.
        mem_gib: the memory in its offer, in GiB. No process of an activity gets more.
        storage_gib: the disk space in its offer, in GiB.
        proposals: its answer to a counter-proposal.
        agreements: its answer to an agreement.
        approves_after: seconds until it approves an agreement.
        activities: its answer to the creation of an activity; with NO the activity ends at once.
        creates_after: seconds until it creates an activity.
        reason: the reason that it gives with every NO, and when it terminates an agreement.
        deploy_error: the message with which every deploy fails; None: deploy works.
        failing_commands: the `run` commands that fail; None: no command fails.
        hanging_commands: a text; the provider never says that a `run` command with this text has ended. On a
            real provider this can happen if many background programs end with a command. `""`: this holds
            for all commands; None: for none.
        command_delay: seconds before each command, also before deploy and start.
        disk_mib: the room of an activity's volumes in MiB, and at most that of its root; None: no limit.
        transfer_speed: the highest speed of transfers in KiB per second; None: no limit.
        cuts_transfers_after: every transfer breaks off after this number of bytes; None: none breaks off.
        streams: whether the output of commands can be streamed.
        streams_events: the stream of each batch ends with an error after this number of events, as it can
            happen where they come quickly; None: it does not.
        silent_after: seconds from the creation of an activity until the provider stops its usage reports. The
            daemon marks the activity as unresponsive after 5 s without reports, and asks the provider to
            destroy it after 10 s. None: the reports never stop.
        silent_for: seconds until the reports resume; None: they do not.
        terminates_after: seconds until the provider terminates the agreement, counted from when its first
            activity is ready; None: it does not.
        keeps_activity: whether the activity goes on when the provider has terminated the agreement.
        dies_after: seconds until the provider dies without notice, counted from when its first activity is
            ready; None: it does not die.
        destroys: whether it destroys an activity on request; if not, the activity ends with the agreement.
        debit_note_interval: seconds between two debit notes, instead of the agreed interval; None: as agreed.
        insists_on_interval: the debit note interval in its counter-proposal, in seconds, whatever the demand
            says; None: as in the demand.
        overcharge: the factor by which it charges more than its prices.
        invoices: whether it sends an invoice.
        invoices_after: seconds from the end of the agreement to the invoice; the provider is busy meanwhile.
        as_real: the time and the misfortune of a real network; None: none.

    Raises:
        BadWaitTime: a number of seconds is not valid.
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
    hanging_commands: str | None = None
    command_delay: float = 0.0
    disk_mib: int | None = None
    transfer_speed: float | None = None
    cuts_transfers_after: int | None = None
    streams: bool = True
    streams_events: int | None = None
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
    as_real: AsReal | None = None

    def __post_init__(self) -> None:
        for name in ("approves_after", "creates_after", "command_delay", "invoices_after"):
            checked_seconds(getattr(self, name), name, allow_none=False)
        for name in ("silent_after", "silent_for", "terminates_after", "dies_after", "debit_note_interval"):
            checked_seconds(getattr(self, name), name)
        checked_seconds(self.insists_on_interval, "insists_on_interval")

    def charge(self, usage: Sequence[float]) -> Decimal:
        """Return what it charges for a usage, in GLM, with the overcharge."""
        return self.price.of(usage) * self.overcharge

    def to_wire(self) -> Mapping[str, Any]:
        """Convert to a JSON value."""
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
            "as_real": None if wire["as_real"] is None else AsReal(**wire["as_real"]),
        }
        return cls(**{**wire, **values, **{name: Answer(wire[name]) for name in _ANSWERS}})


_ANSWERS = ("proposals", "agreements", "activities")


def habits_of(providers: int | Sequence[ProviderHabits], most: int) -> list[ProviderHabits]:
    """Return the habits of each provider of a network.

    Args:
        providers: the number of providers with default habits, or the habits of each.
        most: the largest number of providers.

    Raises:
        LocalNetworkError: there are no providers, or more than `most`.
    """
    wrong_type = LocalNetworkError(f"providers is a number or a list of ProviderHabits, not {providers!r}")
    if isinstance(providers, bool) or not isinstance(providers, (int, Sequence)):
        raise wrong_type
    if not isinstance(providers, int) and not all(isinstance(entry, ProviderHabits) for entry in providers):
        raise wrong_type
    count = providers if isinstance(providers, int) else len(providers)
    if not 1 <= count <= most:
        raise LocalNetworkError(f"a local network has 1 to {most} providers, not {count}")
    return [ProviderHabits()] * providers if isinstance(providers, int) else list(providers)
