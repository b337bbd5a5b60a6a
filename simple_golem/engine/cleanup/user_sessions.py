"""The sessions of this user: those that run, and those that have left something."""

from __future__ import annotations

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
    def unsettled(self) -> set[str]:
        """The ids of the agreements that are to be ended or paid, beside those of suspended instances."""
        return (self.record.open | self.record.owed) - self.record.suspended.keys()

    @property
    def is_left(self) -> bool:
        """Whether it is dead and has left something that is to be ended or paid, beside what is suspended."""
        record = self.record
        # The allocation and the networks of suspended instances are kept for them.
        kept = not record.suspended and (record.allocations or record.networks)
        planned = record.planned or record.planned_networks
        return not self.is_alive and bool(self.unsettled or kept or planned or record.demands_left)


def sessions_of_user() -> list[UserSession]:
    """Return all sessions whose journals are in the user's state folder; those of any daemon."""
    found = []
    for path in journals():
        record = read_journal(path)
        if record is not None:
            found.append(UserSession(record, is_locked(lock_path(path))))
    return found
