"""Why so few providers answer a demand: which of its conditions keeps how many of them away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ...errors import BadStrategy
from ..base.printable import printable
from ..base.table import escaped, html_table, text_table
from ..cost import plain
from ..local_offers import how_to_offer_runtime
from ..payload.matching import matches
from ..payload.payload import Payload
from ..settings import Settings
from .offer import MOST, Offer
from .strategy import Strategy
from .terms import ACCEPT_TIMEOUT, Terms

SUBNET = "golem.node.debug.subnet"
_RUNTIME = "golem.runtime.name"
_PLATFORM = re.compile(r"golem\.com\.payment\.platform\.(?P<driver>\w+)-(?P<network>\w+)-\w+\.address")
_COMPARISON = re.compile(r"\((?P<name>[^()=<>]+?)(?P<sign><=|>=|=|<|>)(?P<value>[^()]*)\)")
_HEAD = ("keeps away", "it alone", "condition", "offered")
_MOST_VALUES = 4
_LONGEST_VALUE = 40
# Those of a provider; to read longer ones of many providers would take too long.
_LONGEST_CONSTRAINTS = 10_000


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A condition of a demand that keeps providers away.

    Attributes:
        condition: a constraint as the payload has it, or the subnet, the payment network, or an argument of
            the strategy or the terms.
        keeps_away: how many providers do not fulfil it.
        alone: how many of them fulfil all other conditions.
        offered: what providers offer in its place.
    """

    condition: str
    keeps_away: int
    alone: int
    offered: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why providers answer a demand, or do not; `print` shows a table, and so does a notebook.

    Attributes:
        providers: how many providers the daemon knows, in all subnets.
        matching: how many of them fulfil all conditions. They may be occupied, or refuse all the same.
        obstacles: the conditions that keep providers away, those that keep most away first.
        nearest: what to change, so that there are answers; empty if there are some already, or no provider is
            known.
        nearest_matching: how many providers would match then.
    """

    providers: int
    matching: int
    obstacles: tuple[Obstacle, ...]
    nearest: tuple[str, ...]
    nearest_matching: int

    def __str__(self) -> str:
        table = [text_table(_HEAD, self._rows())] if self.obstacles else []
        return "\n".join([self._first_line(), *table, *([self._nearest_line()] if self.nearest else [])])

    def _repr_html_(self) -> str:
        table = html_table(_HEAD, self._rows()) if self.obstacles else ""
        nearest = f"<p>{escaped(self._nearest_line())}</p>" if self.nearest else ""
        return f"<p>{escaped(self._first_line())}</p>{table}{nearest}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(str(one.keeps_away), str(one.alone), one.condition, one.offered) for one in self.obstacles]

    @property
    def in_two_lines(self) -> str:
        """The same for a log: what keeps most providers away, and the nearest demand that has answers."""
        if not self.nearest:
            return self._first_line()
        worst = [f"{one.condition} keeps {one.keeps_away} away" for one in self.obstacles[:3]]
        more = f", and {len(self.obstacles) - 3} more conditions" if len(self.obstacles) > 3 else ""
        return f"{self._first_line()}: {', '.join(worst)}{more}\n  {self._nearest_line()}"

    def _first_line(self) -> str:
        if not self.providers:
            return (
                "the daemon knows no provider: one that has just started hears of them within some minutes; "
                "`simple-golem doctor` shows whether it is connected"
            )
        count = f"{self.providers} provider{'' if self.providers == 1 else 's'}"
        matching = self.matching or "none"
        return (
            f"of {count} on the market, {matching} fulfil{'s' if self.matching == 1 else ''} all conditions"
        )

    def _nearest_line(self) -> str:
        answers = f"{self.nearest_matching} provider{'' if self.nearest_matching == 1 else 's'} would match"
        return f"the nearest demand that has answers: {'; '.join(self.nearest)}. Then {answers}"


@dataclass(frozen=True, slots=True)
class MarketOffer:
    """An offer as the daemon knows it, with the conditions of its provider on demands."""

    offer: Offer
    constraints: str


@dataclass(frozen=True, slots=True)
class _Condition:
    """One condition of a demand.

    Attributes:
        text: as a user knows it.
        holds: whether an offer fulfils it.
        value: what an offer has in its place, as text.
        change: what to write instead, so that these offers fulfil it.
    """

    text: str
    holds: Callable[[MarketOffer], bool]
    value: Callable[[MarketOffer], Iterable[str]]
    change: Callable[[Sequence[MarketOffer]], str]


def explain(
    offers: Sequence[MarketOffer],
    payload: Payload,
    demand_properties: Mapping[str, Any],
    settings: Settings,
    strategy: Strategy,
    terms: Terms,
) -> Explanation:
    """Judge each condition of a demand by itself.

    Args:
        offers: all that are known.
        payload: what the demand asks for.
        demand_properties: what the demand says of itself; providers have conditions, too.
        settings: the subnet and the payment platform.
        strategy: its limits, lists and functions.
        terms: what is to be agreed on debit notes.
    """
    conditions = _conditions(payload, demand_properties, settings, strategy, terms)
    broken = [frozenset(n for n, one in enumerate(conditions) if not one.holds(offer)) for offer in offers]
    who = [one.offer.provider_id for one in offers]
    providers = set(who)
    matching = {who[n] for n, bad in enumerate(broken) if not bad}
    obstacles = []
    for number, condition in enumerate(conditions):
        fulfil = {who[n] for n, bad in enumerate(broken) if number not in bad}
        away = providers - fulfil
        if away:
            alone = {who[n] for n, bad in enumerate(broken) if bad == {number}} - matching
            values = [text for n, one in enumerate(offers) if who[n] in away for text in condition.value(one)]
            obstacles.append(Obstacle(condition.text, len(away), len(alone), _offered(values)))
    obstacles.sort(key=lambda one: (-one.keeps_away, -one.alone))
    nearest, count = ((), 0) if matching or not providers else _nearest(offers, broken, conditions)
    return Explanation(len(providers), len(matching), tuple(obstacles), nearest, count)


def _nearest(
    offers: Sequence[MarketOffer], broken: Sequence[frozenset[int]], conditions: Sequence[_Condition]
) -> tuple[tuple[str, ...], int]:
    """Return the fewest changes after which there are answers, and how many providers answer then."""
    groups: dict[frozenset[int], list[MarketOffer]] = {}
    for offer, bad in zip(offers, broken, strict=True):
        groups.setdefault(bad, []).append(offer)

    def rank(one: tuple[frozenset[int], list[MarketOffer]]) -> tuple[int, int]:
        return len(one[0]), -len({each.offer.provider_id for each in one[1]})

    bad, able = min(groups.items(), key=rank)
    changes = tuple(conditions[number].change(able) for number in sorted(bad))
    return changes, len({one.offer.provider_id for one in able})


def _offered(values: Sequence[str]) -> str:
    """The most frequent values, each once."""
    frequent = [value for value, _ in Counter(values).most_common(_MOST_VALUES + 1)]
    return ", ".join(frequent[:_MOST_VALUES]) + (", …" if len(frequent) > _MOST_VALUES else "")


# --- the conditions -----------------------------------------------------------------------------------


def _conditions(
    payload: Payload,
    demand_properties: Mapping[str, Any],
    settings: Settings,
    strategy: Strategy,
    terms: Terms,
) -> list[_Condition]:
    conditions = [
        *(_constraint(text, settings) for text in payload.constraints),
        _subnet(settings.subnet_tag),
        _payment(settings.payment_platform, settings.payment_network),
        _Condition(
            "prices in the linear model", lambda one: one.offer.prices is not None, _nothing, _without("it")
        ),
        *_limits(strategy),
        *_lists(strategy),
        _debit_notes(terms),
        _providers_own(demand_properties),
    ]
    return [*conditions, *_functions(strategy, conditions)]


def _constraint(text: str, settings: Settings) -> _Condition:
    found = _COMPARISON.fullmatch(text)

    def value(one: MarketOffer) -> Iterable[str]:
        return _values(one.offer.properties.get(found["name"].strip())) if found is not None else ()

    def change(able: Sequence[MarketOffer]) -> str:
        if found is None or found["sign"] == "=":
            offered = _offered([text for one in able for text in value(one)])
            option = ""
            if found is not None and found["name"].strip() == _RUNTIME:
                option = how_to_offer_runtime(found["value"], settings)
            return (
                f"leave {text} out"
                + (f", or ask for {offered}" if offered else "")
                + (f", or add it: {option}" if option else "")
            )
        numbers = [_number(one.offer.properties.get(found["name"].strip())) for one in able]
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            return f"leave {text} out"
        is_least = found["sign"].startswith(">")
        bound = min(known) if is_least else max(known)
        return f"({found['name']}{'>=' if is_least else '<='}{plain(bound)}) in place of {text}"

    return _Condition(text, lambda one: matches(text, one.offer.properties), value, change)


def _subnet(tag: str) -> _Condition:
    def value(one: MarketOffer) -> Iterable[str]:
        return _values(one.offer.properties.get(SUBNET))

    def change(able: Sequence[MarketOffer]) -> str:
        return f"the subnet {_most([text for one in able for text in value(one)])} in place of {tag}"

    return _Condition(
        f"subnet {tag}", lambda one: str(one.offer.properties.get(SUBNET)) == tag, value, change
    )


def _payment(platform: str, network: str) -> _Condition:
    def value(one: MarketOffer) -> Iterable[str]:
        return [
            printable(found["network"], _LONGEST_VALUE)
            for name in one.offer.properties
            if (found := _PLATFORM.fullmatch(name))
        ]

    def change(able: Sequence[MarketOffer]) -> str:
        other = _most([text for one in able for text in value(one)])
        return f"the payment network {other} in place of {network}"

    def holds(one: MarketOffer) -> bool:
        return f"golem.com.payment.platform.{platform}.address" in one.offer.properties

    return _Condition(f"payment network {network}", holds, value, change)


def _limits(strategy: Strategy) -> list[_Condition]:
    return [_limit(strategy, name, limit) for name, limit in strategy.limits.items()]


def _limit(strategy: Strategy, name: str, limit: Decimal) -> _Condition:
    def asked(one: MarketOffer) -> Decimal | None:
        return None if one.offer.prices is None else strategy.asked(one.offer.prices)[name]

    def holds(one: MarketOffer) -> bool:
        amount = asked(one)
        return amount is None or amount <= limit

    def value(one: MarketOffer) -> Iterable[str]:
        amount = asked(one)
        return () if amount is None or amount <= limit else (plain(amount),)

    def change(able: Sequence[MarketOffer]) -> str:
        amounts = [amount for one in able if (amount := asked(one)) is not None]
        return f"{name}={plain(max(amounts))} in place of {plain(limit)}"

    return _Condition(f"{name}={plain(limit)}", holds, value, change)


def _lists(strategy: Strategy) -> list[_Condition]:
    def names(one: MarketOffer) -> set[str]:
        return {one.offer.provider_id.lower(), one.offer.provider_name.lower()}

    def value(one: MarketOffer) -> Iterable[str]:
        return (one.offer.provider_name,)

    allowed, blocked = strategy.allow, set(strategy.block)
    found = []
    if allowed is not None:
        only = set(allowed)
        found.append(
            _Condition("allow", lambda one: bool(names(one) & only), value, _without("the list allow"))
        )
    if blocked:
        found.append(
            _Condition("block", lambda one: not names(one) & blocked, value, _without("the list block"))
        )
    return found


def _functions(strategy: Strategy, others: Sequence[_Condition]) -> list[_Condition]:
    """The user's functions. As in a search, they are called for offers that fulfil all other conditions."""

    def condition(name: str, accepts: Callable[[Offer], bool], earlier: Sequence[_Condition]) -> _Condition:
        return _Condition(
            name,
            lambda one: not all(other.holds(one) for other in earlier) or _asked(name, accepts, one.offer),
            lambda one: (one.offer.provider_name,),
            _without(f"the function {name}"),
        )

    def has_score(offer: Offer) -> bool:
        return strategy.objection(offer) is not None or strategy.worth(offer) is not None

    found = []
    if strategy.accept is not None:
        found.append(condition("accept", strategy.accept, others))
    if strategy.score is not None:
        found.append(condition("score", has_score, [*others, *found]))
    return found


def _asked(name: str, function: Callable[[Offer], bool], offer: Offer) -> bool:
    """Ask a function of the user."""
    try:
        return bool(function(offer))
    except BadStrategy:
        raise
    except Exception as error:
        raise BadStrategy(f"the strategy's `{name}` failed: {type(error).__name__}: {error}") from error


def _debit_notes(terms: Terms) -> _Condition:
    def holds(one: MarketOffer) -> bool:
        return terms.objection(one.offer.properties, final=False) is None

    def value(one: MarketOffer) -> Iterable[str]:
        return _values(one.offer.properties.get(ACCEPT_TIMEOUT))

    asked = terms.debit_note_accept_timeout
    name = "time to accept debit notes" if asked is None else f"debit_note_accept_timeout={asked:g}"
    return _Condition(name, holds, value, _without(name) if asked is not None else _no_way)


def _providers_own(demand_properties: Mapping[str, Any]) -> _Condition:
    def holds(one: MarketOffer) -> bool:
        if len(one.constraints) > _LONGEST_CONSTRAINTS:
            return False
        # The subnet is a condition of its own: here the demand counts as one of the provider's subnet.
        same = {**demand_properties, SUBNET: one.offer.properties.get(SUBNET)}
        return not one.constraints.strip() or matches(one.constraints, same)

    def value(one: MarketOffer) -> Iterable[str]:
        return () if holds(one) else (printable(one.constraints, _LONGEST_VALUE),)

    return _Condition("what providers ask of a demand", holds, value, _no_way)


def _without(what: str) -> Callable[[Sequence[MarketOffer]], str]:
    return lambda able: f"leave {what} out"


def _no_way(able: Sequence[MarketOffer]) -> str:
    return "the providers themselves take no such demand: see what they ask of it"


def _nothing(one: MarketOffer) -> Iterable[str]:
    return ()


def _values(value: object) -> Iterable[str]:
    if value is None:
        return ()
    several = value if isinstance(value, (list, tuple)) else (value,)
    return [printable(f"{one:g}" if isinstance(one, float) else one, _LONGEST_VALUE) for one in several]


def _most(values: Sequence[str]) -> str:
    return Counter(values).most_common(1)[0][0] if values else "of the providers"


def _number(value: object) -> Decimal | None:
    """What a provider has of something; None if it is no number, or too long to be shown."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not abs(number) <= MOST:
        return None
    exact = Decimal(str(number))
    return exact if len(plain(exact)) <= _LONGEST_VALUE else None
