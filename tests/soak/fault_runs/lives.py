"""Whether each life of a run had one agreement at most, and knew of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from simple_golem.events import AgreementMade, AgreementNotMade, Event
from simple_golem.testing.daemon.market.agreements import Agreement
from simple_golem.testing.daemon.wire import read_date


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

    def what_must_not_be(self, approved: Mapping[str, Agreement]) -> list[str]:
        """What is wrong with the agreements that providers have approved, in words.

        A life that asks for another agreement, and an instance that begins another life, must have ended the
        earlier agreement before the later one is approved. An agreement that is approved too late, since its
        life is being stopped or the answer was lost, has to be one that the life knows of.
        """
        unknown = approved.keys() - {one for asked in self._of_instances.values() for one in asked}
        told = [f"agreements that no life has asked for: {sorted(unknown)}"] if unknown else []
        for (_, instance), asked in self._of_instances.items():
            in_force = [approved[one] for one in asked if one in approved]
            told += [
                f"{instance} had two agreements at the same time: {one.agreement_id}, {other.agreement_id}"
                for one, other in pairwise(in_force)
                if not _ends_before(one, other)
            ]
        return told


def _ends_before(one: Agreement, other: Agreement) -> bool:
    """Whether an agreement has ended before another one was approved."""
    if one.termination is None or other.approved is None:
        return False
    return read_date(one.termination["eventDate"]) <= other.approved
