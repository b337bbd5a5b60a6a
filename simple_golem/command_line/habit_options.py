"""Parses habits on the command line, such as `prov-2=dies-after:5`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, DecimalException
from typing import Any

from ..errors import BadHabit
from ..local.control.habits import Answer, FailingCommands, Price, ProviderHabits, habits_of
from ..local.daemon.identities import PROVIDERS
from ..model.base.similar import nearest_of

Change = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How one habit is written.

    Attributes:
        value: the name of its value in the help; None: it has no value.
        change: returns the fields of `ProviderHabits` that the habit changes.
        optional: whether the value may be missing.
    """

    value: str | None
    change: Callable[[str], Change]
    optional: bool = False

    def shown(self, name: str) -> str:
        if self.value is None:
            return name
        return f"{name}[:{self.value}]" if self.optional else f"{name}:{self.value}"


def _plain(**change: Any) -> _Spelling:
    return _Spelling(None, lambda value: change)


def _seconds(field: str) -> _Spelling:
    return _Spelling("SECONDS", lambda value: {field: float(value)})


def _amount(value: str) -> Decimal:
    amount = Decimal(value)
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{value} is not an amount")
    return amount


def _refusal(field: str) -> _Spelling:
    return _Spelling("REASON", lambda value: {field: Answer.NO, **_reason(value)}, optional=True)


def _reason(value: str) -> Change:
    return {"reason": value} if value else {}


_SPELLINGS: Mapping[str, _Spelling] = {
    "never-answers": _plain(proposals=Answer.NEVER),
    "rejects-proposals": _refusal("proposals"),
    "never-approves": _plain(agreements=Answer.NEVER),
    "rejects-agreements": _refusal("agreements"),
    "approves-after": _seconds("approves_after"),
    "never-creates": _plain(activities=Answer.NEVER),
    "refuses-activities": _refusal("activities"),
    "creates-after": _seconds("creates_after"),
    "fails-deploy": _Spelling(
        "MESSAGE", lambda value: {"deploy_error": value or "no disk left"}, optional=True
    ),
    "fails-commands": _Spelling(
        "TEXT", lambda value: {"failing_commands": FailingCommands(value)}, optional=True
    ),
    "hangs-commands": _Spelling("TEXT", lambda value: {"hanging_commands": value}, optional=True),
    "delays-commands": _seconds("command_delay"),
    "disk-of": _Spelling("MIB", lambda value: {"disk_mib": int(value)}),
    "slow-transfers": _Spelling("KIB_PER_SECOND", lambda value: {"transfer_speed": float(value)}),
    "cuts-transfers-after": _Spelling("BYTES", lambda value: {"cuts_transfers_after": int(value)}),
    "never-streams": _plain(streams=False),
    "cuts-streams-after": _Spelling("EVENTS", lambda value: {"streams_events": int(value)}),
    "silent-after": _seconds("silent_after"),
    "silent-for": _seconds("silent_for"),
    "terminates-after": _seconds("terminates_after"),
    "keeps-activity": _plain(keeps_activity=True),
    "dies-after": _seconds("dies_after"),
    "never-destroys": _plain(destroys=False),
    "runtime": _Spelling("NAME", lambda value: {"runtime": value}),
    "gpu": _Spelling("MODEL", lambda value: {"gpu": value}),
    "claims": _Spelling("CAPABILITIES", lambda value: {"claims": tuple(value.split(","))}),
    "price-per-second": _Spelling("GLM", lambda value: {"price": Price(per_second=_amount(value))}),
    "debit-note-interval": _seconds("debit_note_interval"),
    "insists-on-interval": _seconds("insists_on_interval"),
    "overcharges": _Spelling("FACTOR", lambda value: {"overcharge": _amount(value)}),
    "never-invoices": _plain(invoices=False),
    "invoices-after": _seconds("invoices_after"),
}

_MEANINGS: Mapping[str, str] = {
    "never-answers": "it makes an offer, but answers no counter-proposal",
    "rejects-proposals": "it rejects each counter-proposal",
    "never-approves": "it does not answer an agreement",
    "rejects-agreements": "it refuses each agreement",
    "approves-after": "it takes so long to approve an agreement",
    "never-creates": "it creates no activity, and does not answer",
    "refuses-activities": "its activities end at once",
    "creates-after": "it takes so long to create an activity",
    "fails-deploy": "each deploy fails",
    "fails-commands": "all commands fail, or those that contain the text",
    "hangs-commands": "the provider never says that a command has ended, if the command contains the text; "
    "without a text, this holds for each command",
    "delays-commands": "each command takes so much longer",
    "disk-of": "its volumes have only so much room",
    "slow-transfers": "files are sent at most so fast",
    "cuts-transfers-after": "each transfer breaks off after so many bytes",
    "never-streams": "it can't stream the output of commands",
    "cuts-streams-after": "the stream of each batch ends with an error after so many events, as it can where "
    "they come quickly",
    "silent-after": "it reports nothing any more, so its activity becomes unresponsive",
    "silent-for": "with silent-after: it reports again after this time",
    "terminates-after": "it ends the agreement",
    "keeps-activity": "with terminates-after: the activity goes on",
    "dies-after": "it is gone, without a word",
    "never-destroys": "it destroys no activity; the activity ends with the agreement",
    "runtime": "its runtime has this name in its offer",
    "gpu": "it offers a graphics card that it does not have",
    "claims": "it offers capabilities that it does not have, such as inet",
    "price-per-second": "the price of each second",
    "debit-note-interval": "it sends debit notes so often, whatever was agreed",
    "insists-on-interval": "it asks for this interval of debit notes in its proposals",
    "overcharges": "it asks for so many times its prices",
    "never-invoices": "it sends no invoice",
    "invoices-after": "it sends its invoice late",
}

POSSIBLE_HABITS = ", ".join(spelling.shown(name) for name, spelling in _SPELLINGS.items())
_WIDTH = max(len(spelling.shown(name)) for name, spelling in _SPELLINGS.items())
HABITS_HELP = (
    "habits of providers, each written as --habit PROVIDER=HABIT, such as --habit prov-2=dies-after:5:\n"
    + "".join(
        f"  {_SPELLINGS[name].shown(name):<{_WIDTH}}  {meaning}\n" for name, meaning in _MEANINGS.items()
    )
)


def spelled_habits(options: Iterable[str], providers: int) -> list[ProviderHabits]:
    """Return the habits of all providers.

    Args:
        options: each `PROVIDER=HABIT` or `PROVIDER=HABIT:VALUE`; a provider may have several.
        providers: the number of providers.

    Raises:
        BadHabit: an option does not have this form, or there is no such provider or habit.
        LocalNetworkError: no network has so many providers.
    """
    habits = habits_of(providers, len(PROVIDERS))
    names = [identity.name for identity in PROVIDERS[:providers]]
    for option in options:
        provider, _, habit = option.partition("=")
        if provider not in names:
            raise BadHabit(
                f"write a habit as PROVIDER=HABIT, with a provider from {names[0]} to {names[-1]}, "
                f"not {option!r}"
            )
        index = names.index(provider)
        habits[index] = _with(habits[index], habit)
    return habits


def _with(habits: ProviderHabits, habit: str) -> ProviderHabits:
    name, colon, value = habit.partition(":")
    spelling = _SPELLINGS.get(name)
    if spelling is None:
        meant = nearest_of(name, _SPELLINGS)
        guess = f": did you mean {_SPELLINGS[meant].shown(meant)}?" if meant is not None else ";"
        raise BadHabit(f"there is no habit {name!r}{guess} the habits are {POSSIBLE_HABITS}")
    wrong = BadHabit(f"write this habit as {spelling.shown(name)}, not {habit!r}")
    if (spelling.value is None) == bool(colon) and not spelling.optional:
        raise wrong
    try:
        return replace(habits, **spelling.change(value))
    except (ValueError, DecimalException) as error:
        raise wrong from error
