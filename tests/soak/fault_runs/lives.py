"""Whether each life of a run had one agreement at most, and knew of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise

from simple_golem.events import AgreementMade, AgreementNotMade, Event
from simple_golem.model.base.wire_time import parse_time
from simple_golem.testing.daemon.market.agreements import Agreement
from simple_golem.yagna.client import Yagna

_BEGIN = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class InForce:
    """From when until when an agreement was in force; `ended` is None if it is."""

    approved: datetime
    ended: datetime | None


class AskedAgreements:
    """What the instances of some Golems have asked for, by their events.

    Attributes:
        made: the agreements that a life went on with.
    """

    def __init__(self) -> None:
        self.made: set[str] = set()
        self._of_instances: defaultdict[tuple[int, str], list[str]] = defaultdict(list)

    def note(self, golem: int, event: Event) -> None:
        """Note an event of a Golem, which has a number of its own."""
        if isinstance(event, (AgreementMade, AgreementNotMade)):
            self._of_instances[golem, event.instance].append(event.agreement_id)
        if isinstance(event, AgreementMade):
            self.made.add(event.agreement_id)

    def what_must_not_be(self, approved: Mapping[str, InForce]) -> list[str]:
        """What is wrong with the agreements that providers have approved, by their ids, in words.

        A life that asks for another agreement, and an instance that begins another life, must have ended the
        earlier agreement before the later one is approved. An agreement that is approved too late, since its
        life is being stopped or the answer was lost, has to be one that the life knows of.
        """
        unknown = approved.keys() - {one for asked in self._of_instances.values() for one in asked}
        told = [f"agreements that no life has asked for: {sorted(unknown)}"] if unknown else []
        for (_, instance), asked in self._of_instances.items():
            told += [
                f"{instance} had two agreements at the same time: {one}, {other}"
                for one, other in pairwise(name for name in asked if name in approved)
                if not _ends_before(approved[one], approved[other])
            ]
        return told


def _ends_before(one: InForce, other: InForce) -> bool:
    return one.ended is not None and one.ended <= other.approved


def approved_in_memory(agreements: Iterable[Agreement]) -> Mapping[str, InForce]:
    """Return which agreements of a daemon in memory were approved."""
    return {
        one.agreement_id: InForce(
            one.approved, None if one.termination is None else parse_time(one.termination["eventDate"])
        )
        for one in agreements
        if one.approved is not None
    }


def approved_of_session(yagna: Yagna, app_session_id: str) -> Mapping[str, InForce]:
    """Return which agreements of a session were approved, as its daemon says; blocks for some requests."""
    market = yagna.market
    events = market.agreement_events(_BEGIN, timeout=0.0, app_session_id=app_session_id)
    ended = {one.agreement_id: one.date for one in events if one.kind == "AgreementTerminatedEvent"}
    agreements = [market.agreement(row["id"]) for row in market.agreements(app_session_id=app_session_id)]
    return {
        one.agreement_id: InForce(one.approved, ended.get(one.agreement_id))
        for one in agreements
        if one.approved is not None
    }
