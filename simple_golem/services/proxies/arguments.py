"""Checks the limits of a proxy."""

from __future__ import annotations

import math

from ...errors import BadSetting


def checked_count(value: object) -> int:
    """Return a number of connections; raises `BadSetting` if it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadSetting(f"max_connections is {value!r}: give a whole number, 1 or more")
    return value


def checked_speed(value: object) -> float | None:
    """Return a speed in bytes per second, None for no limit; raises `BadSetting` if it is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < math.inf:
        raise BadSetting(f"max_bytes_per_second is {value!r}: give a number, 1 or more, or None for no limit")
    return float(value)
