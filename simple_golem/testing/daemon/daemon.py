"""A daemon in memory: its parts, put together."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from decimal import Decimal

from ..clock import Clock
from ..fake_provider import FakeProvider
from ..request import Call, FakeAnswer, FakeRequest, Refused
from .activity.activities import Activities
from .files.bus import Bus
from .files.transfers import Transfers
from .market.agreements import Agreements
from .market.demands import Market
from .market.scans import Scans
from .money.allocations import Allocations
from .money.documents import Document, Payments
from .money.wallet import Wallet
from .network import PrivateNetworks
from .provider.desk import ProviderDesk, Providers, Trade
from .routes import Handler, Routes, daemon_routes
from .world import World

logger = logging.getLogger(__name__)

_VERSION = {
    "version": "0.17.6",
    "name": "a fake daemon of simple_golem",
    "seen": True,
    "releaseTs": "2015-10-13T15:43:00",
    "insertionTs": "2015-10-13T15:43:00",
    "updateTs": "2015-10-13T15:43:00",
}
_OPEN_TO_ALL = ("/version/get", "/metrics-api", "/dashboard", "/registry/")
_JOIN_SECONDS = 5.0
# What the registry says of each image, as other requestors ask for it.
_IMAGE_BYTES = 1_000_000


class Daemon:
    """Answers requests; its only threads are those of the clock and of batches.

    Attributes:
        node_id: the requestor's.
        unknown_images: tags and hashes that the registry does not know.
    """

    def __init__(
        self,
        providers: Sequence[FakeProvider],
        clock: Clock,
        app_key: str,
        *,
        funds: Decimal | None,
        pays: bool,
        seed: str,
    ) -> None:
        self.app_key = app_key
        self.node_id = "0x" + hashlib.sha3_256(f"requestor {seed}".encode()).hexdigest()[:40]
        self.unknown_images: set[str] = set()
        self.world = World(clock, seed)
        self.market = Market(self.world, self.node_id)
        self.agreements = Agreements(self.world, self.market, self.node_id)
        self.activities = Activities(self.world, self.agreements)
        self.allocations = Allocations(self.world, self.node_id, funds)
        self.payments = Payments(self.world, self.allocations, pays=pays)
        self.bus = Bus(self.world)
        self.networks = PrivateNetworks(self.world)
        self._trade = Trade(
            self.world,
            self.market,
            self.agreements,
            self.activities,
            self.payments,
            Transfers(self.world, self.bus),
        )
        self.providers = Providers()
        self.market.sellers = self.providers
        self.agreements.partners = self.providers
        self.activities.hosts = self.providers
        self.networks.hosts = self.providers
        for provider in providers:
            self.add(provider)
        wallet, scans = Wallet(self.allocations), Scans(self.world)
        scans.all_offers = lambda: [offer for desk in self.providers for offer in desk.offers()]
        own: dict[str, Handler] = {
            "GET /me": self._get_me,
            "GET /version/get": lambda *_: FakeAnswer.of_json({"current": _VERSION, "pending": None}),
            "POST /_gsb/local/identity/List": self._list_identities,
            "POST /_gsb/local/net/Status": self._get_connections,
            "POST /_gsb/local/payment/GetDrivers": wallet.get_drivers,
            "POST /_gsb/local/payment/GetStatus": wallet.get_status,
            "POST /market-api/v1/scan": scans.post,
            "GET /market-api/v1/scan/*/events": scans.get_events,
            "DELETE /market-api/v1/scan/*": scans.delete,
            "GET /registry/v1/image/info": self._get_image,
        }
        parts = (
            self.agreements,
            self.activities,
            self.allocations,
            self.payments,
            self.bus,
            self.networks,
        )
        self._routes = Routes({**own, **daemon_routes(self.market, *parts)})

    def add(self, provider: FakeProvider) -> None:
        """Add a provider; it offers to all demands on the market."""
        with self.world.lock:
            provider.name = provider.name or f"prov-{len(list(self.providers)) + 1}"
            if any(desk.node_id == provider.node_id for desk in self.providers):
                raise ValueError(f"there is a provider {provider.name} already: give each its own name")
            desk = ProviderDesk(provider, self._trade)
            provider.at_work_at(desk)
            self.providers.add(desk)
            for demand in self.market.alive():
                desk.published(demand)

    def answer(self, request: FakeRequest, call: Call) -> FakeAnswer:
        """Answer a request; blocks for the timeout in it at most.

        Raises:
            ConnectionDropped: the request was abandoned.
            ReadTimedOut: its client waits no longer.
        """
        with self.world.under_way(call), self.world.lock:
            call.check()
            try:
                refusal = self._unauthorized(request)
                return refusal or self._routes.answer(request, call)
            except Refused as refused:
                return refused.answer
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # A body of a form that nobody has foreseen; a defect of the fake, which must not hide.
                logger.exception("a fake daemon could not answer %s %s", request.method, request.target)
                return FakeAnswer.of_message(f"the fake daemon failed: {error!r}", 500)

    def restart(self) -> None:
        """Lose what the real daemon keeps in memory."""
        with self.world.lock:
            self.market.forget_all()
            self.bus.forget_all()
            self.networks.forget_all()

    def close(self) -> None:
        """End all requests and threads; blocks for functions of the test, at most 5 seconds each."""
        with self.world.lock:
            self.world.closed = True
            for activity in self.activities.all():
                if activity.exe_unit is not None:
                    activity.exe_unit.die()
            self.bus.forget_all()
            self.networks.forget_all()
        self.world.drop_all("the fake daemon is closed")
        self.world.clock.close()
        self.world.join(_JOIN_SECONDS)

    def leftovers(self) -> list[str]:
        """List what a requestor has not ended."""
        with self.world.lock:
            # One that is not confirmed binds nobody: its provider does not know of it, and it expires.
            open_agreements = [
                one for one in self.agreements.all() if one.is_open and one.state != "Proposal"
            ]
            alive = [one for one in self.activities.all() if one.is_alive]
            return [
                *(f"demand {one.demand_id}" for one in self.market.alive()),
                *(f"agreement {one.agreement_id} {one.state}" for one in open_agreements),
                *(f"activity {one.activity_id} {one.state[0]}" for one in alive),
                *(f"allocation {one.allocation_id}" for one in self.allocations.alive()),
                *(f"debit note {one.document_id}" for one in self._open_notes()),
                *(f"invoice {one.document_id}" for one in self.payments.invoices.unanswered()),
                *(f"service {address}" for address in self.bus.addresses),
                *(f"network {network_id}" for network_id in self.networks.ids),
            ]

    def _open_notes(self) -> list[Document]:
        """Unanswered debit notes of agreements without an answered invoice."""
        answered = {one.agreement for one in self.payments.invoices.all.values() if one.status != "RECEIVED"}
        return [one for one in self.payments.notes.unanswered() if one.agreement not in answered]

    def _unauthorized(self, request: FakeRequest) -> FakeAnswer | None:
        if request.path.startswith(_OPEN_TO_ALL):
            return None
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        key = key if kind == "Bearer" else request.query.get("authToken", "")
        if not key:
            return FakeAnswer.of_text("Missing application key", 401)
        return None if key == self.app_key else FakeAnswer.of_text("Invalid application key", 401)

    def _get_me(self, request: FakeRequest, call: Call) -> FakeAnswer:
        return FakeAnswer.of_json({"identity": self.node_id, "name": "autoconfigured", "role": "manager"})

    def _list_identities(self, request: FakeRequest, call: Call) -> FakeAnswer:
        own = {"alias": "requestor", "deleted": False, "isDefault": True, "isLocked": False}
        return FakeAnswer.of_json({"Ok": [{**own, "nodeId": self.node_id}]})

    def _get_connections(self, request: FakeRequest, call: Call) -> FakeAnswer:
        metrics = dict.fromkeys(("txTotal", "txCurrent", "txAvg", "rxTotal", "rxCurrent", "rxAvg"), 0)
        answer = {"nodeId": self.node_id, "listenAddress": None, "publicAddress": None, "metrics": metrics}
        return FakeAnswer.of_json({"Ok": {**answer, "sessions": len(list(self.providers)) + 1}})

    def _get_image(self, request: FakeRequest, call: Call) -> FakeAnswer:
        name = request.query.get("hash") or request.query.get("tag") or ""
        if name in self.unknown_images:
            return FakeAnswer.of_message(f"image {name} not found", 404)
        sha3 = request.query.get("hash") or hashlib.sha3_224(name.encode()).hexdigest()
        return FakeAnswer.of_json({"sha3": sha3, "http": f"http://127.0.0.1:1/{sha3}", "size": _IMAGE_BYTES})
