"""One provider at work: it offers, negotiates, serves activities and charges, as its habits say."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any

from ...clock import Appointment
from ...fake_provider import FakeProvider
from ..activity.activities import Activities, Activity
from ..activity.exe_unit import READY, TERMINATED, ExeUnit, StatePair
from ..files.transfers import Transfers
from ..market.agreements import Agreement, Agreements
from ..market.demands import Demand, Market, Offer, Proposal
from ..money.documents import Payments
from ..network import Server
from ..records import MOST_RECORDS
from ..world import World
from .offer import (
    SUBNET,
    counter_properties,
    note_interval,
    offer_constraints,
    offer_properties,
    payment_timeout,
)

_UNRESPONSIVE = "Unresponsive"
# An exe-unit that is shut down takes this long to end.
_SHUT_DOWN_SECONDS = 0.3


class Presence(Enum):
    """How much of a provider works."""

    HERE = "all of it"
    WITHOUT_AGENT = "its exe-units and its daemon"
    CUT_OFF = "all of it, without a network"
    DEAD = "its daemon only"


@dataclass(frozen=True)
class Trade:
    """The parts of the daemon that a provider uses."""

    world: World
    market: Market
    agreements: Agreements
    activities: Activities
    payments: Payments
    transfers: Transfers


_PUBLIC = "public"


class ProviderDesk:
    """Does what its provider's habits say; holds or takes the lock of the world."""

    def __init__(self, provider: FakeProvider, trade: Trade) -> None:
        self.provider = provider
        self.node_id = provider.node_id
        self._trade = trade
        self._world = trade.world
        self._presence = Presence.HERE
        self.presence_changed = trade.world.condition()
        self._offers: dict[str, Offer] = {}
        self._agreements: dict[str, Agreement] = {}
        self._activities: dict[str, Activity] = {}
        # Those of an agreement are charged for together.
        self._charges: dict[str, dict[str, Decimal]] = {}
        self._serving_on: set[str] = set()
        self._notes: dict[str, Appointment] = {}
        self._turned_away: dict[str, Demand] = {}
        self._was_ready: set[str] = set()
        self._commands: deque[dict[str, Any]] = deque(maxlen=MOST_RECORDS)
        self._files: dict[str, bytes] | None = None
        self._silences: list[Appointment] = []

    @property
    def is_reachable(self) -> bool:
        return self._presence is not Presence.CUT_OFF

    # --- offers and proposals ---------------------------------------------------------------------------

    def published(self, demand: Demand) -> None:
        """Offer to a new demand."""
        if self._presence is not Presence.HERE:
            return
        subnet = str(demand.properties.get(SUBNET, ""))
        if self.provider.subnet in (None, subnet):
            self._trade.market.propose(demand, self._offer(subnet))

    def offers(self) -> list[Offer]:
        """All its offers. One that offers in any subnet does so where somebody has asked, and in `public`."""
        if self._presence is not Presence.HERE:
            return []
        subnets = {_PUBLIC, *self._offers} if self.provider.subnet is None else {self.provider.subnet}
        return [self._offer(subnet) for subnet in sorted(subnets)]

    def _offer(self, subnet: str) -> Offer:
        properties = offer_properties(self.provider, subnet)
        constraints = offer_constraints(self.provider, subnet)
        offer = self._offers.get(subnet)
        if offer is None or (offer.properties, offer.constraints) != (properties, constraints):
            offer_id = f"{self._world.hex_id(32)}-{self._world.hex_id(64)}"
            offer = self._offers[subnet] = Offer(offer_id, self.node_id, properties, constraints)
        return offer

    def countered(self, counter: Proposal) -> None:
        """React to a counter-proposal."""
        if self._presence is Presence.HERE and self.provider.proposals != "never":
            self._world.after(self.provider.answers_after, lambda: self._answer(counter))

    def _answer(self, counter: Proposal) -> None:
        if self._presence is not Presence.HERE or counter.counter is not None:
            return
        refusal = self.provider.reason if self.provider.proposals == "no" else self._full(counter.demand)
        if refusal:
            self._trade.market.reject(counter, _rejection(refusal))
            return
        self._trade.market.answer(counter, counter_properties(counter.offer.properties, counter.properties))

    def _full(self, demand: Demand) -> str:
        most = self.provider.most_agreements
        if len(self._agreements) < most:
            return ""
        self._turned_away[demand.demand_id] = demand
        return f"No capacity available. Reached Agreements limit: {most}"

    def _free_again(self) -> None:
        """Offer again to those demands that were rejected for want of capacity."""
        turned_away, self._turned_away = self._turned_away, {}
        for demand in turned_away.values():
            self.published(demand)

    # --- agreements -------------------------------------------------------------------------------------

    def confirmed(self, agreement: Agreement) -> None:
        """React to a confirmed agreement."""
        if self._presence is Presence.HERE and self.provider.agreements_wanted != "never":
            self._world.after(self.provider.approves_after, lambda: self._decide(agreement))

    def _decide(self, agreement: Agreement) -> None:
        if self._presence is not Presence.HERE or agreement.state != "Pending":
            return
        says_no = self.provider.agreements_wanted == "no"
        refusal = self.provider.reason if says_no else self._full(agreement.proposal.demand)
        if refusal:
            self._trade.agreements.reject(agreement, _rejection(refusal))
        elif self._trade.agreements.approve(agreement):
            self._agreements[agreement.agreement_id] = agreement

    def ended(self, agreement: Agreement) -> None:
        """React to the end of an agreement."""
        agreement_id = agreement.agreement_id
        if self._presence is not Presence.HERE or self._agreements.pop(agreement_id, None) is None:
            return
        if agreement_id not in self._serving_on:
            self._wind_up(agreement)

    def _wind_up(self, agreement: Agreement) -> None:
        for activity in self._of(agreement):
            self._end_activity(activity)
        self._serving_on.discard(agreement.agreement_id)
        charges = self._charges.pop(agreement.agreement_id, {})
        if charges and self.provider.sends_invoice:
            amount = sum(charges.values(), Decimal(0))

            def send() -> None:
                if self._presence is Presence.HERE:
                    self._trade.payments.send_invoice(agreement, list(charges), amount)

            self._world.after(self.provider.invoice_after, send)
        self._free_again()

    def _of(self, agreement: Agreement) -> list[Activity]:
        return [one for one in self._activities.values() if one.agreement is agreement]

    # --- activities -------------------------------------------------------------------------------------

    def wanted(self, activity: Activity) -> None:
        """React to the creation of an activity."""
        if self._presence is Presence.HERE and self.provider.activities_wanted != "never":
            self._world.after(self.provider.creates_after, lambda: self._create(activity))

    def _create(self, activity: Activity) -> None:
        if self._presence is not Presence.HERE or activity.given_up:
            return
        if self.provider.activities_wanted == "no":
            activity.change((TERMINATED, None), message=self.provider.reason)
            return

        def told(state: StatePair) -> None:
            if self._presence is not Presence.DEAD and not activity.silent:
                activity.change(state)
            if state == (READY, None):
                self._ready(activity)

        transfer = self._trade.transfers.transfer
        activity.exe_unit = ExeUnit(self._world, self.provider, transfer, told, self._commands.append)
        activity.created_at = self._world.clock.monotonic()
        self._activities[activity.activity_id] = activity
        self._files = activity.exe_unit.files
        self._charges.setdefault(activity.agreement.agreement_id, {})
        activity.change(activity.exe_unit.state)
        self._arrange_note(activity)

    def _ready(self, activity: Activity) -> None:
        """React to the state Ready, for the first time or after a command."""
        if activity.activity_id in self._was_ready:
            return
        self._was_ready.add(activity.activity_id)
        if self.provider.terminates_after is not None:
            reason = self.provider.reason
            self._world.after(
                self.provider.terminates_after, lambda: self._terminate(activity.agreement, reason)
            )
        if self.provider.dies_after is not None:
            self._world.after(self.provider.dies_after, self.die)

    def unwanted(self, activity: Activity) -> None:
        """React to the destruction of an activity."""
        if self._presence is Presence.HERE and self.provider.destroys:
            self._end_activity(activity)
            agreement = activity.agreement
            if agreement.agreement_id in self._serving_on and not self._of(agreement):
                self._wind_up(agreement)

    def _end_activity(self, activity: Activity) -> None:
        """End an activity in the regular way, and charge for it."""
        if self._activities.pop(activity.activity_id, None) is None:
            return
        self._was_ready.discard(activity.activity_id)
        activity.destroyed_at = self._world.clock.monotonic()
        activity.silent = False
        self._send_note(activity)
        exe_unit, activity.exe_unit = activity.exe_unit, None
        if exe_unit is not None and exe_unit.serves:
            exe_unit.end()
        elif activity.is_alive:
            activity.change((TERMINATED, None))

    def usage(self, activity: Activity) -> list[float]:
        """Return the seconds that an activity has lived, and its seconds of processor time."""
        until = self._world.clock.monotonic() if activity.destroyed_at is None else activity.destroyed_at
        seconds = round(until - activity.created_at, 3)
        return [seconds, round(seconds * self.provider.cpu_rate, 3)]

    # --- money ------------------------------------------------------------------------------------------

    def _arrange_note(self, activity: Activity) -> None:
        seconds = max(0.01, note_interval(self.provider, activity.agreement.offer_properties))

        def send() -> None:
            if activity.activity_id in self._activities:
                self._send_note(activity)
                self._arrange_note(activity)

        self._notes[activity.activity_id] = self._world.after(seconds, send)

    def _send_note(self, activity: Activity) -> None:
        appointment = self._notes.pop(activity.activity_id, None)
        if appointment is not None:
            appointment.cancel()
        usage = self.usage(activity)
        amount = self.provider.charge(*usage)
        self._charges.setdefault(activity.agreement.agreement_id, {})[activity.activity_id] = amount
        if self.provider.sends_notes and self._presence is Presence.HERE:
            due = payment_timeout(activity.agreement.offer_properties)
            until = None if due is None else self._world.clock.now() + timedelta(seconds=due)
            self._trade.payments.send_note(activity, amount, usage, until)

    # --- what a test has it do --------------------------------------------------------------------------

    def agreements(self) -> list[str]:
        with self._world.lock:
            return list(self._agreements)

    def activities(self) -> list[str]:
        with self._world.lock:
            return list(self._activities)

    def commands(self) -> list[dict[str, Any]]:
        with self._world.lock:
            return list(self._commands)

    def files(self) -> dict[str, bytes]:
        with self._world.lock:
            if self._files is None:
                raise RuntimeError(f"{self.provider.name} has had no activity")
            return self._files

    def terminate_agreement(self, reason: str, keep_activity: bool) -> None:
        with self._world.lock:
            if not self._agreements:
                raise RuntimeError(f"{self.provider.name} has no agreement to terminate")
            for agreement in list(self._agreements.values()):
                if keep_activity and self._of(agreement):
                    self._serving_on.add(agreement.agreement_id)
                self._terminate(agreement, reason)

    def _terminate(self, agreement: Agreement, reason: str) -> None:
        told = {"message": reason, "golem.provider.code": "Cancelled"}
        self._trade.agreements.terminate(agreement, "Provider", told)

    def kill_exe_unit(self) -> None:
        with self._world.lock:
            for activity in list(self._activities.values()):
                self._exe_unit_of(activity).die()
                activity.change((TERMINATED, None), "execution aborted", "exit code None")
                self._end_activity(activity)

    def kill_agent(self) -> None:
        with self._world.lock:
            self._become(Presence.WITHOUT_AGENT)
            self._cancel_notes()

    def shut_down(self) -> None:
        with self._world.lock:
            for activity in self._activities.values():
                exe_unit = self._exe_unit_of(activity)
                activity.change((READY, TERMINATED))
                exe_unit.fail_all()
                self._world.after(_SHUT_DOWN_SECONDS, partial(_end_at_last, activity, exe_unit))
            self._become(Presence.DEAD)
            self._cancel_notes()
            self._forget_all()

    def _cancel_notes(self) -> None:
        for appointment in self._notes.values():
            appointment.cancel()
        self._notes.clear()

    def _exe_unit_of(self, activity: Activity) -> ExeUnit:
        assert activity.exe_unit is not None
        return activity.exe_unit

    def vanish(self) -> None:
        self._become(Presence.CUT_OFF)

    def die(self) -> None:
        with self._world.lock:
            self._become(Presence.DEAD)
            self._cancel_notes()
            for activity in self._activities.values():
                self._exe_unit_of(activity).die()
                activity.exe_unit = None
            self._fall_silent(destroy=False)
            self._forget_all()

    def _forget_all(self) -> None:
        self._was_ready.clear()
        self._agreements.clear()
        self._activities.clear()
        self._charges.clear()
        self._serving_on.clear()
        self._turned_away.clear()

    def come_back(self) -> None:
        with self._world.lock:
            was = self._presence
            self._become(Presence.HERE)
            if was is Presence.WITHOUT_AGENT:
                for activity in list(self._activities.values()):
                    self._end_activity(activity)
                self._forget_all()
            if was in (Presence.DEAD, Presence.WITHOUT_AGENT):
                for demand in self._trade.market.alive():
                    self.published(demand)
            self._catch_up()

    def _catch_up(self) -> None:
        """React to agreements that ended meanwhile."""
        for agreement in list(self._agreements.values()):
            if not agreement.is_open:
                self.ended(agreement)

    # --- private networks -------------------------------------------------------------------------------

    def has_deployed(self, network_id: str, ip: str) -> bool:
        """Whether one of its activities has this address in a network."""
        if self._presence is not Presence.HERE:
            return False
        units = [one.exe_unit for one in self._activities.values() if one.exe_unit is not None]
        return any(one.serves and one.networks.get(network_id) == ip for one in units)

    def server(self, port: int) -> Server | None:
        """What listens on a port; None for nothing."""
        return self.provider.servers.get(port)

    def _become(self, presence: Presence) -> None:
        with self._world.lock:
            self._presence = presence
            self.presence_changed.notify_all()

    def stop_reporting(self) -> None:
        with self._world.lock:
            self._fall_silent(destroy=True)

    def _fall_silent(self, *, destroy: bool) -> None:
        for activity in self._activities.values():
            self._later(self.provider.unresponsive_after, activity, self._unresponsive)
            if destroy:
                self._later(self.provider.destroyed_after, activity, self._end_activity)

    def _later(self, seconds: float, activity: Activity, do: Callable[[Activity], object]) -> None:
        self._silences.append(self._world.after(seconds, lambda: do(activity)))

    def _unresponsive(self, activity: Activity) -> None:
        if activity.is_alive:
            activity.silent = True
            activity.change((_UNRESPONSIVE, activity.state[1]))

    def report_again(self) -> None:
        with self._world.lock:
            silences, self._silences = self._silences, []
            for appointment in silences:
                appointment.cancel()
            for activity in self._activities.values():
                activity.silent = False
                if activity.state[0] == _UNRESPONSIVE:
                    activity.change(self._exe_unit_of(activity).state)

    def send_debit_note(self) -> None:
        with self._world.lock:
            for activity in list(self._activities.values()):
                self._send_note(activity)
                self._arrange_note(activity)


def _end_at_last(activity: Activity, exe_unit: ExeUnit) -> None:
    exe_unit.die()
    activity.exe_unit = None
    activity.change((TERMINATED, None))


class Providers:
    """All providers of a fake daemon: passes each call on to the right one."""

    def __init__(self) -> None:
        self._desks: dict[str, ProviderDesk] = {}

    def add(self, desk: ProviderDesk) -> None:
        self._desks[desk.node_id] = desk

    def host(self, node_id: str) -> ProviderDesk | None:
        """The provider of this id; None if there is none."""
        return next((desk for desk in self if desk.node_id == node_id), None)

    def __iter__(self) -> Iterator[ProviderDesk]:
        return iter(self._desks.values())

    def published(self, demand: Demand) -> None:
        for desk in self._desks.values():
            desk.published(demand)

    def countered(self, proposal: Proposal) -> None:
        self._desks[proposal.offer.owner].countered(proposal)

    def confirmed(self, agreement: Agreement) -> None:
        self._desks[agreement.provider].confirmed(agreement)

    def ended(self, agreement: Agreement) -> None:
        self._desks[agreement.provider].ended(agreement)

    def wanted(self, activity: Activity) -> None:
        self._desk_of(activity).wanted(activity)

    def unwanted(self, activity: Activity) -> None:
        self._desk_of(activity).unwanted(activity)

    def usage(self, activity: Activity) -> list[float]:
        return self._desk_of(activity).usage(activity)

    def answers_results(self, agreement: Agreement) -> bool:
        return self._desks[agreement.provider].provider.answers_results

    def streams(self, agreement: Agreement) -> bool:
        return self._desks[agreement.provider].provider.streams

    def times_out_after(self, agreement: Agreement) -> float:
        return self._desks[agreement.provider].provider.times_out_after

    def reached(self, provider: str) -> tuple[Any, Callable[[], bool]]:
        desk = self._desks[provider]
        return desk.presence_changed, lambda: desk.is_reachable

    def _desk_of(self, activity: Activity) -> ProviderDesk:
        return self._desks[activity.agreement.provider]


def _rejection(reason: str) -> dict[str, object]:
    """A reason as real providers write it."""
    return {"message": reason, "golem.proposal.rejection.is-final": False}
