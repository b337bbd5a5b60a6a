"""Which providers are accepted, and which of them come first."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ...errors import BadStrategy
from ..cost import plain
from ..settings import parse_amount
from .offer import Offer
from .prices import Prices

_TRUSTED = 100.0
# As in yapapi: so an offer that costs nothing has a score just below `_TRUSTED`.
_YAPAPI_OFFSET = 1.01
# More than any provider asks for: such a limit is a mistake in the decimal point or the unit.
_HIGHEST_LIMIT = Decimal(10) ** 6
_MOST_NUMBER = 1e12

Score = Callable[[Offer], "float | None"]
Filter = Callable[[Offer], bool]


@dataclass(frozen=True, slots=True)
class ExceededLimit:
    """A price limit that an offer exceeds.

    Attributes:
        name: the limit, an argument of `Strategy`.
        limit: its value, in GLM.
        asked: what the offer asks for.
    """

    name: str
    limit: Decimal
    asked: Decimal

    def __str__(self) -> str:
        what, unit = _CEILINGS[self.name]
        return f"{what} of {plain(self.asked)} GLM{unit} is above {plain(self.limit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """The cheapest provider first, within limits; by default there are no limits.

    Args:
        expected_seconds: prices are compared for an instance that lives so long.
        expected_load: how many processor threads it keeps busy.
        max_price_per_hour: GLM at most for each hour, without processor time.
        max_price_per_cpu_hour: GLM at most for each hour of processor time.
        max_start_price: GLM at most for the start of an activity.
        max_total_price: GLM at most for all of `expected_seconds` with `expected_load`.
        allow: ids or names of the providers that are accepted; None: all.
        block: ids or names of providers that are refused.
        score: a function that takes an `Offer` and returns its score. The highest score comes first, and None
            refuses the offer. By default `100 / (estimated price + 1.01)`, yapapi's score.
        accept: a function that takes an `Offer`; False refuses it.
        collect_seconds: how long answers are collected before the first choice, from the first offer on. It
            ends earlier if all providers that have offered have answered, and no further offer came for a
            twentieth of this time.

    Raises:
        BadStrategy: an argument has a wrong type, or a price is negative or far too high.

    Example:
        Golem(budget=1, strategy=Strategy(max_price_per_hour="0.5", block=["bad-provider"]))
    """

    expected_seconds: float = 3600.0
    expected_load: float = 1.0
    max_price_per_hour: Decimal | float | str | None = None
    max_price_per_cpu_hour: Decimal | float | str | None = None
    max_start_price: Decimal | float | str | None = None
    max_total_price: Decimal | float | str | None = None
    allow: Collection[str] | None = None
    block: Collection[str] = ()
    score: Score | None = None
    accept: Filter | None = None
    collect_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name in _CEILINGS:
            object.__setattr__(self, name, _ceiling(name, getattr(self, name)))
        for name in ("expected_seconds", "expected_load", "collect_seconds"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in ("allow", "block"):
            object.__setattr__(self, name, _who(name, getattr(self, name)))
        for name in ("score", "accept"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise BadStrategy(
                    f"{name} is {getattr(self, name)!r}: give a function that takes an offer, or leave it out"
                )

    def objection(self, offer: Offer) -> str | None:
        """Return why an offer is refused, as text for the provider; None if it is accepted."""
        names = {offer.provider_id.lower(), offer.provider_name.lower()}
        if self.allow is not None and not names & set(self.allow):
            return "Not on the list of allowed providers"
        if names & set(self.block):
            return "On the list of blocked providers"
        if offer.prices is None:
            return "No linear price model"
        return self._too_dear(offer.prices) or self._not_accepted(offer)

    def _too_dear(self, prices: Prices) -> str | None:
        exceeded = self.exceeded_limit(prices)
        if exceeded is not None:
            return str(exceeded)
        bounded = any(getattr(self, name) is not None for name in _CEILINGS)
        if bounded and not prices.only_time:
            return "Prices for more than time and processor time"
        return None

    def exceeded_limit(self, prices: Prices) -> ExceededLimit | None:
        """Return the first of the price limits that these prices exceed; None if they exceed none."""
        asked = self.asked(prices)
        for name, ceiling in self.limits.items():
            if asked[name] > ceiling:
                return ExceededLimit(name, ceiling, asked[name])
        return None

    @property
    def limits(self) -> Mapping[str, Decimal]:
        """The price limits that are set, in GLM, by the names of their arguments."""
        return {name: getattr(self, name) for name in _CEILINGS if getattr(self, name) is not None}

    def asked(self, prices: Prices) -> Mapping[str, Decimal]:
        """Return what is compared with each price limit, in GLM, by the names of their arguments."""
        return {
            "max_price_per_hour": prices.per_hour,
            "max_price_per_cpu_hour": prices.per_cpu_hour,
            "max_start_price": prices.start,
            "max_total_price": self.estimate(prices),
        }

    def _not_accepted(self, offer: Offer) -> str | None:
        if self.accept is not None and not self.accept(offer):
            return "Not accepted by the requestor's filter"
        return None

    def worth(self, offer: Offer) -> float | None:
        """Return the score of an offer; None if it is refused."""
        if self.score is not None:
            return _checked_score(self.score(offer))
        if offer.prices is None:
            return None
        return _TRUSTED / (float(self.estimate(offer.prices)) + _YAPAPI_OFFSET)

    def estimate(self, prices: Prices) -> Decimal:
        """Return the GLM that an instance is expected to cost at these prices."""
        return prices.estimate(self.expected_seconds, self.expected_load)


_CEILINGS = {
    "max_price_per_hour": ("A price", " per hour"),
    "max_price_per_cpu_hour": ("A price", " per hour of processor time"),
    "max_start_price": ("A start price", ""),
    "max_total_price": ("An estimated total", ""),
}


def require_strategy(value: object) -> Strategy:
    """Return `value` if it is a strategy; a function is one that scores offers.

    Raises:
        BadStrategy: it is neither.
    """
    if isinstance(value, Strategy):
        return value
    if callable(value) and not isinstance(value, type):
        return Strategy(score=value)
    raise BadStrategy(
        f"strategy is {value!r}: give a Strategy, e.g. Strategy(max_price_per_hour=0.5), or a function that "
        "takes an offer and returns its score"
    )


def _ceiling(name: str, value: object) -> Decimal | None:
    if value is None:
        return None
    amount = parse_amount(value, name, BadStrategy, zero=True)
    if amount > _HIGHEST_LIMIT:
        raise BadStrategy(f"{name} is {value!r}: no provider asks for so much; it is in whole GLM")
    return amount


def _number(name: str, value: object) -> float:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not usable or not 0 <= value <= _MOST_NUMBER:  # type: ignore[operator]
        raise BadStrategy(f"{name} is {value!r}: give a number, 0 or more")
    return float(value)  # type: ignore[arg-type]


def _who(name: str, value: object) -> tuple[str, ...] | None:
    if value is None and name == "allow":
        return None
    if isinstance(value, str) or not isinstance(value, Collection):
        raise BadStrategy(f"{name} is {value!r}: give a list of providers' ids or names, e.g. ['prov-1']")
    for one in value:
        if not isinstance(one, str) or not one.strip():
            raise BadStrategy(f"{name} has {one!r} in it: give a provider's id (0x…) or name")
    return tuple(sorted({one.strip().lower() for one in value}))


def _checked_score(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or math.isnan(value):
        raise BadStrategy(f"score returned {value!r}: return a number, the higher the better, or None")
    return float(value)
