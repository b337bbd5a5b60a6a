"""`simple-golem offers` and `simple-golem cleanup`: what the tool does with a daemon of the user's own."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..background.cancellation import Scope, checked_seconds
from ..engine.cleanup import clean_up
from ..engine.market.offer_preview import offers_on_market
from ..engine.payment.journal import JournalOwner
from ..errors import GolemError
from ..model.cost import plain
from ..model.events import Event
from ..model.offers.offer import Offer
from ..model.offers.strategy import Strategy
from ..model.payload import vm
from ..model.payload.payload import Payload
from ..model.settings import Settings
from ..yagna.client import Yagna
from ..yagna.transport.retry import Repeat

_INVOICE_SECONDS = 15.0
_OFFER_SECONDS = 5.0
_COLUMNS = ("provider", "start", "per hour", "per cpu hour", "threads", "GiB mem", "GiB disk", "id")


def add_daemon_commands(commands: Any) -> None:
    """Add both commands to the tool's parser."""
    offers = commands.add_parser(
        "offers",
        help="what is on the market, and what it costs",
        description="List what is on the market, cheapest first, without committing to anything.",
    )
    offers.add_argument("--seconds", type=float, default=_OFFER_SECONDS, help="how long to look at most")
    offers.add_argument("--runtime", default="vm", help="the runtime asked for (default: vm)")
    offers.add_argument("--min-mem-gib", type=float, default=0.5, metavar="GIB")
    offers.add_argument("--min-storage-gib", type=float, default=2.0, metavar="GIB")
    offers.add_argument("--min-cpu-threads", type=int, default=1, metavar="N")
    offers.add_argument("--json", action="store_true", help="for programs, with all properties")
    _add_settings(offers)
    offers.set_defaults(command=show_offers)
    cleanup = commands.add_parser(
        "cleanup",
        help="end and pay what killed scripts have left open",
        description="End what scripts that were killed have left open on the daemon, and pay what they owe. "
        "What a script that still runs has open is not touched, and what was suspended is kept.",
    )
    cleanup.add_argument(
        "--wait", type=float, default=_INVOICE_SECONDS, metavar="SECONDS", help="for invoices, at most"
    )
    cleanup.add_argument("--suspended", action="store_true", help="end what was suspended, too")
    cleanup.add_argument(
        "--above-budget",
        action="store_true",
        help="pay what is owed by the agreed prices, also where it is more than the budget of its session",
    )
    _add_settings(cleanup)
    cleanup.set_defaults(command=clean)


def show_offers(options: argparse.Namespace) -> int:
    """Print what is on the market."""
    seconds = checked_seconds(options.seconds, "--seconds", allow_none=False) or 0.0
    found = offers_on_market(_settings(options), _payload(options), seconds, Strategy())
    if options.json:
        print(json.dumps([offer.to_json() for offer in found], indent=2))
    else:
        print(_table([_COLUMNS, *(_row(offer) for offer in found)]))
    return 0


def clean(options: argparse.Namespace) -> int:
    """Clean up after sessions that are no more, and print what was done."""
    settings = _settings(options)
    yagna = Yagna(
        settings.api_url,
        settings.app_key,
        market_url=settings.market_url,
        activity_url=settings.activity_url,
        payment_url=settings.payment_url,
    )
    done: list[Event] = []

    def tell(event: Event) -> None:
        done.append(event)
        print(event, flush=True)

    try:
        node_id = yagna.identity.me(repeat=Repeat.NEVER).node_id
        whose = JournalOwner(settings.api_url, node_id, settings.payment_platform)
        wait = checked_seconds(options.wait, "--wait", allow_none=False)
        suspended, troubles = clean_up(
            yagna,
            whose,
            Scope(),
            tell,
            wait=wait,
            end_suspended=options.suspended,
            above_budget=options.above_budget,
        )
    finally:
        yagna.close()
    if suspended:
        print(f"kept, since suspended: {', '.join(suspended)} (--suspended ends them)")
    if not (done or troubles or suspended):
        print("nothing to clean up")
    if troubles:
        raise GolemError("not all could be cleaned up: " + "; ".join(troubles))
    return 0


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--subnet", help="else YAGNA_SUBNET, else public")
    parser.add_argument("--network", help="the payment network; else YAGNA_PAYMENT_NETWORK, else hoodi")
    parser.add_argument("--api-url", help="else YAGNA_API_URL, else http://127.0.0.1:7465")


def _settings(options: argparse.Namespace) -> Settings:
    return Settings.resolve(
        api_url=options.api_url, subnet_tag=options.subnet, payment_network=options.network
    )


def _payload(options: argparse.Namespace) -> Payload:
    """The constraints of a virtual machine, for whichever runtime."""
    like = vm.repo(
        min_mem_gib=options.min_mem_gib,
        min_storage_gib=options.min_storage_gib,
        min_cpu_threads=options.min_cpu_threads,
    )
    runtime = f"(golem.runtime.name={options.runtime})"
    constraints = [one for one in like.constraints if not one.startswith("(golem.runtime.name=")]
    return Payload(constraints=[runtime, *constraints])


def _row(offer: Offer) -> tuple[str, ...]:
    prices = offer.prices
    return (
        offer.provider_name,
        plain(prices.start) if prices else "?",
        plain(prices.per_hour) if prices else "?",
        plain(prices.per_cpu_hour) if prices else "?",
        str(offer.cpu_threads),
        f"{offer.mem_gib:g}",
        f"{offer.storage_gib:g}",
        offer.provider_id,
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:<{widths[n]}}" for n, cell in enumerate(row)).rstrip() for row in rows)
