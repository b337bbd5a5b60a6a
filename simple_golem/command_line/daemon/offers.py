"""`simple-golem offers`: what is on the market, what it would cost, and why so few offers match."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from ...background.cancellation import checked_seconds
from ...engine.market.offer_preview import explanation_without_session, offers_on_market
from ...errors import BadArgument
from ...model.base.table import text_table
from ...model.cost import plain, rounded
from ...model.offers.offer import Offer
from ...model.offers.strategy import Strategy
from ...model.offers.terms import Terms
from ...model.payload import vm
from ...model.payload.payload import Payload
from ...model.settings import Settings
from ..help_format import HelpFormat
from .connection_options import add_connection_options, settings_of

_MARKET_SECONDS = 5.0
_MOST_HOURS = 1_000_000
_MOST_INSTANCES = 1_000_000
_COLUMNS = ("provider", "start", "per hour", "per cpu hour", "threads", "GiB mem", "GiB disk", "id")
_DESCRIPTION = (
    "List the offers on the market, the cheapest first. No agreement is made. With --why, say which "
    "constraint, price limit, subnet or payment network keeps how many providers away, and what the nearest "
    "demand is that has answers."
)
_EXAMPLE = """examples:
  simple-golem offers --min-mem-gib 4
  simple-golem offers --hours 8 --instances 10      what that would cost
  simple-golem offers --min-mem-gib 512 --why       why nobody answers such a demand
"""


def add_offers_command(commands: Any) -> None:
    """Add the command to the parser of the tool."""
    offers = commands.add_parser(
        "offers",
        help="list the offers on the market, with their prices, and say why so few match",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=HelpFormat,
    )
    offers.add_argument(
        "--seconds",
        type=float,
        default=_MARKET_SECONDS,
        help="the longest time to wait for offers (default: 5)",
    )
    offers.add_argument("--runtime", default="vm", help="the runtime (default: vm)")
    offers.add_argument("--min-mem-gib", type=float, default=0.5, metavar="GIB", help="the least memory")
    offers.add_argument(
        "--min-storage-gib", type=float, default=2.0, metavar="GIB", help="the least disk space"
    )
    offers.add_argument("--min-cpu-threads", type=int, default=1, metavar="N", help="the fewest threads")
    offers.add_argument(
        "--constraint",
        action="append",
        default=[],
        help="a further constraint, such as '(golem.inf.cpu.vendor=GenuineIntel)'; may be repeated",
    )
    offers.add_argument(
        "--max-price-per-hour", metavar="GLM", help="the highest price of an hour, without processor time"
    )
    offers.add_argument("--why", action="store_true", help="say what keeps how many providers away")
    offers.add_argument(
        "--hours", type=float, help="also say what so many hours would cost, with one thread busy"
    )
    offers.add_argument(
        "--instances",
        type=int,
        metavar="N",
        help="with --hours: of so many instances (default: 1)",
    )
    offers.add_argument("--json", action="store_true", help="print JSON with all properties, for programs")
    add_connection_options(offers)
    offers.set_defaults(command=show_offers)


def show_offers(options: argparse.Namespace) -> int:
    """Print the offers on the market, or why there are so few; returns 0."""
    settings, payload = settings_of(options), _payload(options)
    strategy = Strategy(max_price_per_hour=options.max_price_per_hour)
    hours, instances = _what_to_estimate(options)
    if options.why:
        explanation = explanation_without_session(settings, payload, strategy, Terms())
        print(json.dumps(asdict(explanation), indent=2) if options.json else explanation)
        return 0
    seconds = checked_seconds(options.seconds, "--seconds", allow_none=False) or 0.0
    found = offers_on_market(settings, payload, seconds, strategy)
    # Without prices that can be compared an offer is shown, too.
    accepted = [one for one in found if one.prices is None or strategy.objection(one) is None]
    cost = None if hours is None else _cost(accepted, hours, instances)
    if options.json:
        offers = [offer.to_json() for offer in accepted]
        print(json.dumps(offers if cost is None else {"offers": offers, "cost": cost}, indent=2))
        return 0
    print(text_table(_COLUMNS, [_row(offer) for offer in accepted]) if accepted else "no offers")
    if cost is not None:
        print(_cost_line(cost, settings))
    if not accepted:
        # Advice is not part of the table, which a program may read.
        advice = "no offer matches: `simple-golem offers --why` with the same options says why"
        print(advice, file=sys.stderr)
    return 0


def _what_to_estimate(options: argparse.Namespace) -> tuple[float | None, int]:
    """The hours and the number of instances whose cost is asked for; None if no cost is."""
    hours, instances = options.hours, options.instances
    if options.why and (hours, instances) != (None, None):
        raise BadArgument("--why tells no costs: leave --hours and --instances out, or --why")
    if hours is None and instances is not None:
        raise BadArgument("--instances needs --hours: give the hours that they run, such as --hours 8")
    if hours is not None and not 0 < hours <= _MOST_HOURS:
        raise BadArgument(f"--hours is {hours:g}: give more than 0, and {_MOST_HOURS} at most")
    if instances is not None and not 1 <= instances <= _MOST_INSTANCES:
        raise BadArgument(f"--instances is {instances}: give 1 or more, and {_MOST_INSTANCES} at most")
    return hours, 1 if instances is None else instances


def _payload(options: argparse.Namespace) -> Payload:
    """The constraints of a virtual machine, with the runtime of the options."""
    like = vm.repo(
        min_mem_gib=options.min_mem_gib,
        min_storage_gib=options.min_storage_gib,
        min_cpu_threads=options.min_cpu_threads,
        constraints=options.constraint,
    )
    runtime = f"(golem.runtime.name={options.runtime})"
    constraints = [one for one in like.constraints if not one.startswith("(golem.runtime.name=")]
    return Payload(constraints=[runtime, *constraints])


def _cost(offers: Sequence[Offer], hours: float, instances: int) -> Mapping[str, Any]:
    """What some hours of some instances would cost, each on a provider of its own, in GLM."""
    estimates = sorted(one.prices.estimate(3600 * hours, 1.0) for one in offers if one.prices is not None)
    cheapest: Decimal | None = None
    typical: Decimal | None = None
    if estimates:
        cheapest = sum(estimates[:instances], Decimal(0)) if len(estimates) >= instances else None
        typical = statistics.median(estimates) * instances
    return {
        "hours": hours,
        "instances": instances,
        "providers": len(estimates),
        "cheapest": None if cheapest is None else rounded(cheapest),
        "typical": None if typical is None else rounded(typical),
    }


def _cost_line(cost: Mapping[str, Any], settings: Settings) -> str:
    count = cost["instances"]
    what = f"{cost['hours']:.10g} h of {count} instance{'' if count == 1 else 's'}"
    if cost["typical"] is None:
        return f"what {what} would cost can't be said: nobody offers that"
    parts = [f"{cost['typical']} {settings.currency} at the typical price"]
    if cost["cheapest"] is not None:
        parts.insert(0, f"{cost['cheapest']} {settings.currency} with the cheapest providers")
    line = f"{what}: {', '.join(parts)} (one processor thread of each is busy)"
    few = f". Only {cost['providers']} of them can run at the same time: each provider runs one"
    return line + (few if cost["providers"] < count else "")


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
