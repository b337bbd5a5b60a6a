"""Reports the progress of a command, as often as the command's `progress` field asks for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

Report = Callable[[Mapping[str, Any]], object]

_DEFAULT_SECONDS = 1.0
_DURATION = re.compile(r"([0-9.]+)\s*(ns|us|ms|s|m|h)")
_SECONDS_PER_UNIT = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Reporter:
    """Reports progress after some time or some bytes; reports nothing if the requestor did not ask for it."""

    def __init__(self, asked: Mapping[str, Any] | None, report: Report) -> None:
        """Args:
        asked: such as `{"updateInterval": "300ms", "updateStep": 1048576}`; None for no reports.
        report: called with each report.
        """
        self._report = report if asked is not None else None
        self._interval = _seconds((asked or {}).get("updateInterval"))
        self._step: int | None = (asked or {}).get("updateStep")
        self._last_time, self._last_count = time.monotonic(), 0

    def passed(self, count: int, total: int | None) -> None:
        """Note that `count` bytes of `total` have been transferred; None: the total is unknown."""
        if self._report is None:
            return
        now = time.monotonic()
        stepped = bool(self._step) and count - self._last_count >= (self._step or 0)
        if stepped or now - self._last_time >= self._interval:
            self._last_time, self._last_count = now, count
            self._report(_progress(None, count, total))

    def message(self, text: str) -> None:
        """Report a message."""
        if self._report is not None:
            self._report(_progress(text, 0, None))


def _progress(message: str | None, count: int, total: int | None) -> Mapping[str, Any]:
    return {"step": [0, 1], "message": message, "progress": [count, total], "unit": "Bytes"}


def _seconds(interval: object) -> float:
    """A duration in seconds, from a text such as `300ms`, a number, or the mapping in flexbuffers."""
    if isinstance(interval, Mapping):
        return float(interval.get("secs", 0)) + float(interval.get("nanos", 0)) * 1e-9
    if isinstance(interval, (int, float)):
        return float(interval)
    parts = _DURATION.findall(interval) if isinstance(interval, str) else []
    return (
        sum(float(number) * _SECONDS_PER_UNIT[unit] for number, unit in parts) if parts else _DEFAULT_SECONDS
    )
