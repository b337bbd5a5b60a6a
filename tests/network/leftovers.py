"""What a requestor has left behind on its daemon."""

from __future__ import annotations

from simple_golem.local.network import LocalGolem
from simple_golem.yagna.client import Yagna


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
                if invoice.status not in ("ACCEPTED", "SETTLED")
            ),
        ]
    finally:
        yagna.close()


def _agreements(yagna: Yagna) -> list[str]:
    left = []
    for row in yagna.market.agreements():
        state = yagna.market.agreement(row["id"]).state.value
        if state in ("Approved", "Pending"):
            left.append(f"agreement {row['id']} {state}")
        for activity in yagna.activity.of_agreement(row["id"]):
            if yagna.activity.state(activity).alive:
                left.append(f"activity {activity}")
    return left
