"""`simple-golem offers` and `simple-golem cleanup`: the commands that use the user's own daemon."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..background.cancellation import Scope, checked_seconds
from ..engine.cleanup.clean_up import clean_up
from ..engine.market.offer_preview import offers_on_market
from ..engine.payment.journal_record import JournalOwner
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

_INVOICE_WAIT_SECONDS = 15.0
_MARKET_SECONDS = 5.0
_COLUMNS = ("provider", "start", "per hour", "per cpu hour", "threads", "GiB mem", "GiB disk", "id")


def add_daemon_commands(commands: Any) -> None:
    """Add both commands to the parser of the tool."""
    offers = commands.add_parser(
        "offers",
        help="list the offers on the market, with their prices",
        description="List the offers on the market, the cheapest first. No agreement is made.",
    )
    offers.add_argument(
        "--seconds", type=float, default=_MARKET_SECONDS, help="the longest time to wait for offers"
    )
    offers.add_argument("--runtime", default="vm", help="the runtime (default: vm)")
    offers.add_argument("--min-mem-gib", type=float, default=0.5, metavar="GIB", help="the least memory")
    offers.add_argument(
        "--min-storage-gib", type=float, default=2.0, metavar="GIB", help="the least disk space"
    )
    offers.add_argument("--min-cpu-threads", type=int, default=1, metavar="N", help="the fewest threads")
    offers.add_argument("--json", action="store_true", help="print JSON with all properties, for programs")
    _add_settings(offers)
    offers.set_defaults(command=show_offers)
    cleanup = commands.add_parser(
        "cleanup",
        help="end and pay the agreements that killed scripts have left",
        description="End the agreements that killed scripts have left on the daemon, and pay their invoices. "
        "Agreements of running scripts and of suspended services are kept.",
    )
    cleanup.add_argument(
        "--wait",
        type=float,
        default=_INVOICE_WAIT_SECONDS,
        metavar="SECONDS",
        help="the longest time to wait for invoices",
    )
    cleanup.add_argument("--suspended", action="store_true", help="also end suspended services")
    cleanup.add_argument(
        "--above-budget",
        action="store_true",
        help="pay invoices by the agreed prices also above the budget of their session",
    )
    _add_settings(cleanup)
    cleanup.set_defaults(command=clean)


def show_offers(options: argparse.Namespace) -> int:
    """Print the offers on the market."""
    seconds = checked_seconds(options.seconds, "--seconds", allow_none=False) or 0.0
    found = offers_on_market(_settings(options), _payload(options), seconds, Strategy())
    if options.json:
        print(json.dumps([offer.to_json() for offer in found], indent=2))
    else:
        print(_table([_COLUMNS, *(_row(offer) for offer in found)]))
    return 0


def clean(options: argparse.Namespace) -> int:
    """End the agreements that killed sessions have left, and print each step."""
    settings = _settings(options)
    yagna = Yagna(
        settings.api_url,
        settings.app_key,
        market_url=settings.market_url,
        activity_url=settings.activity_url,
        payment_url=settings.payment_url,
    )
    done: list[Event] = []

    def show(event: Event) -> None:
        done.append(event)
        print(event, flush=True)

    try:
        node_id = yagna.identity.me(repeat=Repeat.NEVER).node_id
        whose = JournalOwner(settings.api_url, node_id, settings.payment_platform)
        wait = checked_seconds(options.wait, "--wait", allow_none=False)
        suspended, failures, creditors = clean_up(
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
    if suspended:
        print(f"kept, since suspended: {', '.join(suspended)} (--suspended ends them)")
    if creditors:
        print(f"kept, since no invoice came in {wait:g} s: {', '.join(creditors)} (run it again later)")
    if not (done or failures or suspended or creditors):
        print("nothing to clean up")
    if failures:
        raise GolemError("not all could be cleaned up: " + "; ".join(failures))
    return 0


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--subnet", help="the subnet (default: YAGNA_SUBNET, or else public)")
    parser.add_argument(
        "--network", help="the payment network (default: YAGNA_PAYMENT_NETWORK, or else hoodi)"
    )
    parser.add_argument(
        "--api-url", help="the daemon's URL (default: YAGNA_API_URL, or else http://127.0.0.1:7465)"
    )


def _settings(options: argparse.Namespace) -> Settings:
    return Settings.resolve(
        api_url=options.api_url, subnet_tag=options.subnet, payment_network=options.network
    )


def _payload(options: argparse.Namespace) -> Payload:
    """The constraints of a virtual machine, with the runtime of the options."""
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
