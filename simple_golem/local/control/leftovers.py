"""What a requestor has left on its daemon: demands, allocations, agreements, networks, unpaid invoices, …"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import LocalNetworkError, NoDaemon
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat
from .messages import DaemonAddress


class Leftovers:
    """Lists what is left on a daemon; it remembers which agreements have ended for good."""

    def __init__(self, daemon: DaemonAddress) -> None:
        self._daemon = daemon
        # An agreement that has ended, with all its activities, needs no second look.
        self._ended: set[str] = set()

    def read(self) -> list[str]:
        """Return a line for each thing that is left; blocks for a few requests to the daemon.

        Raises:
            LocalNetworkError: the daemon does not answer.
        """
        yagna = Yagna(self._daemon.api_url, self._daemon.app_key)
        try:
            # Requests that are repeated would wait for a daemon that may have been killed.
            yagna.identity.me(repeat=Repeat.NEVER)
            return [
                *(f"demand {demand['demandId']}" for demand in yagna.market.demands()),
                *(f"allocation {one.allocation_id}" for one in yagna.payment.allocations()),
                *self._agreements(yagna),
                *(f"network {one.network_id}" for one in yagna.network.networks()),
                *(
                    f"invoice {invoice.invoice_id} {invoice.status}"
                    for invoice in yagna.payment.invoices()
                    if not invoice.is_accepted
                ),
            ]
        except NoDaemon as error:
            raise LocalNetworkError(
                "the requestor's daemon of the local network does not answer: if it was killed, call "
                "restart_requestor_daemon() of the network"
            ) from error
        finally:
            yagna.close()

    def _agreements(self, yagna: Yagna) -> list[str]:
        left: list[str] = []
        for row in yagna.market.agreements():
            if row["id"] not in self._ended:
                remains = list(_remains(yagna, row["id"]))
                left += remains
                if not remains:
                    self._ended.add(row["id"])
        return left


def _remains(yagna: Yagna, agreement_id: str) -> Iterator[str]:
    state = yagna.market.agreement(agreement_id).state.value
    if state in ("Approved", "Pending"):
        yield f"agreement {agreement_id} {state}"
    for activity in yagna.activity.of_agreement(agreement_id):
        if yagna.activity.state(activity).alive:
            yield f"activity {activity}"
