"""The journals that one session writes: its own, and those of earlier sessions whose instances it resumed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import tenacity

from ...background.cancellation import Scope
from ...errors import NotRunning
from .account import Account
from .journal import Journal, journal_path, journals_of, read_journal
from .journal_record import JournalOwner, Kind, Record

logger = logging.getLogger(__name__)

# A process that cleans up holds a journal for a moment; a living session holds it as long as it lives.
_TAKE_OVER_SECONDS = 3.0
_TRY_AGAIN_SECONDS = 0.05


class SessionJournals:
    """Writes each line into the journal that has the agreement.

    Args:
        take_over_seconds: how long `take_over` waits for a journal that another process holds.
    """

    def __init__(self, take_over_seconds: float = _TAKE_OVER_SECONDS) -> None:
        self._take_over_seconds = take_over_seconds
        self._own: Journal | None = None
        self._taken_over: dict[str, Journal] = {}
        self._of_agreement: dict[str, Journal] = {}

    def create(self, owner: JournalOwner, session_id: str) -> None:
        """Make the session's own journal, if a file can be written."""
        self._own = Journal.create(owner, session_id)

    def take_over(self, session_id: str, agreement_id: str, scope: Scope) -> Account | None:
        """Hold the journal of an earlier session, for one agreement; changes nothing before `resumed`.

        Blocks for 3 seconds at most, if another process holds the journal.

        Args:
            session_id: the earlier session.
            agreement_id: the agreement, which has to be suspended, or has ended since then.
            scope: cancelling it ends the wait.

        Returns:
            The account of the agreement; None if no journal has it, or another process keeps that journal.

        Raises:
            NotRunning: the agreement was resumed before.
            ScopeEnded: `scope` was cancelled.
        """
        journal = self._journal_of_session(session_id)
        if journal is None:
            journal = self._open_dead(session_id, agreement_id, scope)
            if journal is None:
                return None
            self._taken_over[session_id] = journal
        _require_suspended(journal.record, agreement_id)
        return journal.record.accounts.get(agreement_id)

    def _journal_of_session(self, session_id: str) -> Journal | None:
        if self._own is not None and session_id == self._own.record.session_id:
            return self._own
        return self._taken_over.get(session_id)

    def _open_dead(self, session_id: str, agreement_id: str, scope: Scope) -> Journal | None:
        path = journal_path(session_id)

        def is_held(journal: Journal | None) -> bool:
            return journal is None and _is_suspended_in(path, agreement_id)

        def sleep(seconds: float) -> None:
            scope.wait(seconds)
            scope.check()

        trying = tenacity.Retrying(
            retry=tenacity.retry_if_result(is_held),
            stop=tenacity.stop_after_delay(self._take_over_seconds),
            wait=tenacity.wait_fixed(_TRY_AGAIN_SECONDS),
            sleep=sleep,
            retry_error_callback=lambda state: None,
        )
        try:
            journal: Journal | None = trying(Journal.open_dead, path)
        except OSError as error:
            logger.warning("the journal %s can't be written, and is left as it is: %s", path, error)
            return None
        return journal

    def resumed(self, session_id: str, agreement_id: str) -> None:
        """Note that an agreement of a journal that was taken over goes on; its lines go into that journal."""
        if session_id in self._taken_over:
            self._of_agreement[agreement_id] = self._taken_over[session_id]
        self.write("resumed", about=agreement_id, id=agreement_id)

    def has_taken_over(self, session_id: str) -> bool:
        """Return whether the journal of an earlier session was taken over."""
        return session_id in self._taken_over

    def is_over(self, session_id: str) -> bool:
        """Return whether nothing needs the allocation of an earlier session; False while it is alive."""
        if session_id in self._taken_over:
            return not self._taken_over[session_id].record.suspended
        return not journal_path(session_id).exists()

    def write(self, kind: Kind, *, about: str | None = None, **what: Any) -> None:
        """Write a line.

        Args:
            kind: what has happened.
            about: the id of an agreement: the line goes into the journal that has it.
            what: the details, as JSON values.
        """
        journal = self._own if about is None else self._of_agreement.get(about, self._own)
        if journal is not None:
            journal.write(kind, **what)

    def write_of_session(self, session_id: str, kind: Kind, **what: Any) -> None:
        """Write a line into the journal that was taken over from a session."""
        self._taken_over[session_id].write(kind, **what)

    def keep_allocation(self, allocation_id: str, agreement_id: str) -> None:
        """Note that this session's allocation will outlive it, for an agreement that is suspended."""
        if agreement_id in self._of_agreement:
            self.write("allocation", about=agreement_id, id=allocation_id)

    def is_with_another(self, agreement_id: str) -> bool:
        """Return whether another session has resumed what this one has suspended, and pays from then on."""
        held = self._of_agreement.get(agreement_id, self._own)
        if held is None or agreement_id not in held.record.suspended:
            return False
        own = {journal.path for journal in (self._own, *self._taken_over.values()) if journal is not None}
        others = (read_journal(path) for path in journals_of(held.record.owner) if path not in own)
        # It may have ended there already.
        return any(other is not None and agreement_id in other.accounts for other in others)

    def leave_to_another(self, agreement_id: str) -> None:
        """Note that another session ends an agreement and pays for it: no journal of this one does."""
        self.write("agreement ended", about=agreement_id, id=agreement_id)
        self.write("invoice answered", about=agreement_id, agreement=agreement_id, paid="0")

    def leave_allocation(self, allocation_id: str) -> None:
        """Note that this session ends and leaves its allocation to the journals that need it."""
        if self._own is not None and not self._own.record.suspended:
            self.write("allocation released", id=allocation_id)

    def close(self) -> None:
        """Close all journals; those with nothing open are deleted."""
        for journal in (self._own, *self._taken_over.values()):
            if journal is not None:
                journal.close()


def _is_suspended_in(path: Path, agreement_id: str) -> bool:
    """Return whether there is a journal in `path`, which then must not say that the agreement was resumed."""
    record = read_journal(path)
    if record is None:
        return False
    _require_suspended(record, agreement_id)
    return True


def _require_suspended(record: Record, agreement_id: str) -> None:
    # One that has ended is in neither; the life that resumes it finds that out, whoever has ended it.
    if agreement_id in record.open and agreement_id not in record.suspended:
        raise NotRunning(
            f"the agreement {agreement_id} is not suspended any more: it was resumed before, which "
            "is possible once"
        )
