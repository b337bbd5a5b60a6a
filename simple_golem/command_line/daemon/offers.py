"""`simple-golem offers`: what is on the market."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ...background.cancellation import checked_seconds
from ...engine.market.offer_preview import offers_on_market
from ...model.cost import plain
from ...model.offers.offer import Offer
from ...model.offers.strategy import Strategy
from ...model.payload import vm
from ...model.payload.payload import Payload
from .connection_options import add_connection_options, settings_of

_MARKET_SECONDS = 5.0
_COLUMNS = ("provider", "start", "per hour", "per cpu hour", "threads", "GiB mem", "GiB disk", "id")


def add_offers_command(commands: Any) -> None:
    """Add the command to the parser of the tool."""
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
    add_connection_options(offers)
    offers.set_defaults(command=show_offers)


def show_offers(options: argparse.Namespace) -> int:
    """Print the offers on the market."""
    seconds = checked_seconds(options.seconds, "--seconds", allow_none=False) or 0.0
    found = offers_on_market(settings_of(options), _payload(options), seconds, Strategy())
    if options.json:
        print(json.dumps([offer.to_json() for offer in found], indent=2))
    else:
        print(_table([_COLUMNS, *(_row(offer) for offer in found)]))
    return 0


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
