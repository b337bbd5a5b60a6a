"""The place that an instance needs for connections to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import BadNetwork

if TYPE_CHECKING:
    from .place import Place


def require_place(place: Place | None, name: str) -> Place:
    """Return the place of an instance, or raise `BadNetwork` if it has none."""
    if place is None:
        raise BadNetwork(
            f"{name} has no private network, so there are no connections to it: start it with "
            "golem.run_service(…, network=True) or golem.rent(network=True)"
        )
    return place
