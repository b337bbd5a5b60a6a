"""The paths of a fake daemon, and the functions that answer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..request import Call, FakeAnswer, FakeRequest
from .activity.activities import Activities
from .files.bus import Bus
from .market.agreements import Agreements
from .market.demands import Market
from .money.allocations import Allocations
from .money.documents import Payments
from .network import PrivateNetworks

Handler = Callable[..., FakeAnswer]
_ANY = "*"


class Routes:
    """A table of methods and paths."""

    def __init__(self, table: Mapping[str, Handler]) -> None:
        """Args: table: handlers by such as `GET /demands/*`; each `*` is a part of the path, given to it."""
        self._by_length: dict[tuple[str, int], list[tuple[list[str], Handler]]] = {}
        for line, handler in table.items():
            method, _, path = line.partition(" ")
            parts = path.strip("/").split("/")
            self._by_length.setdefault((method, len(parts)), []).append((parts, handler))

    def answer(self, request: FakeRequest, call: Call) -> FakeAnswer:
        """Answer a request; 404 for an unknown path."""
        parts = request.path.strip("/").split("/")
        for pattern, handler in self._by_length.get((request.method, len(parts)), ()):
            if all(wanted in (_ANY, part) for wanted, part in zip(pattern, parts, strict=True)):
                own = [part for wanted, part in zip(pattern, parts, strict=True) if wanted == _ANY]
                return handler(request, call, *own)
        return FakeAnswer(404)


def daemon_routes(
    market: Market,
    agreements: Agreements,
    activities: Activities,
    allocations: Allocations,
    payments: Payments,
    bus: Bus,
    networks: PrivateNetworks,
) -> dict[str, Handler]:
    """The daemon's own paths."""
    proposal = "/market-api/v1/demands/*/proposals/*"
    agreement = "/market-api/v1/agreements"
    activity = "/activity-api/v1/activity"
    payment = "/payment-api/v1"
    network = "/net-api/v2/vpn/net"
    notes, invoices = payments.notes, payments.invoices
    return {
        "POST /market-api/v1/demands": market.post_demand,
        "GET /market-api/v1/demands": market.list_demands,
        "DELETE /market-api/v1/demands/*": market.delete_demand,
        "GET /market-api/v1/demands/*/events": market.get_events,
        f"GET {proposal}": market.get_proposal,
        f"POST {proposal}": market.counter,
        f"POST {proposal}/reject": market.reject_proposal,
        f"POST {agreement}": agreements.post,
        f"GET {agreement}": agreements.list_all,
        f"GET {agreement}/*": agreements.get,
        f"POST {agreement}/*/confirm": agreements.confirm,
        f"POST {agreement}/*/wait": agreements.wait,
        f"POST {agreement}/*/cancel": agreements.cancel,
        f"POST {agreement}/*/terminate": agreements.post_terminate,
        f"GET {agreement}/*/terminate/reason": agreements.get_reason,
        "GET /market-api/v1/agreementEvents": agreements.get_events,
        f"POST {activity}": activities.post,
        f"GET {activity}": activities.list_ids,
        f"DELETE {activity}/*": activities.delete,
        f"GET {activity}/*/state": activities.get_state,
        f"GET {activity}/*/usage": activities.get_usage,
        f"GET {activity}/*/agreement": activities.get_agreement,
        f"POST {activity}/*/exec": activities.exec,
        f"GET {activity}/*/exec/*": activities.get_results,
        f"GET {payment}/requestorAccounts": payments.list_accounts,
        f"GET {payment}/providerAccounts": payments.list_accounts,
        f"POST {payment}/allocations": allocations.post,
        f"GET {payment}/allocations": allocations.list_all,
        f"GET {payment}/allocations/*": allocations.get,
        f"PUT {payment}/allocations/*": allocations.put,
        f"DELETE {payment}/allocations/*": allocations.delete,
        f"GET {payment}/demandDecorations": allocations.get_decorations,
        f"GET {payment}/debitNotes": notes.list_all,
        f"GET {payment}/debitNotes/*": notes.get,
        f"GET {payment}/debitNoteEvents": notes.get_events,
        f"POST {payment}/debitNotes/*/accept": notes.accept,
        f"POST {payment}/debitNotes/*/reject": notes.reject,
        f"GET {payment}/invoices": invoices.list_all,
        f"GET {payment}/invoices/*": invoices.get,
        f"GET {payment}/invoiceEvents": invoices.get_events,
        f"POST {payment}/invoices/*/accept": invoices.accept,
        f"POST {payment}/invoices/*/reject": invoices.reject,
        f"GET {payment}/invoices/*/payments": payments.get_invoice_payments,
        f"GET {payment}/payments": payments.get_payments,
        f"POST {payment}/batchCycle": payments.post_cycle,
        f"POST {payment}/batchCycle/*/now": payments.post_pay_now,
        f"POST {network}": networks.post,
        f"GET {network}": networks.list_all,
        f"DELETE {network}/*": networks.delete,
        f"POST {network}/*/addresses": networks.post_address,
        f"POST {network}/*/nodes": networks.post_node,
        f"DELETE {network}/*/nodes/*": networks.delete_node,
        f"GET {network}/*/tcp/*/*": networks.connect,
        "POST /gsb-api/v1/services": bus.post,
        "GET /gsb-api/v1/services/*": bus.connect,
        "DELETE /gsb-api/v1/services/*": bus.delete,
    }
