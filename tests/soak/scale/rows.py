"""What was measured, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Scale:
    """What was measured.

    Attributes:
        idle: a row for none, and for each count.
        busy, bare: a row for each count, of the library and of the plain loops.
        several: a row for each number of processes, which share the most instances.
    """

    idle: Sequence[Row]
    busy: Sequence[Row] = field(default=())
    bare: Sequence[Row] = field(default=())
    several: Sequence[Row] = field(default=())


def each(first: Row, row: Row, what: str) -> float:
    """What each instance of a row takes."""
    return float(row[what] - first[what]) / row["instances"]
