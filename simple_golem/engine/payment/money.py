"""Everything in a session that has to do with money, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from ...background.cancellation import Scope
from ...background.threads import WorkerPool
from ...background.timer import Timer
from ...errors import Overcharged
from ...yagna.client import Yagna
from ..event_dispatcher import Emit
from .budget import Budget
from .budget_watch import BudgetWatch
from .expected_invoices import ExpectedInvoices
from .ledger import Ledger
from .payments import Payments
from .session_journals import SessionJournals

# An answer to a document may take 15 seconds if its provider is away, so the workers have no other work.
_PAYMENT_WORKERS = 32
# A provider that has lost its activity is mostly gone for good. A later session pays an invoice that comes.
_UNLIKELY_INVOICE_SECONDS = 0.0


class Money:
    """The budget, the accounts and the answers of one session.

    Args:
        yagna: the daemon.
        platform: the payment platform.
        timer: calls the checks of the budget.
        asking: cancelling it abandons the requests for the budget.
        stop: cancelling it ends all requests for documents.
        emit: gets the events.
        on_overcharge: called with an agreement's id when its provider asks for too much.
        on_used_up: called when the budget is used up.
    """

    def __init__(
        self,
        yagna: Yagna,
        platform: str,
        timer: Timer,
        asking: Scope,
        stop: Scope,
        emit: Emit,
        *,
        on_overcharge: Callable[[str, Overcharged], object],
        on_used_up: Callable[[], object],
    ) -> None:
        self.journals = SessionJournals()
        self.ledger = Ledger(self.journals)
        self.budget = Budget(yagna, platform, self.ledger, emit, asking)
        self.watch = BudgetWatch(self.budget, self.ledger, timer, emit, on_used_up)
        self.expected = ExpectedInvoices(self.ledger, _UNLIKELY_INVOICE_SECONDS)
        self._workers = WorkerPool("golem-payment", _PAYMENT_WORKERS)
        self.payments = Payments(
            yagna,
            self.budget,
            self.watch,
            self.ledger,
            self.expected,
            self._workers,
            stop,
            emit,
            on_overcharge,
        )

    def top_up(self, amount: Decimal) -> Decimal:
        """Enlarge the budget and pay what could not be paid; returns the new total. Blocks for one request.

        Raises:
            AllocationRefused: the daemon does not do it; the budget stays as it is.
        """
        total = self.budget.top_up(amount)
        self.watch.topped_up()
        self.payments.topped_up()
        return total

    def cost(self, agreement_ids: Iterable[str] | None = None) -> tuple[Decimal, Decimal]:
        """Return the GLM that these agreements (None: all) were paid, and those that have come up since."""
        return self.ledger.cost_and_accrued(agreement_ids)

    def wait_for_invoices(self, until: float) -> None:
        """Block until all invoices are answered, or the monotonic clock shows `until`."""
        self.expected.wait(until, self.payments.look_for_invoices)

    def close(self, timeout: float) -> list[str]:
        """Join the payment workers, `timeout` seconds at most; returns the names of those that are stuck."""
        return self._workers.close(timeout)
