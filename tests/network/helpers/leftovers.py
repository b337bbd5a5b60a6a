"""What a requestor has left behind on its daemon."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

from simple_golem.local.local_golem import LocalGolem
from simple_golem.yagna.client import Yagna


def left_on(network: LocalGolem) -> list[str]:
    """Everything on the requestor's daemon that a closed Golem must not leave there."""
    return network.leftovers()


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
            if not invoice.is_accepted:
                yagna.payment.accept_invoice(invoice, allocation.allocation_id)
    finally:
        yagna.payment.release(allocation.allocation_id)
        yagna.close()
