"""An agreement with a provider: how it is made, and how it is ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from ...background.cancellation import Scope, ScopeEnded
from ...errors import GolemError, YagnaError
from ...model.events.agreements import AgreementMade, AgreementNotMade
from ...model.offers.offer import provider_name
from ...yagna.api.market import MOST_AGREEMENT_EVENTS
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat, made_once
from ...yagna.values import AgreementState, Approval, Proposal
from ..event_dispatcher import Emit

logger = logging.getLogger(__name__)

APPROVAL_SECONDS = 15.0
# After this time the daemon ends an agreement that was not approved.
_APPROVAL_VALID_FOR = timedelta(seconds=120)
# A late answer is decided by then: it needs no more than a request.
_LATE_APPROVAL_SECONDS = 1.0
# After an error of the daemon, before the next provider is asked: else all are asked one after the other.
_NEXT_PROVIDER_PAUSE_SECONDS = 0.1
_NOT_NEEDED = "Not needed any more"
# The daemon may still have a confirmation before it that was abandoned.
_CONFIRMATION_PAUSES_SECONDS = (0.1, 0.2, 0.0)


class Agreement(NamedTuple):
    """An agreement in force.

    Attributes:
        agreement_id: as the daemon knows it.
        provider_id, provider_name: whom it is with.
        offer_properties: what the provider has offered.
    """

    agreement_id: str
    provider_id: str
    provider_name: str
    offer_properties: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.provider_name} ({self.provider_id})"


class AgreementMaker:
    """Makes agreements of proposals, and terminates them.

    Args:
        yagna: the daemon.
        app_session_id: the session that the agreements belong to.
        emit: called with each event.
    """

    def __init__(self, yagna: Yagna, app_session_id: str, emit: Emit) -> None:
        self._emit = emit
        self._yagna = yagna
        self._app_session_id = app_session_id

    def make(
        self,
        proposal: Proposal,
        instance: str,
        stop: Scope,
        release: Scope,
        on_objection: Callable[[str], object],
    ) -> Agreement | None:
        """Create and confirm an agreement, and wait for the provider's approval.

        Blocks for 15 seconds at most, and for a few requests.

        Args:
            proposal: what the provider has answered last.
            instance: the name of the instance that needs it, for events.
            stop: cancelling it ends the wait at once; the agreement is then cancelled, or terminated.
            release: cancelling it ends that clean-up.
            on_objection: called with the reason if no agreement is made.

        Returns:
            The agreement; None if the provider refuses it or does not answer.

        Raises:
            ScopeEnded: `stop` was cancelled.
        """
        stop.check()
        name = provider_name(proposal.properties)
        try:
            agreement_id = self._create(proposal, stop)
        except GolemError as error:
            logger.debug("no agreement can be made of the proposal of %s: %s", name, error)
            on_objection(str(error))
            stop.wait(_NEXT_PROVIDER_PAUSE_SECONDS)
            return None
        try:
            objection = self._confirm(agreement_id, stop)
        except ScopeEnded:
            self._cancel_or_terminate(agreement_id, release)
            self._emit(
                AgreementNotMade(instance, agreement_id, proposal.issuer_id, name, _NOT_NEEDED.lower())
            )
            raise
        except GolemError as error:
            # An error of the daemon is no failure of the instance: it asks another provider.
            self._cancel_or_terminate(agreement_id, release)
            stop.wait(_NEXT_PROVIDER_PAUSE_SECONDS)
            objection = str(error)
        if objection is not None:
            on_objection(objection)
            self._emit(AgreementNotMade(instance, agreement_id, proposal.issuer_id, name, objection))
            return None
        self._emit(AgreementMade(instance, agreement_id, proposal.issuer_id, name))
        return Agreement(agreement_id, proposal.issuer_id, name, proposal.properties)

    def _create(self, proposal: Proposal, stop: Scope) -> str:
        market = self._yagna.market
        # It is the mark of the agreement, too: no two are valid until the same microsecond.
        valid_to = self._yagna.clock.now() + _APPROVAL_VALID_FOR
        return made_once(
            lambda: market.create_agreement(proposal.proposal_id, valid_to, scope=stop),
            lambda: market.find_unconfirmed(proposal.issuer_id, valid_to, scope=stop),
            stop,
        )

    def _confirm(self, agreement_id: str, stop: Scope) -> str | None:
        """Confirm an agreement and wait for its approval; return None, or why there is no approval."""
        market = self._yagna.market

        def is_confirmed(repeat: Repeat = Repeat.SAFE) -> bool | None:
            agreement = market.agreement(agreement_id, scope=stop, repeat=repeat)
            return agreement.state is not AgreementState.PROPOSAL or None

        def confirm() -> bool:
            market.confirm(agreement_id, self._app_session_id, scope=stop)
            return True

        try:
            made_once(confirm, is_confirmed, stop)
        except YagnaError as error:
            if not is_confirmed(Repeat.NEVER):  # the daemon was asked for 30 seconds
                self._cancel_or_terminate(agreement_id, stop)
                return str(error.detail)
        answer, reason = self._yagna.market.wait_for_approval(
            agreement_id, timeout=APPROVAL_SECONDS, scope=stop
        )
        if answer is Approval.UNDECIDED and self._yagna.market.cancel(
            agreement_id, "No answer in time", scope=stop
        ):
            return f"no answer within {APPROVAL_SECONDS:.0f} seconds"
        if answer is Approval.UNDECIDED:
            # It could not be cancelled, because the provider has answered at the last moment.
            answer, reason = self._yagna.market.wait_for_approval(
                agreement_id, timeout=_LATE_APPROVAL_SECONDS, scope=stop
            )
        if answer is Approval.APPROVED:
            return None
        return self._reason_of_provider(agreement_id, stop) or reason

    def _reason_of_provider(self, agreement_id: str, stop: Scope) -> str:
        """Return why the provider has rejected an agreement; "" if it did not say, or has not rejected it."""
        after = self._yagna.clock.now() - _APPROVAL_VALID_FOR
        try:
            while True:
                events = self._yagna.market.agreement_events(
                    after, timeout=0.0, app_session_id=self._app_session_id, scope=stop
                )
                for one in events:
                    if one.agreement_id == agreement_id and one.reason:
                        return f"rejected by the provider: {one.reason}"
                if len(events) < MOST_AGREEMENT_EVENTS or events[-1].date <= after:
                    return ""
                after = events[-1].date
        except GolemError as error:
            logger.debug("why %s was rejected is not known: %s", agreement_id, error)
            return ""

    def _cancel_or_terminate(self, agreement_id: str, scope: Scope) -> None:
        """End an agreement that may be approved or not; where that fails there is a warning."""
        try:
            for pause in _CONFIRMATION_PAUSES_SECONDS:
                is_cancelled = self._yagna.market.cancel(agreement_id, _NOT_NEEDED, scope=scope)
                if is_cancelled is not None:
                    break
                scope.wait(pause)
            if is_cancelled is False:
                self._yagna.market.terminate(agreement_id, _NOT_NEEDED, "Cancelled", scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning("the agreement %s could not be cancelled: %s", agreement_id, error)

    def terminate(self, agreement: Agreement, reason: str, code: str, scope: Scope) -> bool:
        """Terminate an agreement; blocks for one request.

        Args:
            agreement: which one.
            reason, code: what is sent to the provider.
            scope: cancelling it ends the request.

        Returns:
            Whether it was terminated; if not, there is a warning.
        """
        try:
            self._yagna.market.terminate(agreement.agreement_id, reason, code, scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning(
                "the agreement %s with %s could not be terminated: %s",
                agreement.agreement_id,
                agreement,
                error or "no time left",
            )
            return False
        return True
