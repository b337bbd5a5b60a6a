"""What all events have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import ClassVar


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events.

    Attributes:
        at: when it happened (UTC, this machine's clock).
        is_frequent: whether it is one of many: the log has these at the level DEBUG, all others at INFO.
    """

    is_frequent: ClassVar[bool] = False
    at: datetime = field(default_factory=_now, compare=False)

    def __str__(self) -> str:
        return f"{self.at.astimezone():%H:%M:%S} {self._text()}"

    def _text(self) -> str:
        """What has happened, with names and without ids: attributes have those."""
        return repr(self)


@dataclass(frozen=True, slots=True)
class InstanceEvent(Event):
    """The base of all events of one instance."""

    instance: str
