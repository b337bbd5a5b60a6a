"""Which invoices are expected, and the wait for them while the session is closed."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping

import tenacity

from ...background.cancellation import Deadline
from .ledger import Ledger

logger = logging.getLogger(__name__)

# The daemon reports new invoices once a second: too rarely while nothing else is waited for.
_PAUSES = tenacity.wait_exponential(multiplier=0.03, max=1.0)


class ExpectedInvoices:
    """Agreements whose invoices are still to be answered; used by any thread.

    Args:
        ledger: knows which invoices are answered.
        unlikely_seconds: how long `wait` waits for invoices that are unlikely to come.
    """

    def __init__(self, ledger: Ledger, unlikely_seconds: float) -> None:
        self._ledger = ledger
        self._unlikely_seconds = unlikely_seconds
        self._changed = threading.Condition()
        self._expected: dict[str, str] = {}
        self._unlikely: set[str] = set()
        self._done: set[str] = set()
        self._latest = math.inf

    def expect(self, agreement_id: str, provider: str) -> None:
        """Expect the invoice of an agreement that has an activity, unless it is answered already.

        Args:
            agreement_id: the agreement.
            provider: name and id of its provider, for messages.
        """
        account = self._ledger.find(agreement_id)
        has_invoice = account is not None and account.invoice is not None
        with self._changed:
            if not has_invoice and agreement_id not in self._done:
                self._expected[agreement_id] = provider

    def mark_unlikely(self, agreement_id: str) -> None:
        """Note that a provider has failed: `wait` does not wait long for its invoice."""
        with self._changed:
            self._unlikely.add(agreement_id)

    def answered(self, agreement_id: str) -> None:
        """Note that an invoice is answered for good."""
        with self._changed:
            self._done.add(agreement_id)
            self._forget_locked(agreement_id)

    def postponed(self, agreement_id: str) -> None:
        """Note that this session does not answer an invoice for now: `wait` does not wait for it."""
        with self._changed:
            self._forget_locked(agreement_id)

    def _forget_locked(self, agreement_id: str) -> None:
        self._expected.pop(agreement_id, None)
        self._changed.notify_all()

    def is_expected(self, agreement_id: str) -> bool:
        """Return whether an invoice is expected."""
        with self._changed:
            return agreement_id in self._expected

    def wait(self, until: float, look: Callable[[], object]) -> None:
        """Block until all invoices are answered, or it is too late; log which are missing.

        Args:
            until: when it is too late, on the monotonic clock; `shorten` can bring it forward.
            look: asks the daemon for new invoices, without blocking; called again and again.
        """
        unlikely_until = min(until, time.monotonic() + self._unlikely_seconds)

        def seconds_left() -> float:
            with self._changed:
                return self._seconds_left_locked(until, unlikely_until)

        def pause(seconds: float) -> None:
            # Not until the next invoice: of many instances, each would have all of them listed.
            pause_left = Deadline(seconds)
            with self._changed:
                while (left := self._seconds_left_locked(until, unlikely_until)) and not pause_left.passed:
                    self._changed.wait(min(left, pause_left.remaining()))
            if seconds_left() > 0:
                look()

        looking = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda left: left > 0), wait=_PAUSES, sleep=pause
        )
        looking(seconds_left)
        self._log_missing()

    def _seconds_left_locked(self, until: float, unlikely_until: float) -> float:
        """Return how long to wait; 0 if nothing is expected, or it is too late."""
        if not self._expected:
            return 0.0
        has_likely = bool(self._expected.keys() - self._unlikely)
        latest = min(until if has_likely else unlikely_until, self._latest)
        return max(0.0, latest - time.monotonic())

    def shorten(self, until: float) -> None:
        """Wait no longer than until the monotonic clock shows `until`."""
        with self._changed:
            self._latest = min(self._latest, until)
            self._changed.notify_all()

    def _log_missing(self) -> None:
        with self._changed:
            missing = dict(self._expected)
        not_paid = {one: provider for one, provider in missing.items() if self._has_come(one)}
        late = {one: provider for one, provider in missing.items() if one not in not_paid}
        _log("no invoice had come", late)
        _log("no invoice could be accepted", not_paid)

    def _has_come(self, agreement_id: str) -> bool:
        account = self._ledger.find(agreement_id)
        return account is not None and account.unpaid is not None


def _log(what: str, missing: Mapping[str, str]) -> None:
    if missing:
        logger.warning(
            "%s by the end for the agreement%s %s: the next session pays it, or `simple-golem cleanup`",
            what,
            "s" if len(missing) > 1 else "",
            ", ".join(f"{agreement} with {provider}" for agreement, provider in missing.items()),
        )
