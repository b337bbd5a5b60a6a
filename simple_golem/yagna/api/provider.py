"""The provider's side of the daemon's APIs, for the agents of the local network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from ...background.cancellation import Scope
from ...errors import YagnaError
from ...model.base.wire_time import format_time, parse_time
from ..transport.http import Http
from ..transport.retry import Repeat
from ..values import MarketEvent, market_event

_MARKET = "/market-api/v1"
_ACTIVITY = "/activity-api/v1"
_PAYMENT = "/payment-api/v1"
# A daemon under load sets a state late, but it does so; a repetition could undo a later state.
_SET_STATE_SECONDS = 120.0


class ActivityEvent(NamedTuple):
    """A requestor wants an activity created or destroyed; `kind` is CreateActivity or DestroyActivity."""

    kind: str
    activity_id: str
    agreement_id: str
    date: datetime

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> ActivityEvent:
        (kind,) = wire["eventType"]
        return cls(kind, wire["activityId"], wire["agreementId"], parse_time(wire["eventDate"]))


_IS_FINAL = "golem.proposal.rejection.is-final"


class ProviderApi:
    def __init__(self, http: Http) -> None:
        self._http = http

    def publish_offer(
        self, properties: Mapping[str, Any], constraints: str, *, scope: Scope | None = None
    ) -> str:
        """`POST /offers`; returns the offer's id."""
        body = {"properties": dict(properties), "constraints": constraints}
        offer: str = self._http.request(
            "POST", f"{_MARKET}/offers", body=body, scope=scope, repeat=Repeat.UNSENT
        )
        return offer

    def withdraw_offer(self, offer_id: str, *, scope: Scope | None = None) -> None:
        """`DELETE /offers/{id}`; an offer that does not exist is no error."""
        self._http.request("DELETE", f"{_MARKET}/offers/{offer_id}", scope=scope, done=(404, 410))

    def offer_events(
        self, offer_id: str, *, timeout: float, max_events: int = 100, scope: Scope | None = None
    ) -> list[MarketEvent]:
        """`GET /offers/{id}/events`: blocks up to `timeout` seconds; each event is returned only once."""
        answer = self._http.request(
            "GET",
            f"{_MARKET}/offers/{offer_id}/events",
            params={"timeout": timeout, "maxEvents": max_events},
            timeout=timeout,
            scope=scope,
            repeat=Repeat.UNSENT,
        )
        return [market_event(wire) for wire in answer]

    def counter(
        self,
        offer_id: str,
        proposal_id: str,
        properties: Mapping[str, Any],
        constraints: str,
        *,
        scope: Scope | None = None,
    ) -> str:
        """`POST /offers/{id}/proposals/{id}`; returns the id of the new proposal."""
        proposal: str = self._http.request(
            "POST",
            f"{_MARKET}/offers/{offer_id}/proposals/{proposal_id}",
            body={"properties": dict(properties), "constraints": constraints},
            timeout=60.0,
            scope=scope,
            repeat=Repeat.UNSENT,
        )
        return proposal

    def reject_proposal(
        self,
        offer_id: str,
        proposal_id: str,
        reason: str,
        *,
        is_final: bool = False,
        scope: Scope | None = None,
    ) -> None:
        """`POST /offers/{id}/proposals/{id}/reject`; `is_final`: the same proposal is rejected later, too."""
        self._http.request(
            "POST",
            f"{_MARKET}/offers/{offer_id}/proposals/{proposal_id}/reject",
            body={"message": reason, _IS_FINAL: is_final},
            timeout=60.0,
            scope=scope,
            done=(404, 410),
        )

    def approve(
        self, agreement_id: str, *, app_session_id: str | None = None, scope: Scope | None = None
    ) -> None:
        """`POST /agreements/{id}/approve`; a `YagnaError` of status 410 if it was cancelled meanwhile."""
        self._http.request(
            "POST",
            f"{_MARKET}/agreements/{agreement_id}/approve",
            params={"timeout": 15.0, "appSessionId": app_session_id},
            timeout=60.0,
            scope=scope,
            repeat=Repeat.UNSENT,
        )

    def reject_agreement(
        self, agreement_id: str, reason: str, *, is_final: bool = False, scope: Scope | None = None
    ) -> None:
        """`POST /agreements/{id}/reject`; `is_final`: the same agreement is rejected later, too."""
        self._http.request(
            "POST",
            f"{_MARKET}/agreements/{agreement_id}/reject",
            body={"message": reason, _IS_FINAL: is_final},
            timeout=60.0,
            scope=scope,
            repeat=Repeat.UNSENT,
        )

    def activity_events(
        self, after: datetime, *, timeout: float, scope: Scope | None = None
    ) -> list[ActivityEvent]:
        """`GET /activity-api/v1/events` after `after`; `[]` when `timeout` seconds brought none."""
        params = {"afterTimestamp": format_time(after), "timeout": timeout, "maxEvents": 100}
        try:
            answer = self._http.request(
                "GET",
                f"{_ACTIVITY}/events",
                params=params,
                timeout=timeout,
                scope=scope,
                repeat=Repeat.UNSENT,
            )
        except YagnaError as error:
            if error.status == 408:
                return []
            raise
        return [ActivityEvent.from_wire(wire) for wire in answer]

    def set_activity_state(
        self,
        activity_id: str,
        state: Sequence[str | None],
        *,
        reason: str | None = None,
        error_message: str | None = None,
        scope: Scope | None = None,
    ) -> None:
        """`PUT /activity/{id}/state` with the present state and the next one; blocks up to 120 seconds."""
        body = {"state": list(state), "reason": reason, "errorMessage": error_message}
        path = f"{_ACTIVITY}/activity/{activity_id}/state"
        self._http.request("PUT", path, body=body, timeout=_SET_STATE_SECONDS, scope=scope)

    def send_debit_note(
        self,
        activity_id: str,
        amount: Decimal,
        usage: Sequence[float],
        due: datetime | None = None,
        *,
        scope: Scope | None = None,
    ) -> str:
        """`POST /debitNotes`, then `…/send`; returns the debit note's id."""
        body: dict[str, Any] = {
            "activityId": activity_id,
            "totalAmountDue": f"{amount:f}",
            "usageCounterVector": list(usage),
        }
        if due is not None:
            body["paymentDueDate"] = format_time(due)
        note = self._http.request(
            "POST", f"{_PAYMENT}/debitNotes", body=body, scope=scope, repeat=Repeat.UNSENT
        )
        self._send(f"/debitNotes/{note['debitNoteId']}/send", scope)
        return str(note["debitNoteId"])

    def send_invoice(
        self,
        agreement_id: str,
        activity_ids: Sequence[str],
        amount: Decimal,
        due: datetime,
        *,
        scope: Scope | None = None,
    ) -> str:
        """`POST /invoices`, then `…/send`; returns the invoice's id."""
        body = {
            "agreementId": agreement_id,
            "activityIds": list(activity_ids),
            "amount": f"{amount:f}",
            "paymentDueDate": format_time(due),
        }
        invoice = self._http.request(
            "POST", f"{_PAYMENT}/invoices", body=body, scope=scope, repeat=Repeat.UNSENT
        )
        self._send(f"/invoices/{invoice['invoiceId']}/send", scope)
        return str(invoice["invoiceId"])

    def _send(self, path: str, scope: Scope | None) -> None:
        self._http.request("POST", _PAYMENT + path, params={"timeout": 15.0}, timeout=15.0, scope=scope)
