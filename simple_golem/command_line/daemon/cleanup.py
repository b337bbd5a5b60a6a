"""`simple-golem cleanup`: ends and pays what killed scripts have left."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ...background.cancellation import Scope, checked_seconds
from ...engine.cleanup.clean_up import clean_up
from ...engine.payment.journal import UNREADABLE_STEP, unreadable_journals
from ...engine.payment.journal_record import JournalOwner
from ...errors import GolemError
from ...model.cost import rounded
from ...model.events.event import Event
from ...yagna.transport.retry import Repeat
from ..help_format import HelpFormat
from ..output import OutputLost
from .connection_options import add_connection_options, client_of, settings_of

_INVOICE_WAIT_SECONDS = 15.0
_EXAMPLE = """example:
  simple-golem cleanup --wait 60    wait up to a minute for the last invoices
"""


def add_cleanup_command(commands: Any) -> None:
    """Add the command to the parser of the tool."""
    cleanup = commands.add_parser(
        "cleanup",
        help="end and pay the agreements that killed scripts have left",
        description="End the agreements that killed scripts have left on the daemon, and pay their invoices. "
        "Agreements of running scripts and of suspended services are kept. "
        "`simple-golem status` shows beforehand what there is.",
        epilog=_EXAMPLE,
        formatter_class=HelpFormat,
    )
    cleanup.add_argument(
        "--wait",
        type=float,
        default=_INVOICE_WAIT_SECONDS,
        metavar="SECONDS",
        help="the longest time to wait for invoices (default: 15)",
    )
    cleanup.add_argument("--suspended", action="store_true", help="also end suspended services")
    cleanup.add_argument(
        "--above-budget",
        action="store_true",
        help="pay invoices by the agreed prices also above the budget of their session",
    )
    add_connection_options(cleanup)
    cleanup.set_defaults(command=clean)


def clean(options: argparse.Namespace) -> int:
    """End the agreements that killed sessions have left, and print each step."""
    settings = settings_of(options)
    yagna = client_of(settings)
    done: list[Event] = []

    def show(event: Event) -> None:
        done.append(event)
        _say(event)

    try:
        node_id = yagna.identity.me(repeat=Repeat.NEVER).node_id
        whose = JournalOwner(settings.api_url, node_id, settings.payment_platform)
        wait = checked_seconds(options.wait, "--wait", allow_none=False)
        with _without_hang_up():
            suspended, failures, creditors, terminated, paid = clean_up(
                yagna,
                whose,
                Scope(),
                show,
                wait=wait,
                end_suspended=options.suspended,
                above_budget=options.above_budget,
            )
    finally:
        yagna.close()
    if terminated or paid:
        ended = f"{terminated} agreement{'' if terminated == 1 else 's'} ended, " if terminated else ""
        _say(f"in all: {ended}{rounded(paid)} {settings.currency} paid")
    if suspended:
        _say(f"kept, since suspended: {', '.join(suspended)} (--suspended ends them)")
    if creditors:
        _say(f"kept, since no invoice came in {wait:g} s: {', '.join(creditors)} (run it again later)")
    if unreadable := unreadable_journals():
        failures = [*failures, f"{unreadable}; {UNREADABLE_STEP}"]
    if not (done or failures or suspended or creditors):
        _say("nothing to clean up")
    if failures:
        raise GolemError("not all could be cleaned up: " + "; ".join(failures))
    return 0


@contextmanager
def _without_hang_up() -> Iterator[None]:
    """Go on where the terminal is lost, as under nohup. Ctrl-C ends the cleanup, as always."""
    if not hasattr(signal, "SIGHUP"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _say(text: object) -> None:
    # Output that can't be written stops no cleanup: what stays costs money.
    with suppress(OutputLost):
        print(text, flush=True)
