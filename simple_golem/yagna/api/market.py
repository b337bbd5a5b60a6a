"""The market API, requestor's side: demands, proposals, agreements."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...background.cancellation import Scope
from ...errors import YagnaError
from ...model.base.wire_time import format_time
from ..transport.http import NO_BODY, Http
from ..transport.retry import Repeat, is_unsure
from ..values import (
    Agreement,
    AgreementEvent,
    AgreementState,
    Approval,
    MarketEvent,
    ScannedOffer,
    made_id,
    market_event,
    reason_message,
)

_GONE = (404, 410)
# How long a scan waits for a first offer, and how many come at once.
_SCAN_SECONDS = 0.5
_SCAN_PAGE = 500
_FAILED, _REMOTE, _INTERNAL = 500, "Remote Terminate", "due to internal error"
# The daemon gives no more at once.
MOST_AGREEMENT_EVENTS = 100


class MarketApi:
    def __init__(self, http: Http, url: str = "/market-api/v1") -> None:
        self._http = http
        self._url = url

    # all offers

    def scan(self, *, scope: Scope | None = None) -> list[ScannedOffer]:
        """`POST /scan`: all offers that the daemon knows, in all subnets; blocks for a few requests."""
        scan_id = made_id(self._call("POST", "/scan", body={"type": "offer"}, scope=scope), "/scan")
        found: list[ScannedOffer] = []
        try:
            # Without new offers the last request would wait for some.
            params = {"timeout": _SCAN_SECONDS, "maxEvents": _SCAN_PAGE}
            while True:
                page = self._call("GET", f"/scan/{scan_id}/events", params=params, scope=scope)
                found += [ScannedOffer.from_wire(wire) for wire in page]
                if len(page) < _SCAN_PAGE:
                    return found
        finally:
            self._call("DELETE", f"/scan/{scan_id}", scope=scope, done=_GONE)

    # demands

    def publish_demand(
        self,
        properties: Mapping[str, Any],
        constraints: str,
        *,
        scope: Scope | None = None,
        repeat: Repeat = Repeat.UNSENT,
    ) -> str:
        """`POST /demands`; returns the demand's id."""
        body = {"properties": dict(properties), "constraints": constraints}
        demand = self._call("POST", "/demands", body=body, scope=scope, repeat=repeat)
        return made_id(demand, "/demands")

    def demands(self, *, scope: Scope | None = None) -> list[Mapping[str, Any]]:
        """`GET /demands`: the subscribed demands of this identity."""
        return list(self._call("GET", "/demands", scope=scope))

    def unsubscribe(self, demand_id: str, *, scope: Scope | None = None) -> None:
        """`DELETE /demands/{id}`; a demand that does not exist is no error.

        A request that waits for its events ends with status 404.
        """
        self._call("DELETE", f"/demands/{demand_id}", scope=scope, done=_GONE)

    def demand_events(
        self, demand_id: str, *, timeout: float, max_events: int = 100, scope: Scope | None = None
    ) -> list[MarketEvent]:
        """`GET /demands/{id}/events`: blocks up to `timeout` seconds for one or more events.

        Each event is returned only once, so the request is not repeated once the daemon may have it. Raises a
        `YagnaError` of status 404 when the demand does not exist any more.
        """
        params = {"timeout": timeout, "maxEvents": max_events}
        answer = self._call(
            "GET",
            f"/demands/{demand_id}/events",
            params=params,
            timeout=timeout,
            scope=scope,
            repeat=Repeat.UNSENT,
        )
        return [market_event(wire) for wire in answer]

    def counter(
        self,
        demand_id: str,
        proposal_id: str,
        properties: Mapping[str, Any],
        constraints: str,
        *,
        scope: Scope | None = None,
    ) -> str | None:
        """`POST /demands/{id}/proposals/{id}`: answer a proposal; returns the id of the new one.

        Returns None if the proposal was answered, but the id was lost with the daemon's reply.
        """
        path = f"/demands/{demand_id}/proposals/{proposal_id}"
        body = {"properties": dict(properties), "constraints": constraints}

        def call(repeat: Repeat, done: tuple[int, ...] = ()) -> Any:
            return self._call("POST", path, body=body, timeout=60.0, scope=scope, repeat=repeat, done=done)

        try:
            answer = call(Repeat.UNSENT)
        except YagnaError as error:
            if not is_unsure(error):
                raise
            # A proposal can be answered once: 410 says that this was done.
            answer = call(Repeat.SAFE, done=(410,))
        return answer if isinstance(answer, str) else None

    def reject(self, demand_id: str, proposal_id: str, reason: str, *, scope: Scope | None = None) -> None:
        """`POST …/proposals/{id}/reject`."""
        self._call(
            "POST",
            f"/demands/{demand_id}/proposals/{proposal_id}/reject",
            body={"message": reason},
            timeout=60.0,
            scope=scope,
            done=_GONE,
        )

    # agreements

    def create_agreement(self, proposal_id: str, valid_to: datetime, *, scope: Scope | None = None) -> str:
        """`POST /agreements`; returns the agreement's id.

        Its provider does not know of it before `confirm`; if that does not follow, it expires at `valid_to`.
        """
        body = {"proposalId": proposal_id, "validTo": format_time(valid_to)}
        agreement = self._call("POST", "/agreements", body=body, scope=scope, repeat=Repeat.UNSENT)
        return made_id(agreement, "/agreements")

    def find_unconfirmed(
        self, provider_id: str, valid_to: datetime, *, scope: Scope | None = None
    ) -> str | None:
        """The id of an agreement that was created; None if there is none with exactly this `valid_to`."""
        for row in self.agreements(state=AgreementState.PROPOSAL.value, scope=scope):
            agreement = self.agreement(row["id"], scope=scope)
            if (agreement.provider_id, agreement.valid_to) == (provider_id, valid_to):
                return agreement.agreement_id
        return None

    def confirm(self, agreement_id: str, app_session_id: str, *, scope: Scope | None = None) -> None:
        """`POST /agreements/{id}/confirm`: send it to the provider."""
        self._call(
            "POST",
            f"/agreements/{agreement_id}/confirm",
            params={"appSessionId": app_session_id},
            timeout=60.0,
            scope=scope,
            repeat=Repeat.UNSENT,
        )

    def wait_for_approval(
        self, agreement_id: str, *, timeout: float, scope: Scope | None = None
    ) -> tuple[Approval, str]:
        """`POST /agreements/{id}/wait`: blocks up to `timeout` seconds; the answer, and its reason."""
        try:
            self._call(
                "POST",
                f"/agreements/{agreement_id}/wait",
                params={"timeout": timeout},
                timeout=timeout,
                scope=scope,
                repeat=Repeat.UNANSWERED,
            )
        except YagnaError as error:
            if error.status == 410:
                return Approval.REFUSED, error.detail
            if error.status == 408:
                return Approval.UNDECIDED, error.detail
            raise
        return Approval.APPROVED, ""

    def cancel(self, agreement_id: str, reason: str, *, scope: Scope | None = None) -> bool | None:
        """`POST /agreements/{id}/cancel`; False if the provider has already answered.

        Returns None for one that was not confirmed: its provider does not know of it, and it will expire.
        """
        try:
            self._call("POST", f"/agreements/{agreement_id}/cancel", body={"message": reason}, scope=scope)
        except YagnaError as error:
            if error.status == 410:
                return False
            if error.status == 500 and f"[P-{agreement_id}] not found" in error.detail:
                return None
            raise
        return True

    def terminate(
        self, agreement_id: str, reason: str, code: str = "Success", *, scope: Scope | None = None
    ) -> None:
        """`POST /agreements/{id}/terminate`; one that has ended, or was never approved, is no error."""
        body = {"message": reason, "golem.requestor.code": code}
        self._call(
            "POST", f"/agreements/{agreement_id}/terminate", body=body, timeout=10.0, scope=scope, done=_GONE
        )

    def agreement(
        self, agreement_id: str, *, scope: Scope | None = None, repeat: Repeat = Repeat.SAFE
    ) -> Agreement:
        """`GET /agreements/{id}`."""
        path = f"/agreements/{agreement_id}"
        return Agreement.from_wire(self._call("GET", path, scope=scope, repeat=repeat))

    def agreements(
        self, *, state: str | None = None, app_session_id: str | None = None, scope: Scope | None = None
    ) -> list[Mapping[str, Any]]:
        """`GET /agreements`: id, state dates and role of each."""
        params = {"state": state, "appSessionId": app_session_id}
        return list(self._call("GET", "/agreements", params=params, scope=scope))

    def agreement_events(
        self,
        after: datetime,
        *,
        timeout: float,
        app_session_id: str | None = None,
        max_events: int = MOST_AGREEMENT_EVENTS,
        scope: Scope | None = None,
    ) -> list[AgreementEvent]:
        """`GET /agreementEvents`: those after `after`, oldest first; blocks up to `timeout` seconds."""
        params = {
            "afterTimestamp": format_time(after),
            "timeout": timeout,
            "maxEvents": max_events,
            "appSessionId": app_session_id,
        }
        answer = self._call("GET", "/agreementEvents", params=params, timeout=timeout, scope=scope)
        return [AgreementEvent.from_wire(wire) for wire in answer]

    def terminate_reason(
        self, agreement_id: str, *, scope: Scope | None = None, repeat: Repeat = Repeat.SAFE
    ) -> str:
        """`GET /agreements/{id}/terminate/reason`."""
        path = f"/agreements/{agreement_id}/terminate/reason"
        answer = self._call("GET", path, scope=scope, repeat=repeat)
        return reason_message(answer.get("reason"))

    def _call(self, method: str, path: str, *, body: Any = NO_BODY, **options: Any) -> Any:
        return self._http.request(method, self._url + path, body=body, **options)


def is_refused_by_provider(error: YagnaError) -> bool:
    """Whether a provider's daemon could not end an agreement, which it then mostly has ended before.

    A request to terminate that breaks off midway leaves an agreement terminated there and approved here, for
    good: each further one fails.
    """
    return error.status == _FAILED and _REMOTE in error.detail and _INTERNAL in error.detail
