"""The daemon's clock: this machine's clock, corrected if the two differ by more than some seconds."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

# The date in an answer has whole seconds, and the daemon renews it only about once a second.
_MEAN_AGE = timedelta(seconds=0.75)
_LARGEST_IGNORED = timedelta(seconds=5)


class DaemonClock:
    """Converts times between the clock of this machine and the clock of the daemon.

    The first answer of the daemon shows how far they differ; until then they count as equal. All moments are
    aware datetimes.

    Attributes:
        ahead: how far the daemon's clock is ahead of this machine's; zero if that is 5 seconds or less.
        is_measured: whether an answer of the daemon had a date.
    """

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self.is_measured = False

    def measure(self, date: str | None) -> None:
        """Compare the `Date` header of an answer that has just come with this machine's clock."""
        try:
            daemon_time = parsedate_to_datetime(date or "").astimezone(timezone.utc) + _MEAN_AGE
        except (TypeError, ValueError):
            return  # no date, or none that can be read
        ahead = daemon_time - datetime.now(timezone.utc)
        self.is_measured = True
        self.ahead = ahead if abs(ahead) > _LARGEST_IGNORED else timedelta(0)

    def now(self) -> datetime:
        """Return the time by the daemon's clock (UTC)."""
        return datetime.now(timezone.utc) + self.ahead

    def to_daemon(self, moment: datetime) -> datetime:
        """Return what the daemon's clock shows when this machine's clock shows `moment`."""
        return _shifted(moment, self.ahead)

    def to_local(self, moment: datetime) -> datetime:
        """Return what this machine's clock shows when the daemon's clock shows `moment`."""
        return _shifted(moment, -self.ahead)

    def __str__(self) -> str:
        seconds = round(abs(self.ahead).total_seconds())
        side = "behind" if self.ahead > timedelta(0) else "ahead of"
        return f"the clock of this machine is {seconds} seconds {side} the clock of the daemon"


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:  # at the end of the calendar some minutes change nothing
        return moment
