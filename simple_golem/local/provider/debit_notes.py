"""The debit notes of one agreement: sent, and watched until the requestor has accepted and paid them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ...background.cancellation import Scope
from ...errors import NoDaemon, YagnaError
from ...yagna.client import Yagna
from ..control import rules
from ..control.rules import Rule
from .demand_rules import duration_text
from .offer import Terms
from .served_activity import ServedActivity

logger = logging.getLogger(__name__)

_PAID = "SETTLED"
_ACCEPTED = ("ACCEPTED", _PAID)
_STATUS_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Breach:
    """Why a provider ends an agreement: what the requestor did not do.

    Attributes:
        rule: the rule that it has broken.
        message, code: of the agreement's termination, as real providers write them.
    """

    rule: Rule
    message: str
    code: str


@dataclass(slots=True)
class _SentNote:
    debit_note_id: str
    deadline: float


class DebitNotes:
    """Sends debit notes; used by the agreement's thread alone.

    Args:
        name: of the agreement, in the log.
        yagna: a client of the far daemon with the provider's key.
        terms: the terms of the agreement.
        scope: the scope of the provider.
        are_paid: whether the network has a chain, on which debit notes can be paid.
    """

    def __init__(self, name: str, yagna: Yagna, terms: Terms, scope: Scope, are_paid: bool = False) -> None:
        self._name = name
        self._yagna = yagna
        self._terms = terms
        self._scope = scope
        self._timeout = terms.accept_timeout
        self._payment_timeout = terms.payment_timeout if are_paid else None
        # Those that may not be paid yet, in the order of their deadlines.
        self._unpaid: deque[_SentNote] = deque()
        # Those that may not be accepted yet, in the order of their deadlines.
        self._sent: deque[_SentNote] = deque()
        self._last_sent = time.monotonic()
        self._unreachable = False

    def send(self, activity: ServedActivity) -> None:
        """Send the debit note of an activity; blocks for requests. A failure is logged."""
        due = self._terms.debit_note_due(datetime.now(timezone.utc))
        begun = time.monotonic()
        amount, usage = activity.bill
        try:
            note = self._yagna.provider.send_debit_note(
                activity.activity_id, amount, usage, due, scope=self._scope
            )
        except (NoDaemon, YagnaError) as error:
            logger.warning("%s: a debit note was not sent: %s", self._name, error)
            self._unreachable = True
            return
        self._last_sent, self._unreachable = begun, False
        if self._timeout is not None:
            self._sent.append(_SentNote(note, begun + self._timeout.total_seconds()))
        if self._payment_timeout is not None and amount:
            self._unpaid.append(_SentNote(note, begun + self._payment_timeout.total_seconds()))

    def seconds_to_next_check(self) -> float:
        """How long nothing has to be checked."""
        next_ones = [notes[0].deadline for notes in (self._sent, self._unpaid) if notes]
        return max(min(next_ones) - time.monotonic(), 0.0) if next_ones else float("inf")

    def breach(self) -> Breach | None:
        """Return what the requestor has not done in time; blocks for a request if a deadline has passed."""
        if self._timeout is not None:
            if self._unreachable and time.monotonic() > self._last_sent + self._timeout.total_seconds():
                message = f"Requestor is unreachable more than {_text(self._timeout)}"
                return Breach(rules.REACHABLE, message, "RequestorUnreachable")
            if self._is_late(self._sent, _ACCEPTED):
                message = f"Requestor isn't accepting DebitNotes in time ({_text(self._timeout)})"
                return Breach(rules.ACCEPTED_IN_TIME, message, "DebitNotesDeadline")
        if self._payment_timeout is not None and self._is_late(self._unpaid, (_PAID,)):
            message = f"Requestor didn't pay for DebitNote in time ({_text(self._payment_timeout)})"
            return Breach(rules.PAID_IN_TIME, message, "DebitNoteNotPaid")
        return None

    def _is_late(self, notes: deque[_SentNote], expected: Collection[str]) -> bool:
        """Forget the notes that have an expected status at their deadline; returns whether one has not."""
        while notes and notes[0].deadline <= time.monotonic():
            status = self._status(notes[0].debit_note_id)
            if status is None:
                # Asked again: the daemon did not answer.
                notes[0].deadline = time.monotonic() + _STATUS_PAUSE_SECONDS
            elif status in expected:
                notes.popleft()
            else:
                return True
        return False

    def _status(self, debit_note_id: str) -> str | None:
        try:
            return self._yagna.payment.debit_note(debit_note_id, scope=self._scope).status
        except (NoDaemon, YagnaError) as error:
            logger.warning("%s: the status of a debit note can't be read: %s", self._name, error)
            return None


def _text(duration: timedelta) -> str:
    return duration_text(int(duration.total_seconds()))
