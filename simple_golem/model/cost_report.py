"""What each agreement of a Golem cost: a table for people, and values for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from .base.table import html_table
from .cost import Cost, come_up_since, plain, rounded
from .offers.prices import EXACT


@dataclass(frozen=True, slots=True)
class CostEntry:
    """The cost of one agreement.

    Attributes:
        cluster, instance: the names of what it was made for.
        provider_name, provider_id: its provider.
        agreement_id: its id.
        seconds: how long its activities have existed.
        amount: GLM accepted so far.
        is_invoiced: whether that is the amount of the invoice; if not, it is that of the debit notes.
        refused: why its invoice is not paid, or not yet; None if there is no reason.
        accrued: what has come up since then, as in `Cost`.
    """

    cluster: str
    instance: str
    provider_name: str
    provider_id: str
    agreement_id: str
    seconds: float
    amount: Decimal
    is_invoiced: bool
    refused: str | None = None
    accrued: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class CostReport:
    """The cost of all agreements; `str()` is a table.

    Attributes:
        entries: one for each agreement, in the order they were made.
        total: the sum.
    """

    entries: tuple[CostEntry, ...]
    total: Cost

    def per_cluster(self) -> Mapping[str, Decimal]:
        """Return the GLM of each cluster, by the name of its service class."""
        return self._summed(lambda entry: entry.cluster)

    def per_instance(self) -> Mapping[str, Decimal]:
        """Return the GLM of each instance, by its name."""
        return self._summed(lambda entry: entry.instance)

    def per_provider(self) -> Mapping[str, Decimal]:
        """Return the GLM of each provider, by its name; by name and id where two have one name."""
        ids: dict[str, set[str]] = {}
        for entry in self.entries:
            ids.setdefault(entry.provider_name, set()).add(entry.provider_id)
        return self._summed(
            lambda entry: (
                entry.provider_name
                if len(ids[entry.provider_name]) == 1
                else f"{entry.provider_name} ({entry.provider_id})"
            )
        )

    def _summed(self, key: Callable[[CostEntry], str]) -> Mapping[str, Decimal]:
        sums: dict[str, Decimal] = {}
        for entry in self.entries:
            sums[key(entry)] = EXACT.add(sums.get(key(entry), Decimal(0)), entry.amount)
        return sums

    def to_json(self) -> str:
        """Return the report as JSON, with exact amounts as text."""
        entries = [
            {**asdict(entry), "amount": plain(entry.amount), "accrued": plain(entry.accrued)}
            for entry in self.entries
        ]
        total: Mapping[str, Any] = {
            "amount": plain(self.total.amount),
            "currency": self.total.currency,
            "network": self.total.network,
            "is_test_money": self.total.is_test_money,
            "accrued": plain(self.total.accrued),
        }
        return json.dumps({"total": total, "agreements": entries}, indent=2)

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        return html_table(head, rows)

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        rows = [("instance", "provider", "seconds", f"{self.total.currency} accepted", "")]
        rows += [
            (one.instance, one.provider_name, f"{one.seconds:.0f}", plain(one.amount), _remark(one))
            for one in self.entries
        ]
        rows.append(("total", "", "", plain(self.total.amount), _kind(self.total)))
        return rows

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  "
            f"{row[3]:<{widths[3]}}  {row[4]}".rstrip()
            for row in rows
        ]
        return "\n".join(lines)


def _remark(entry: CostEntry) -> str:
    if entry.refused is not None:
        return f"not paid: {entry.refused}"
    if entry.is_invoiced:
        return ""
    accrued = rounded(entry.accrued)
    return "not invoiced yet" + ("" if accrued == "0" else f", come up since: {accrued}")


def _kind(total: Cost) -> str:
    since = come_up_since(total)
    money = f"on {total.network}" + (" (test money)" if total.is_test_money else "")
    return f"{money}, come up since: {since}" if since else money
