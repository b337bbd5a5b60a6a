"""Times as the daemon writes and reads them: RFC 3339, UTC."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

# Fractions come with any number of digits (0, 3, 6 and 9 were seen), which Python 3.10 can't read; some times
# are naive, and mean UTC.
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)


def parse_time(text: str) -> datetime:
    """Read a time of the daemon.

    Args:
        text: RFC 3339; what is finer than a microsecond is cut off, and a time without a zone is UTC.

    Returns:
        The time, aware and in UTC.

    Raises:
        ValueError: `text` is no time.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    year, month, day, hour, minute, second = (int(part) for part in found.group(1, 2, 3, 4, 5, 6))
    fraction, _zulu, sign, zone_hours, zone_minutes = found.group(7, 8, 9, 10, 11)
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    moment = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=timezone.utc)
    if sign is None:
        return moment
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    return moment - offset if sign == "+" else moment + offset


def format_time(moment: datetime) -> str:
    """Write a time for the daemon, e.g. `2026-01-31T12:00:00.250000Z`.

    Raises:
        ValueError: `moment` has no time zone, so that nobody can say which moment it is.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone; use datetime.now(timezone.utc)")
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat() + "Z"
