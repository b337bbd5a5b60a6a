"""The instances of one cluster, and which of them are where."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..engine.life.user_traceback import first_line, place_of
from ..errors import CommandFailed, NotRunning, ServiceFailed
from ..model.base.printable import printable
from ..model.service.states import ServiceState
from ..model.service.suspended import SuspendedInstance
from .cluster_context import NOT_STARTED, ClusterContext
from .instance import Instance
from .instance_lives import Member

if TYPE_CHECKING:
    from ..engine.network.place import Place

_MOST_CHARACTERS = 200


class InstanceGroup:
    """Makes and numbers the instances of a cluster, until it is closed.

    Attributes:
        name: the name of the cluster.
    """

    def __init__(self, context: ClusterContext) -> None:
        self.name = context.name
        self._context = context
        self._changed = context.changed
        self._closed = False
        self._instances: tuple[Instance, ...] = ()

    def make(
        self,
        members: Sequence[Member],
        suspended: Sequence[SuspendedInstance] = (),
        addresses: Sequence[str] | None = None,
    ) -> tuple[Instance, ...]:
        """Make instances that are not started yet; the first of them take up those that are suspended.

        Args:
            members: their services.
            suspended: those that go on.
            addresses: in the network of the cluster; None: the next ones that are free.

        Raises:
            BadNetwork: they can't have these addresses, or there are too few.
        """
        numbers = self._context.numbers.take(self.name, len(members))
        names = [f"{self.name}-{number}" for number in numbers]
        taken_up = itertools.chain(suspended, itertools.repeat(None))
        places = self._places(names, members, suspended, addresses)
        return tuple(
            Instance(self._context, name, member, one, place)
            for name, member, one, place in zip(names, members, taken_up, places, strict=False)
        )

    def _places(
        self,
        names: Sequence[str],
        members: Sequence[Member],
        suspended: Sequence[SuspendedInstance],
        addresses: Sequence[str] | None,
    ) -> Sequence[Place | None]:
        session, network = self._context.session, self._context.network
        if any(one.network_ip for one in suspended):
            return [session.networks.place_of(one, self._context) for one in suspended]
        if suspended or network is None:
            return [None] * len(names)
        # A service may give itself a name in its constructor.
        own_names = [
            name if service.name == type(service).__name__ else service.name
            for name, (service, _) in zip(names, members, strict=True)
        ]
        return session.networks.places(network, own_names, self._context, addresses)

    def add(self, instances: Sequence[Instance]) -> None:
        """Add instances that were made.

        Raises:
            NotRunning: the cluster was stopped, or has expired.
        """
        with self._changed:
            if self._closed:
                raise NotRunning(f"the cluster of {self.name} has been stopped: run the service once more")
            self._instances = (*self._instances, *instances)

    def close(self) -> tuple[Instance, ...]:
        """Add no more instances; returns all there are."""
        with self._changed:
            self._closed = True
            return self._instances

    @property
    def all(self) -> tuple[Instance, ...]:
        """All instances, those that have ended included."""
        return self._instances

    @property
    def not_stopped(self) -> tuple[Instance, ...]:
        """All but those that somebody has stopped."""
        return self._those(lambda one: one.failure is not None or not one._was_stopped)

    @property
    def got_through(self) -> tuple[Instance, ...]:
        """Those that are running, or have ended by themselves after they ran."""
        return self._those(lambda one: one._got_through)

    @property
    def ended_too_early(self) -> tuple[Instance, ...]:
        """Those that have ended, and won't get through any more."""
        return self._those(lambda one: one.state.is_final and not one._got_through)

    @property
    def running(self) -> tuple[Instance, ...]:
        """Those in the state running."""
        return self._those(lambda one: one.state is ServiceState.running)

    @property
    def pending(self) -> tuple[Instance, ...]:
        """Those that look for a provider."""
        return self._those(lambda one: one.state is ServiceState.pending)

    @property
    def not_ending(self) -> tuple[Instance, ...]:
        """Those that have not ended, and are not to end."""
        return self._those(lambda one: not one._record.is_ending)

    @property
    def have_ended(self) -> bool:
        """Whether all have ended."""
        return all(one.state.is_final for one in self._instances)

    @property
    def states(self) -> str:
        """The states of all, in words."""
        return ", ".join(f"{one.name} {one.state.value}" for one in self._instances)

    def _those(self, are_wanted: Callable[[Instance], bool]) -> tuple[Instance, ...]:
        return tuple(one for one in self._instances if are_wanted(one))


def last_attempts(instances: Iterable[Instance]) -> str:
    """Return a line for each instance whose latest life has failed, and which is to run still."""
    failed = [(one, one.failure) for one in instances if one.state in NOT_STARTED]
    return "".join(
        f"\n  the last attempt of {one.name} failed{_place_in_words(failure)}: {_line_of(failure)}"
        for one, failure in failed
        if failure is not None
    )


def service_failed(instances: Sequence[Instance], what: str) -> ServiceFailed:
    """Return an error that names each of the instances that failed, in a line."""
    for one in instances:
        one._failure_told = True
    failed = [(one, one.failure) for one in instances if one.failure is not None]
    lines = "".join(f"\n  {_line_about(one, failure)}" for one, failure in failed)
    if not lines and instances:
        lines = f" {instances[0]._record.stop_scope.reason or 'they were stopped'}"
    error = ServiceFailed(f"{what}:{lines}", [failure for _, failure in failed])
    for one, failure in failed:
        if failure is one._record.waited_in_vain:
            error.__cause__ = failure  # nobody has reported it
            break
    return error


def _line_about(instance: Instance, failure: BaseException) -> str:
    if failure is instance._record.waited_in_vain:
        return f"{instance.name} has never run"
    provider = instance.provider_name
    where = f" on {provider}" if provider else ""
    return f"{instance.name}{where}{_place_in_words(failure)}: {_line_of(failure)}"


def _place_in_words(failure: BaseException) -> str:
    place = place_of(failure)
    return f", {place}" if place else ""


def _line_of(failure: BaseException) -> str:
    return f"{first_line(failure)}{_stderr(failure)}"


def _stderr(failure: BaseException) -> str:
    """The last line that a failed command wrote to stderr, which often says more than its exit code."""
    lines = failure.stderr.split("\n") if isinstance(failure, CommandFailed) else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    return f" (stderr: {printable(last.strip(), _MOST_CHARACTERS)})" if last else ""
