"""What killed sessions have left."""

from __future__ import annotations

from dataclasses import dataclass

from .event import Event


@dataclass(frozen=True, slots=True)
class CleanedUp(Event):
    """Something that an earlier session had left open was cleaned up."""

    session_id: str
    what: str

    def _text(self) -> str:
        return f"after the session {self.session_id}: {self.what}"
