"""The sessions of this user: those that run, and those that have left something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...background.file_lock import is_locked
from ..payment.journal import journals, lock_path, read_journal
from ..payment.journal_record import Record


@dataclass(frozen=True, slots=True)
class UserSession:
    """One session, as its journal tells.

    Attributes:
        record: what it has open, and what it owes.
        is_alive: whether its script runs.
    """

    record: Record
    is_alive: bool

    @property
    def to_clean_up(self) -> Mapping[str, int]:
        """How much of what is to be ended or paid once the session is dead, beside what is suspended."""
        record = self.record
        # The allocation and the networks of suspended instances are kept for them.
        is_kept = bool(record.suspended)
        return {
            "agreements that are open or not paid": len(
                (record.open | record.owed) - record.suspended.keys()
            ),
            "allocations": len(record.planned) + (0 if is_kept else len(record.allocations)),
            "private networks": len(record.planned_networks) + (0 if is_kept else len(record.networks)),
            "demands": int(record.demands_left),
        }

    @property
    def is_left(self) -> bool:
        """Whether it is dead and has left something that is to be ended or paid, beside what is suspended."""
        return not self.is_alive and any(self.to_clean_up.values())


def sessions_of_user() -> list[UserSession]:
    """Return all sessions whose journals are in the user's state folder; those of any daemon."""
    found = []
    for path in journals():
        record = read_journal(path)
        if record is not None:
            found.append(UserSession(record, is_locked(lock_path(path))))
    return found
