"""The accounts of all agreements of a session, and what they cost together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timezone
from decimal import Decimal

from ...model.cost_report import CostEntry
from ...model.offers.prices import EXACT
from ...yagna.values import DebitNote
from .account import Account, ActivityAccount, total
from .session_journals import SessionJournals

# A debit note is received twice within the minutes that are looked at again, and of no agreement come so many
# in these. All that ever came would fill the memory of a program that runs for months.
_LATEST_NOTES = 64
# Many instances that choose a provider at once ask for the same sum. It takes at most a share of the time.
_REUSE_SECONDS = 0.05
_LONGEST_REUSE_SECONDS = 0.5
_MOST_OF_TIME = 0.05


class Ledger:
    """What each agreement costs; used by any thread. What has to outlive a kill is written in the journals.

    Attributes:
        journals: where it is written. No lock is held while something is written.
        lock: guards the accounts, also those that `find` and `accounts` return.
    """

    def __init__(self, journals: SessionJournals) -> None:
        self.journals = journals
        self.lock = threading.RLock()
        self._accounts: dict[str, Account] = {}
        self._received_notes: dict[str, deque[str]] = {}
        self._answered_before: set[str] = set()
        self._with_another: set[str] = set()
        self._recent = Decimal(0), Decimal(0)
        self._recent_until = 0.0

    # --- agreements and activities --------------------------------------------------------------------

    def add_agreement(self, account: Account) -> None:
        """Add an agreement that was made now."""
        with self.lock:
            self._accounts[account.agreement_id] = account
            self._with_another.discard(account.agreement_id)
            self._add_to_recent_locked(account)
        self.journals.write("agreement", about=account.agreement_id, **account.to_json())

    def add_resumed(self, account: Account) -> None:
        """Add an agreement that goes on from an earlier session, and is in a journal already."""
        with self.lock:
            if self._accounts.setdefault(account.agreement_id, account) is account:
                self._add_to_recent_locked(account)
            self._with_another.discard(account.agreement_id)

    def find(self, agreement_id: str) -> Account | None:
        """Return the account of an agreement; None if it is not one of this session's."""
        with self.lock:
            return self._accounts.get(agreement_id)

    def activity_created(self, agreement_id: str, activity_id: str, asked_at: float) -> None:
        """Note a new activity.

        Args:
            agreement_id: its agreement.
            activity_id: its id.
            asked_at: when it was asked for, on the monotonic clock: it can't be older.
        """
        began = datetime.fromtimestamp(time.time() - (time.monotonic() - asked_at), timezone.utc)
        with self.lock:
            activities = self._accounts[agreement_id].activities
            # Its first debit note may have come before the answer.
            activity = activities.setdefault(activity_id, ActivityAccount(began))
            activity.began, activity.began_at, activity.is_known = began, asked_at, True
        self._write_activity(agreement_id, activity_id, began)

    def activity_found(self, agreement_id: str, activity_id: str) -> None:
        """Note an activity whose age is unknown: it can't be older than the agreement."""
        with self.lock:
            activity = self._accounts[agreement_id].activity(activity_id)
            activity.is_known, began = True, activity.began
        self._write_activity(agreement_id, activity_id, began)

    def _write_activity(self, agreement_id: str, activity_id: str, began: datetime) -> None:
        self.journals.write(
            "activity", about=agreement_id, agreement=agreement_id, id=activity_id, began=began.isoformat()
        )

    def agreement_ended(self, agreement_id: str, *, certain: bool) -> None:
        """Note that an agreement and its activities have ended.

        Args:
            agreement_id: the agreement; one that is unknown changes nothing.
            certain: False if the daemon has not confirmed it: a later session then looks again.
        """
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
            self.journals.write(
                "activity ended",
                about=agreement_id,
                agreement=agreement_id,
                id=activity_id,
                at=now.isoformat(),
            )
        if certain:
            self.journals.write("agreement ended", about=agreement_id, id=agreement_id)

    def is_with_another(self, agreement_id: str) -> bool:
        """Return whether another session has resumed what this one has suspended, and pays from then on.

        Blocks for reading journals, if this session has suspended the agreement.
        """
        with self.lock:
            if agreement_id in self._with_another:
                return True
        if not self.journals.is_with_another(agreement_id):
            return False
        with self.lock:
            # The journal of the other session is gone when that has ended.
            self._with_another.add(agreement_id)
        return True

    # --- debit notes and invoices ---------------------------------------------------------------------

    def is_first_receipt(self, note: DebitNote) -> bool:
        """Return True in the first call for a debit note, and False after that: it is answered once."""
        with self.lock:
            received = self._received_notes.setdefault(note.agreement_id, deque(maxlen=_LATEST_NOTES))
            if note.debit_note_id in received:
                return False
            received.append(note.debit_note_id)
            return True

    def objection_to_note(self, account: Account, note: DebitNote) -> str | None:
        """Return why a debit note asks for too much; None if it does not."""
        with self.lock:
            return account.objection_to_note(note.activity_id, note.amount, note.usage)

    def objection_to_invoice(self, account: Account, amount: Decimal) -> str | None:
        """Return why an invoice asks for too much; None if it does not."""
        with self.lock:
            return account.objection_to_invoice(amount)

    def debit_note_accepted(self, account: Account, note: DebitNote) -> None:
        """Count a debit note that was accepted."""
        with self.lock:
            account.accept_note(note.activity_id, note.amount, note.usage)

    def debit_note_refused(self, account: Account, note: DebitNote) -> None:
        """Remember a debit note that asks for too much; it costs nothing."""
        with self.lock:
            account.refuse_note(note.activity_id, note.usage)

    def invoice_accepted(self, account: Account, amount: Decimal) -> None:
        """Count an invoice that was accepted; it replaces the debit notes."""
        with self.lock:
            account.invoice = amount
            account.refused = None
        self._write_answer(account, amount)

    def invoice_refused(self, account: Account, why: str) -> None:
        """Note an invoice that is not paid: the agreement costs what its debit notes say."""
        with self.lock:
            account.invoice = None
            account.refused = why
        self._write_answer(account, Decimal(0))

    def invoice_was_answered(self, account: Account, amount: Decimal) -> None:
        """Note that another session has answered an invoice; what it has accepted is a cost of that one.

        Args:
            account: of the agreement.
            amount: GLM that were accepted; 0 if it was rejected.
        """
        with self.lock:
            is_noted = account.agreement_id in self._answered_before
            self._answered_before.add(account.agreement_id)
        if not is_noted:
            self._write_answer(account, amount)

    def _write_answer(self, account: Account, paid: Decimal) -> None:
        agreement_id = account.agreement_id
        self.journals.write("invoice answered", about=agreement_id, agreement=agreement_id, paid=str(paid))

    # --- sums -----------------------------------------------------------------------------------------

    def accounts(self) -> tuple[Account, ...]:
        """Return the accounts of all agreements, in the order in which these were made."""
        with self.lock:
            return tuple(self._accounts.values())

    def entries(self) -> tuple[CostEntry, ...]:
        """Return the lines of a cost report, one for each agreement, in the order of `accounts`."""
        with self.lock:
            return tuple(account.entry() for account in self._accounts.values())

    def cost(self, agreement_ids: Iterable[str] | None = None) -> Decimal:
        """Return the GLM that were accepted, for these agreements, or for all (None)."""
        return self.cost_and_accrued(agreement_ids)[0]

    def cost_and_accrued(self, agreement_ids: Iterable[str] | None = None) -> tuple[Decimal, Decimal]:
        """Return the GLM that were accepted, as `cost` does, and those that have come up since."""
        with self.lock:
            wanted = self._accounts if agreement_ids is None else agreement_ids
            accounts = [self._accounts[one] for one in wanted if one in self._accounts]
            return total(one.cost() for one in accounts), total(one.accrued() for one in accounts)

    def outlook(self) -> tuple[Decimal, Decimal]:
        """Return the expected cost of all agreements until now, and per further second (GLM)."""
        with self.lock:
            outlooks = [account.outlook() for account in self._accounts.values()]
        return total(now for now, _ in outlooks), total(rate for _, rate in outlooks)

    def recent_outlook(self) -> tuple[Decimal, Decimal]:
        """Return what `outlook` returned a moment ago, and what agreements cost that were added since.

        Each choice of a provider asks for it: of many agreements it is not summed up each time.
        """
        with self.lock:
            if time.monotonic() >= self._recent_until:
                began = time.thread_time()
                self._recent = self.outlook()
                took = time.thread_time() - began
                reused = min(max(_REUSE_SECONDS, took / _MOST_OF_TIME), _LONGEST_REUSE_SECONDS)
                self._recent_until = time.monotonic() + reused
            return self._recent

    def _add_to_recent_locked(self, account: Account) -> None:
        cost, per_second = account.outlook()
        self._recent = EXACT.add(self._recent[0], cost), EXACT.add(self._recent[1], per_second)
