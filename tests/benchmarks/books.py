"""What a run has left on the requestor's daemon, and what it has paid: a quick run that cheats is none."""

from __future__ import annotations

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.local.local_golem import LocalGolem
from simple_golem.yagna.client import Yagna

from .subject import SubjectFailed

_PAID = ("ACCEPTED", "SETTLED")
# Some of a peer's work is confirmed a moment after its process has ended.
_SETTLE_SECONDS = 3.0


class Books:
    """The daemon of a network, looked at after every run."""

    def __init__(self, network: LocalGolem) -> None:
        self._network = network
        yagna = self._daemon()
        self._known = {invoice.invoice_id for invoice in yagna.payment.invoices()}
        yagna.close()

    def check(self, instances: int) -> None:
        """Hold the last run, of so many instances, to what it had to do.

        Raises:
            SubjectFailed: an invoice is missing or was not accepted, or something is left behind.
        """
        yagna = self._daemon()
        deadline, scope = Deadline(_SETTLE_SECONDS), Scope()
        try:
            while (wrong := self._wrong(yagna, instances)) and not deadline.passed:
                scope.wait(0.1)
            self._known |= {invoice.invoice_id for invoice in yagna.payment.invoices()}
        finally:
            yagna.close()
        if wrong:
            raise SubjectFailed(wrong)

    def _daemon(self) -> Yagna:
        return Yagna(self._network.near.api_url, self._network.near.app_key)

    def _wrong(self, yagna: Yagna, instances: int) -> str:
        new = [one for one in yagna.payment.invoices() if one.invoice_id not in self._known]
        paid = [one for one in new if one.status in _PAID]
        if len(paid) != instances:
            return f"{len(paid)} invoices accepted of {len(new)} that came, for {instances} instances"
        if left := yagna.market.demands():
            return f"{len(left)} demands are left"
        if left := yagna.http.request("GET", "/payment-api/v1/allocations"):
            return f"{len(left)} allocations are left"
        if left := yagna.market.agreements(state="Approved"):
            return f"{len(left)} agreements are left"
        return ""
