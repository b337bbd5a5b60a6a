"""Rows of the one table: what was measured, beside what was to be reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .subject import FLOOR, SIMPLE_GOLEM, YAPAPI

_COLUMNS = (FLOOR, SIMPLE_GOLEM, YAPAPI)


@dataclass(frozen=True)
class Goal:
    """At most `limit`, in the row's unit, or times what `times` needed; no less than that if `at_least`."""

    limit: float
    times: str | None = None
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}" + (f" x {self.times}" if self.times else "")

    def is_met_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One measure.

    Attributes:
        measure: what.
        unit: of the values.
        values: by subject, the medians over the rounds.
        goals: what simple_golem has to reach.
        ratios: by subject, the median over the rounds of simple_golem's value divided by the subject's.
    """

    measure: str
    unit: str
    values: Mapping[str, float]
    goals: tuple[Goal, ...] = ()
    ratios: Mapping[str, float] | None = None

    @classmethod
    def of(cls, measure: str, unit: str, rounds: Mapping[str, Sequence[float]], *goals: Goal) -> Row:
        """A row of the values of each subject, in the order of the rounds."""
        own = rounds[SIMPLE_GOLEM]
        # Round by round, since what else the machine does changes in the course of time.
        ratios = {
            name: median(mine / other for mine, other in zip(own, others, strict=True))
            for name, others in rounds.items()
            if name != SIMPLE_GOLEM
        }
        return cls(measure, unit, {name: median(all) for name, all in rounds.items()}, goals, ratios)

    def reached(self, goal: Goal) -> bool | None:
        """None if what it is compared with was not measured."""
        if goal.times is None:
            return goal.is_met_by(self.values[SIMPLE_GOLEM])
        ratio = (self.ratios or {}).get(goal.times)
        return None if ratio is None else goal.is_met_by(ratio)

    def cells(self) -> list[str]:
        """The row of the table."""
        values = [_number(self.values.get(name)) for name in _COLUMNS]
        ratios = [_number((self.ratios or {}).get(name)) for name in (FLOOR, YAPAPI)]
        told = {True: "yes", False: "**no**", None: "-"}
        goals = ", ".join(str(goal) for goal in self.goals)
        reached = ", ".join(told[self.reached(goal)] for goal in self.goals)
        return [self.measure, self.unit, *values, *ratios, goals, reached]


def markdown(rows: Iterable[Row]) -> str:
    """The table, readable as plain text as well."""
    head = ["measure", "unit", *_COLUMNS, "x floor", "x yapapi", "goal", "reached"]
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
