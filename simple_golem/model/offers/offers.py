"""The offers on a market, as a table for people."""

from __future__ import annotations

from collections.abc import Iterable

from ..base.table import html_table, text_table
from ..cost import plain
from .offer import Offer

_HEAD = ("per cpu-hour", "start", "threads", "memory GiB", "disk GiB", "runtime")


class Offers(tuple[Offer, ...]):
    """A tuple of offers, the best one first; `print` shows a table, and so does a notebook.

    Attributes:
        currency: of the prices: `GLM`, or `tGLM` which is test money.
    """

    currency = "GLM"

    @classmethod
    def priced_in(cls, currency: str, offers: Iterable[Offer]) -> Offers:
        """Return these offers, with prices in this currency."""
        made = cls(offers)
        made.currency = currency
        return made

    def __str__(self) -> str:
        return text_table(self._head(), [_row(offer) for offer in self])

    def _repr_html_(self) -> str:
        return html_table(self._head(), [_row(offer) for offer in self])

    def _head(self) -> tuple[str, ...]:
        return ("provider", f"{self.currency} per hour", *_HEAD)


def _row(offer: Offer) -> tuple[str, ...]:
    prices = offer.prices
    money = ("?", "?", "?")
    if prices is not None:
        money = (plain(prices.per_hour), plain(prices.per_cpu_hour), plain(prices.start))
    machine = (str(offer.cpu_threads), f"{offer.mem_gib:g}", f"{offer.storage_gib:g}", offer.runtime)
    return (offer.provider_name, *money, *machine)
