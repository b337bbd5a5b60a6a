"""The accounts of all agreements of a session, and the journals that they are written down in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from ...background.cancellation import Deadline, Scope
from ...errors import NotRunning
from ...model.offers.offer import Offer
from ...yagna.values import Agreement as WireAgreement
from ...yagna.values import DebitNote
from .account import Account, ActivityAccount, total
from .journal import Journal, JournalOwner, Record, journal_of, read

# A cleaner that looks into a journal lets go of it soon; a session that lives does not.
_TAKE_OVER_SECONDS = 3.0
_PAUSE_SECONDS = 0.05


class Books:
    """The session's own journal, and those it has taken over with what was suspended."""

    def __init__(self) -> None:
        self._own: Journal | None = None
        self._taken_over: dict[str, Journal] = {}
        self._of_agreement: dict[str, Journal] = {}

    def begin(self, whose: JournalOwner, session_id: str) -> None:
        """Begin the session's own journal, where one can be written."""
        self._own = Journal.begin(whose, session_id)

    def take_over(self, session_id: str, agreement_id: str, scope: Scope) -> Account | None:
        """Hold the journal of an earlier session for one agreement; its account, if it has one.

        Nothing is changed before `resumed`. Blocks for some seconds where another process holds the
        journal: it may only be looking into it.

        Raises:
            NotRunning: the agreement was taken over before.
            ScopeEnded: `scope` was cancelled.
        """
        if self._own is not None and session_id in self._own.record.sessions:
            _require_suspended(self._own.record, agreement_id)
            return self._own.record.accounts.get(agreement_id)
        if session_id not in self._taken_over:
            journal = _taken_over(session_id, agreement_id, scope)
            if journal is None:
                return None
            self._taken_over[session_id] = journal
        journal = self._taken_over[session_id]
        _require_suspended(journal.record, agreement_id)
        return journal.record.accounts.get(agreement_id)

    def resumed(self, session_id: str, agreement_id: str) -> None:
        """An agreement whose journal is held goes on, and what happens to it is written in there."""
        if session_id in self._taken_over:
            self._of_agreement[agreement_id] = self._taken_over[session_id]
        self.write("resumed", about=agreement_id, id=agreement_id)

    def has(self, session_id: str) -> bool:
        """Whether the journal of an earlier session was taken over."""
        return session_id in self._taken_over

    def is_over(self, session_id: str) -> bool:
        """Whether nobody else can need what an earlier session has set aside; False while it lives."""
        if self.has(session_id):
            return not self._taken_over[session_id].record.suspended
        return not journal_of(session_id).exists()

    def write(self, kind: str, *, about: str | None = None, **what: Any) -> None:
        """Write something down; with `about`, an agreement's id, in the journal that has the agreement."""
        journal = self._of_agreement.get(about, self._own) if about is not None else self._own
        if journal is not None:
            journal.write(kind, **what)

    def write_of_session(self, session_id: str, kind: str, **what: Any) -> None:
        """Write something down in the journal that was taken over from a session."""
        self._taken_over[session_id].write(kind, **what)

    def keep_allocation(self, allocation_id: str, agreement_id: str) -> None:
        """The session's allocation is to outlive it, for an agreement of one of the journals."""
        if agreement_id in self._of_agreement:
            self.write("allocation", about=agreement_id, id=allocation_id)

    def leave_allocation(self, allocation_id: str) -> None:
        """The session ends without releasing it; if only a journal taken over needs it, it is that one's."""
        if self._own is not None and not self._own.record.suspended:
            self.write("allocation released", id=allocation_id)

    def close(self) -> None:
        for journal in (self._own, *self._taken_over.values()):
            if journal is not None:
                journal.close()


class Ledger:
    """Who is owed what; may be used by any thread, and guards the accounts with `lock`."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.lock = threading.RLock()
        self._accounts: dict[str, Account] = {}

    def open(self, account: Account) -> None:
        """An agreement was made."""
        with self.lock:
            self._accounts[account.agreement_id] = account
        self.books.write("agreement", about=account.agreement_id, **account.to_json())

    def adopt(self, account: Account) -> None:
        """An agreement of an earlier session goes on in this one, and is written down already."""
        with self.lock:
            self._accounts.setdefault(account.agreement_id, account)

    def find(self, agreement_id: str) -> Account | None:
        with self.lock:
            return self._accounts.get(agreement_id)

    def activity_began(self, agreement_id: str, activity_id: str, began_at: float) -> None:
        """An activity was asked for when the monotonic clock showed `began_at`."""
        began = datetime.fromtimestamp(time.time() - (time.monotonic() - began_at), timezone.utc)
        with self.lock:
            activities = self._accounts[agreement_id].activities
            # Its first debit note may have been quicker than the answer.
            activity = activities.setdefault(activity_id, ActivityAccount(began))
            activity.began, activity.began_at = began, began_at
        self.books.write(
            "activity", about=agreement_id, agreement=agreement_id, id=activity_id, began=began.isoformat()
        )

    def activity_known(self, agreement_id: str, activity_id: str) -> None:
        """There is an activity of which nobody knows when it began: with the agreement, at the earliest."""
        with self.lock:
            began = self._accounts[agreement_id].activity(activity_id).began
        self.books.write(
            "activity", about=agreement_id, agreement=agreement_id, id=activity_id, began=began.isoformat()
        )

    def agreement_ended(self, agreement_id: str, *, certain: bool) -> None:
        """Its activities and itself have ended; not `certain`, a later session looks once more."""
        now = datetime.now(timezone.utc)
        with self.lock:
            account = self._accounts.get(agreement_id)
            if account is None:
                return
            account.ended = True
            ended = [name for name, activity in account.activities.items() if activity.ended is None]
            for activity_id in ended:
                account.activities[activity_id].ended = now
                account.activities[activity_id].ended_at = time.monotonic()
        for activity_id in ended:
            self.books.write(
                "activity ended",
                about=agreement_id,
                agreement=agreement_id,
                id=activity_id,
                at=now.isoformat(),
            )
        if certain:
            self.books.write("agreement ended", about=agreement_id, id=agreement_id)

    def invoice_answered(self, account: Account, paid: Decimal | None, refused: str | None = None) -> None:
        """The invoice was accepted, or is not paid and why."""
        with self.lock:
            account.invoice = paid
            account.refused = refused
        agreement_id = account.agreement_id
        amount = str(paid if paid is not None else 0)
        self.books.write("invoice answered", about=agreement_id, agreement=agreement_id, paid=amount)

    def noted(self, account: Account, note: DebitNote) -> None:
        """A debit note was accepted."""
        with self.lock:
            account.note(note.activity_id, note.amount, note.usage)

    def note_refused(self, account: Account, note: DebitNote) -> None:
        """A debit note asks for too much."""
        with self.lock:
            account.refuse_note(note.activity_id, note.usage)

    # --- sums ----------------------------------------------------------------------------------------

    def accounts(self) -> tuple[Account, ...]:
        with self.lock:
            return tuple(self._accounts.values())

    def cost(self, agreement_ids: Iterable[str] | None = None) -> Decimal:
        """What was accepted for all agreements, or for these."""
        with self.lock:
            wanted = self._accounts if agreement_ids is None else agreement_ids
            return total(self._accounts[one].cost() for one in wanted if one in self._accounts)

    def outlook(self) -> tuple[Decimal, Decimal]:
        """What everything costs by now, as far as can be foreseen, and what each further second does."""
        with self.lock:
            outlooks = [account.outlook() for account in self._accounts.values()]
        return total(now for now, _ in outlooks), total(rate for _, rate in outlooks)


def _taken_over(session_id: str, agreement_id: str, scope: Scope) -> Journal | None:
    path, left = journal_of(session_id), Deadline(_TAKE_OVER_SECONDS)
    while (journal := Journal.take_over(path)) is None:
        record = read(path)
        if record is None:
            return None
        _require_suspended(record, agreement_id)
        if left.passed:
            return None
        scope.wait(_PAUSE_SECONDS)
        scope.check()
    return journal


def _require_suspended(record: Record, agreement_id: str) -> None:
    if agreement_id in record.accounts and agreement_id not in record.suspended:
        raise NotRunning(
            f"the agreement {agreement_id} is not suspended any more: it was resumed before, which can be "
            "done once, or has ended"
        )


def account_of(wire: WireAgreement, cluster: str, instance: str) -> Account:
    """The account of an agreement, as the daemon knows it."""
    offer = Offer.of(wire.provider_id, wire.offer_properties)
    return Account.made(wire.agreement_id, offer, cluster, instance, wire.approved or wire.made)
