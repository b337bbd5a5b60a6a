"""The figures of a part as a table in Markdown, with what one needs to make them again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Figures:
    """What a part has measured.

    Attributes:
        command: makes the figures again.
        rows: one for each line of the table; all have the same columns.
        failures: what must not have happened, in words.
        seconds: how long it took.
    """

    command: str
    rows: Sequence[Mapping[str, object]]
    failures: Sequence[str]
    seconds: float

    def __str__(self) -> str:
        columns = list(self.rows[0]) if self.rows else []
        lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
        lines += [" | ".join(str(row[column]) for column in columns) for row in self.rows]
        told = "".join(f"| {line} |\n" for line in lines)
        return (
            f"{told}\n{datetime.now(timezone.utc):%Y-%m-%d}, {_duration(self.seconds)}, "
            f"commit {commit()}: `{self.command}`\n" + "".join(f"\nFAILED {one}\n" for one in self.failures)
        )


class Watch:
    """Measures how long a part takes."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


def commit() -> str:
    """The commit that is checked out, with a `+` if files have changed since."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=9"],
        cwd=_CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes"
