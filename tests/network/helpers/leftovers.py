"""What a requestor has left behind on its daemon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from simple_golem.local.local_golem import LocalGolem
from simple_golem.yagna.client import Yagna

# An agreement that has ended once, with all its activities, needs no second look.
_ended: set[str] = set()
_PAID = ("ACCEPTED", "SETTLED")


def left_on(network: LocalGolem) -> list[str]:
    """Everything on the requestor's daemon that a closed Golem must not leave there."""
    environment = network.environment
    yagna = Yagna(environment["YAGNA_API_URL"], environment["YAGNA_APPKEY"])
    try:
        return [
            *(f"demand {demand['demandId']}" for demand in yagna.market.demands()),
            *(f"allocation {one.allocation_id}" for one in yagna.payment.allocations()),
            *_agreements(yagna),
            *(
                f"invoice {invoice.invoice_id} {invoice.status}"
                for invoice in yagna.payment.invoices()
                if invoice.status not in _PAID
            ),
        ]
    finally:
        yagna.close()


def _agreements(yagna: Yagna) -> list[str]:
    left = []
    for row in yagna.market.agreements():
        if row["id"] not in _ended:
            remains = list(_remains(yagna, row["id"]))
            left += remains
            if not remains:
                _ended.add(row["id"])
    return left


def _remains(yagna: Yagna, agreement_id: str) -> Iterator[str]:
    state = yagna.market.agreement(agreement_id).state.value
    if state in ("Approved", "Pending"):
        yield f"agreement {agreement_id} {state}"
    for activity in yagna.activity.of_agreement(agreement_id):
        if yagna.activity.state(activity).alive:
            yield f"activity {activity}"


def invoices_on(network: LocalGolem) -> int:
    """How many invoices the requestor's daemon has ever got."""
    yagna = Yagna(network.near.api_url, network.near.app_key)
    try:
        return len(yagna.payment.invoices())
    finally:
        yagna.close()


def pay_late_invoices(network: LocalGolem) -> None:
    """Accept what came when nobody was there any more to do it."""
    yagna = Yagna(network.near.api_url, network.near.app_key)
    until = datetime.now(timezone.utc) + timedelta(minutes=1)
    allocation = yagna.payment.allocate(Decimal(1), "erc20-hoodi-tglm", until)
    try:
        for invoice in yagna.payment.invoices():
            if invoice.status not in _PAID:
                yagna.payment.accept_invoice(invoice, allocation.allocation_id)
    finally:
        yagna.payment.release(allocation.allocation_id)
        yagna.close()
