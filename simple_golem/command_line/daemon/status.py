"""`simple-golem status`: the sessions of this user, what they have cost, and what is still open."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...background.cancellation import Scope
from ...engine.cleanup.user_sessions import UserSession, sessions_of_user
from ...engine.payment.account import Account
from ...engine.payment.documents import debit_notes_of, invoices_of
from ...engine.payment.journal import UNREADABLE_STEP, unreadable_journals
from ...errors import DaemonError, NoAppKey
from ...model.base.table import text_table
from ...model.cost import plain
from ...model.settings import Settings, currency_of
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat
from ..help_format import HelpFormat
from .connection_options import add_connection_options, cleanup_command, client_of, settings_of

_ID_DIGITS = 8
_DESCRIPTION = (
    "Show the sessions of this user that run, that are suspended, or that were killed and have left "
    "something: their instances, the providers, what was accepted of their debit notes and invoices, and "
    "what is still open. Debit notes come every two minutes. What has come up since the last one only the "
    "script knows: print(golem.cost). Nothing is changed. A session that has ended in good order, and owes "
    "nothing, is not shown."
)
_EXAMPLE = """examples:
  simple-golem status
  simple-golem status --json | jq '.sessions[].instances[].provider'
"""


def add_status_command(commands: Any) -> None:
    """Add the command to the parser of the tool."""
    status = commands.add_parser(
        "status",
        help="show your sessions, their instances and costs, and what is still open",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=HelpFormat,
    )
    status.add_argument("--json", action="store_true", help="print JSON, for programs")
    add_connection_options(status)
    status.set_defaults(command=show_status)


@dataclass(frozen=True, slots=True)
class _Row:
    """One instance: its agreement with a provider.

    Attributes:
        state: running, suspended, left (it is to be ended), unpaid (its invoice is awaited), or done.
        cost: GLM that were accepted; None if the daemon can't be asked.
    """

    instance: str
    provider: str
    provider_id: str
    agreement: str
    state: str
    since: str
    cost: str | None


@dataclass(frozen=True, slots=True)
class _Session:
    """One session.

    Attributes:
        state: running, left, suspended, or unpaid: it was killed, or has ended before all invoices came.
    """

    session: str
    state: str
    api_url: str
    payment_network: str
    budget: str
    cost: str | None
    allocations: int
    instances: tuple[_Row, ...]


def show_status(options: argparse.Namespace) -> int:
    """Print the sessions, and what the daemon has beside them; returns 0."""
    try:
        settings = settings_of(options)
    except NoAppKey:
        settings = settings_of(options, app_key="none")
    sessions = sessions_of_user()
    costs, beside, problem = _asked(settings, sessions)
    shown = [_shown(one, costs if _is_of(one, settings) else None) for one in sessions]
    unreadable = unreadable_journals()
    if options.json:
        problems = "; ".join(one for one in (problem, unreadable) if one)
        answer = {"sessions": [asdict(one) for one in shown], "beside": beside, "problem": problems}
        print(json.dumps(answer, indent=2))
        return 0
    for one in shown:
        print(_text(one))
    if problem:
        print(f"the daemon could not be asked for costs: {problem}")
    if any(beside.values()):
        print(
            "on the daemon, of no session of this user: agreements in force: "
            f"{beside['agreements']}, allocations: {beside['allocations']}"
        )
    if unreadable:
        print(f"{unreadable}; {UNREADABLE_STEP}")
    if not (shown or unreadable or any(beside.values())):
        print("no session runs, and nothing is open")
    for step in dict.fromkeys(cleanup_command(one.record.owner) for one in sessions if one.is_left):
        print(f"to end and pay what was left: {step}")
    return 0


# --- what the daemon tells ----------------------------------------------------------------------------


def _is_of(session: UserSession, settings: Settings) -> bool:
    return session.record.owner.api_url == settings.api_url


def _asked(
    settings: Settings, sessions: Sequence[UserSession]
) -> tuple[Mapping[str, Decimal] | None, dict[str, int], str]:
    """Return the costs by agreement, what else is on the daemon, and why it could not be asked."""
    yagna = client_of(settings)
    try:
        yagna.identity.me(repeat=Repeat.NEVER)
        records = [one.record for one in sessions if _is_of(one, settings)]
        accounts = [account for record in records for account in record.accounts.values()]
        return _costs(yagna, accounts), _beside(yagna, records), ""
    except DaemonError as error:
        return None, {"agreements": 0, "allocations": 0}, str(error)
    finally:
        yagna.close()


def _costs(yagna: Yagna, accounts: Sequence[Account]) -> Mapping[str, Decimal]:
    """Return what was accepted of each agreement: its invoice, or else its last debit notes."""
    scope = Scope()
    notes: dict[tuple[str, str], Decimal] = {}
    for note in debit_notes_of(yagna, accounts, scope):
        if note.is_accepted:
            key = note.agreement_id, note.activity_id
            notes[key] = max(note.amount, notes.get(key, Decimal(0)))
    costs: dict[str, Decimal] = {}
    for (agreement_id, _), amount in notes.items():
        costs[agreement_id] = costs.get(agreement_id, Decimal(0)) + amount
    for invoice in invoices_of(yagna, accounts, scope):
        if invoice.answer:
            costs[invoice.agreement_id] = max(invoice.answer, costs.get(invoice.agreement_id, Decimal(0)))
    return costs


def _beside(yagna: Yagna, records: Iterable[Any]) -> dict[str, int]:
    """Count what is on the daemon and in no journal: of other programs, users or machines."""
    of_journals = list(records)
    agreements = {agreement for record in of_journals for agreement in record.accounts}
    allocations = {allocation for record in of_journals for allocation in record.allocations}
    in_force = {
        row["id"] for row in yagna.market.agreements(state="Approved") if row.get("role") == "Requestor"
    }
    reserved = {one.allocation_id for one in yagna.payment.allocations()}
    return {"agreements": len(in_force - agreements), "allocations": len(reserved - allocations)}


# --- what is shown ------------------------------------------------------------------------------------


def _shown(session: UserSession, costs: Mapping[str, Decimal] | None) -> _Session:
    record = session.record
    rows = tuple(_row(session, account, costs) for account in record.accounts.values())
    cost = None
    if costs is not None:
        cost = plain(sum((costs.get(one, Decimal(0)) for one in record.accounts), Decimal(0)))
    if session.is_alive:
        state = "running"
    elif session.is_left:
        state = "left" if record.open - record.suspended.keys() or not record.owed else "unpaid"
    else:
        state = "suspended"
    return _Session(
        record.session_id,
        state,
        record.owner.api_url,
        record.owner.payment_network,
        plain(record.budget),
        cost,
        len(record.allocations),
        rows,
    )


def _row(session: UserSession, account: Account, costs: Mapping[str, Decimal] | None) -> _Row:
    record, name = session.record, account.agreement_id
    if name in record.suspended:
        state = "suspended"
    elif name in record.open:
        state = "running" if session.is_alive else "left"
    else:
        state = "unpaid" if name in record.owed else "done"
    return _Row(
        account.instance,
        account.provider_name,
        account.provider_id,
        name,
        state,
        account.agreed.isoformat(timespec="seconds"),
        None if costs is None else plain(costs.get(name, Decimal(0))),
    )


_MEANINGS = {
    "running": "is running",
    "left": "was killed, and has left what is not ended",
    "unpaid": "has ended, and invoices are awaited",
    "suspended": "is suspended: a later script may resume it",
}


def _text(session: _Session) -> str:
    currency = currency_of(session.payment_network)
    spent = "" if session.cost is None else f", {session.cost} of {session.budget} {currency} accepted"
    where = f"{session.payment_network}, {session.api_url}"
    lines = [f"session {session.session[:_ID_DIGITS]} {_MEANINGS[session.state]} ({where}){spent}"]
    if session.instances:
        head = ("instance", "provider", "state", "since", f"{currency} accepted")
        rows = [
            (row.instance, row.provider, row.state, _local(row.since), row.cost or "?")
            for row in session.instances
        ]
        lines += [f"  {line}" for line in text_table(head, rows).splitlines()]
    return "\n".join(lines)


def _local(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
