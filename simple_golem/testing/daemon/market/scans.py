"""Scans of a fake daemon's market: all offers, whether they match a demand or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from ....model.payload.matching import matches
from ...request import Call, FakeAnswer, FakeRequest
from ..wire import date_text, json_body, number_of
from ..world import World
from .demands import Offer

_MOST_OFFERS = 500


class Scans:
    """Answers requests for scans.

    Attributes:
        all_offers: returns the offers of all providers.
    """

    def __init__(self, world: World) -> None:
        self.all_offers: Callable[[], Iterable[Offer]] = tuple
        self._world = world
        self._numbers = itertools.count()
        self._unread: dict[str, list[Offer]] = {}

    def post(self, request: FakeRequest, call: Call) -> FakeAnswer:
        constraints = json_body(request, ("type",)).get("constraints")
        scan_id = str(next(self._numbers))
        self._unread[scan_id] = [
            one for one in self.all_offers() if constraints is None or matches(constraints, one.properties)
        ]
        return FakeAnswer.of_json(scan_id, 201)

    def get_events(self, request: FakeRequest, call: Call, scan_id: str) -> FakeAnswer:
        if scan_id not in self._unread:
            return FakeAnswer.of_message(f"Scan [{scan_id}] not found.", 404)
        most = number_of(request, "maxEvents") or _MOST_OFFERS
        unread = self._unread[scan_id]
        page, self._unread[scan_id] = unread[:most], unread[most:]
        now = date_text(self._world.stamp())
        return FakeAnswer.of_json(
            [
                {
                    "properties": one.properties,
                    "constraints": one.constraints,
                    "offerId": one.offer_id,
                    "providerId": one.owner,
                    "timestamp": now,
                }
                for one in page
            ]
        )

    def delete(self, request: FakeRequest, call: Call, scan_id: str) -> FakeAnswer:
        if self._unread.pop(scan_id, None) is None:
            return FakeAnswer.of_message(f"Scan [{scan_id}] not found.", 404)
        return FakeAnswer(204)
