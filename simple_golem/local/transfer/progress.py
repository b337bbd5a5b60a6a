"""The progress of a command, told as often as its `progress` asks for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

Report = Callable[[Mapping[str, Any]], object]

_DEFAULT_SECONDS = 1.0
_DURATION = re.compile(r"([0-9.]+)\s*(ns|us|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Reporter:
    """Tells how far a command is: when some time has passed, or some bytes; nothing, if nobody asked."""

    def __init__(self, asked: Mapping[str, Any] | None, report: Report) -> None:
        """Args: asked: `{"updateInterval": "300ms", "updateStep": 1048576}`; None for no reports."""
        self._report = report if asked is not None else None
        self._interval = _seconds((asked or {}).get("updateInterval"))
        self._step: int | None = (asked or {}).get("updateStep")
        self._last_time, self._last_count = time.monotonic(), 0

    def passed(self, count: int, total: int | None) -> None:
        """So many bytes have passed, of so many, if that is known."""
        if self._report is None:
            return
        now = time.monotonic()
        stepped = bool(self._step) and count - self._last_count >= (self._step or 0)
        if stepped or now - self._last_time >= self._interval:
            self._last_time, self._last_count = now, count
            self._report(_progress(None, count, total))

    def message(self, text: str) -> None:
        """Say something in words."""
        if self._report is not None:
            self._report(_progress(text, 0, None))


def _progress(message: str | None, count: int, total: int | None) -> Mapping[str, Any]:
    return {"step": [0, 1], "message": message, "progress": [count, total], "unit": "Bytes"}


def _seconds(interval: object) -> float:
    """A duration as it is written, or as flexbuffers carry it."""
    if isinstance(interval, Mapping):
        return float(interval.get("secs", 0)) + float(interval.get("nanos", 0)) * 1e-9
    if isinstance(interval, (int, float)):
        return float(interval)
    parts = _DURATION.findall(interval) if isinstance(interval, str) else []
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else _DEFAULT_SECONDS
