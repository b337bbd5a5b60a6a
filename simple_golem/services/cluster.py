"""Several instances of one service: started, awaited, stopped and asked together."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial, reduce
from types import TracebackType
from typing import Any

from ..background.cancellation import Deadline, checked_seconds, wait_until
from ..background.signals import Terminated
from ..background.threads import on_engine_thread
from ..engine.shutdown_times import ShutdownTimes
from ..errors import BadInstanceCount, GolemError, NotRunning, ServiceFailed, WaitTimeout
from ..model.commands.commands import Command
from ..model.commands.results import Results
from ..model.cost import Cost
from ..model.service.service import Service, made_for
from ..model.service.service_class import service_factories
from ..model.service.states import ServiceState
from ..model.service.suspended import SuspendedInstance
from .instance import ClusterContext, Instance, Member, refuse_on_engine_thread

logger = logging.getLogger(__name__)

_FIRST_WARNING_SECONDS = 10.0
_NEXT_WARNING_SECONDS = 60.0


class Cluster:
    """The instances of one service; made by `golem.run_service`.

    Attributes:
        expiration: when the cluster ends of itself (UTC).
    """

    def __init__(
        self,
        context: ClusterContext,
        service_class: type[Service],
        members: Sequence[Member],
        expiration: datetime,
        adopted: Sequence[SuspendedInstance] = (),
    ) -> None:
        self.expiration = expiration
        self._context = context
        self._changed = context.changed
        self._class = service_class
        self._name = service_class.__name__
        self._ending = False
        self._instances: list[Instance] = []
        self._named = 0
        self._instances += self._make(members, adopted)

    def _make(
        self, members: Sequence[Member], adopted: Sequence[SuspendedInstance] = ()
    ) -> tuple[Instance, ...]:
        """Make instances that do not live yet."""
        with self._changed:
            first = self._named + 1
            self._named += len(members)
        kept = itertools.chain(adopted, itertools.repeat(None))
        return tuple(
            Instance(self._context, f"{self._name}-{number}", member, one)
            for number, (member, one) in enumerate(zip(members, kept, strict=False), first)
        )

    def open_market(self) -> None:
        """Publish the demand; part of `run_service`."""
        self._context.listing.open()

    def begin(self) -> None:
        """Start every instance; part of `run_service`."""
        with self._changed:
            self._context.living.update(self._instances)
            self._context.tell_progress(self._name)
        for instance in self._instances:
            instance.begin()
        self._context.session.timer.call_in(_FIRST_WARNING_SECONDS, self._say_who_waits)

    # --- what a user reads ----------------------------------------------------------------------------

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances, those that have ended included."""
        return tuple(self._instances)

    @property
    def is_untouched(self) -> bool:
        """Whether none of it has run, failed, or was stopped."""
        return not any(one.has_run or one.state.is_final or one.was_stopped for one in self._instances)

    @property
    def cost(self) -> Cost:
        """What all its instances cost so far."""
        costs = [instance.cost for instance in self._instances]
        return reduce(lambda sum_, cost: sum_.add(cost.amount), costs, self._context.session.cost(()))

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances)

    def __len__(self) -> int:
        return len(self._instances)

    def __repr__(self) -> str:
        return f"<Cluster of {len(self)} {self._name}: {self._states()}>"

    def _states(self) -> str:
        return ", ".join(f"{instance.name} {instance.state.value}" for instance in self._instances)

    # --- waiting --------------------------------------------------------------------------------------

    def wait_until_running(
        self, timeout: float | None = None, count: int | None = None
    ) -> tuple[Instance, ...]:
        """Block until instances are running, and return those.

        One that was running, and has ended by itself before anybody could look, counts as well.

        Args:
            timeout: seconds to wait at most; None waits until the cluster's expiration.
            count: how many are enough; None means all but those that were stopped.

        Raises:
            ServiceFailed: so many instances have ended that it can't happen any more.
            WaitTimeout: it did not happen in time; the message lists who is not running.
            BadInstanceCount: `count` is less than one or more than there are instances.
        """
        limit = checked_seconds(timeout, "timeout")
        enough = max(1, len(self._wanted())) if count is None else count
        if isinstance(enough, bool) or not isinstance(enough, int) or not 1 <= enough <= len(self):
            raise BadInstanceCount(f"count is {count!r}: give 1 to {len(self)}, the number of instances")

        def decided() -> bool:
            return len(self._got_through()) >= enough or len(self) - len(self._lost()) < enough

        with self._changed:
            wait_until(self._changed, decided, limit)
            running, lost = self._got_through(), self._lost()
        if len(running) >= enough:
            return running
        if len(self) - len(lost) < enough:
            raise failed(
                lost,
                f"{len(lost)} of {len(self)} instances have ended, so {enough} can't be running any more:",
            )
        raise WaitTimeout(
            f"{len(running)} of {enough} instances were running after {timeout} s: {self._states()}; "
            f"{self.market_report()}"
        )

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all instances have ended, or for `timeout` seconds; True if all have ended.

        Never raises for an instance that failed: see `instance.failure`, and leaving `with Golem` does.
        """
        limit = checked_seconds(timeout, "timeout")
        with self._changed:
            return wait_until(self._changed, lambda: len(self._ended()) == len(self), limit)

    def state_changes(self, timeout: float | None = None) -> Iterator[tuple[Instance, ServiceState]]:
        """Iterate over all changes of state, from the first one on, each with its instance.

        Blocks for each until it happens, and ends when all instances have ended.

        Args:
            timeout: seconds after which it ends in any case; None is no bound.
        """
        left = Deadline(checked_seconds(timeout, "timeout"))
        told = 0
        while True:
            with self._changed:
                more = partial(self._has_changes_after, told)
                wait_until(self._changed, more, None if timeout is None else left.remaining())
                news = self._context.changes[told:]
            if not news:
                return
            told += len(news)
            yield from news

    def _has_changes_after(self, told: int) -> bool:
        return len(self._context.changes) > told or len(self._ended()) == len(self)

    def _wanted(self) -> tuple[Instance, ...]:
        """All but those that somebody has stopped."""
        return tuple(one for one in self._instances if one.failure is not None or not one.was_stopped)

    def _got_through(self) -> tuple[Instance, ...]:
        return tuple(one for one in self._instances if one.got_through)

    def _lost(self) -> tuple[Instance, ...]:
        return tuple(one for one in self._instances if one.state.is_final and not one.got_through)

    def _running(self) -> tuple[Instance, ...]:
        return tuple(one for one in self._instances if one.state is ServiceState.running)

    def _ended(self) -> tuple[Instance, ...]:
        return tuple(one for one in self._instances if one.state.is_final)

    # --- doing ----------------------------------------------------------------------------------------

    def execute(
        self, *commands: Command, timeout: float | None = None
    ) -> Mapping[Instance, Results | GolemError]:
        """Run the same commands on all running instances, side by side; blocks until all have answered.

        Args:
            commands: run as one batch on each.
            timeout: seconds at most for each; None waits as long as the instance lives.

        Returns:
            For each instance that was running its results, or the error that its `execute` would raise.
        """
        with self._changed:
            running = self._running()
        asked = {instance: instance.submit(commands, timeout) for instance in running}
        answers: dict[Instance, Results | GolemError] = {}
        left = Deadline(timeout)
        for instance, future in asked.items():
            try:
                seconds = None if timeout is None else left.remaining()
                answers[instance] = instance.result_of(future, seconds)
            except GolemError as error:
                answers[instance] = error
        return answers

    def spawn(
        self,
        num_instances: int | None = None,
        *,
        instance_params: Sequence[Mapping[str, Any]] | None = None,
    ) -> tuple[Instance, ...]:
        """Start further instances, and return them at once; they end with the cluster.

        Args:
            num_instances: how many; 1 if neither this nor `instance_params` says more.
            instance_params: keyword arguments of the constructor, a mapping for each instance.

        Raises:
            BadInstanceCount: a number that makes no sense.
            NotRunning: the cluster was stopped, or has expired.
            Exception: whatever the constructor of the service raises; none is started then.
        """
        makers = [
            partial(made_for, self._context.payload, make)
            for make in service_factories(self._class, num_instances, instance_params)
        ]
        # Users' constructors run under no lock, and none is started if one raises.
        new = self._make([(make(), make) for make in makers])
        with self._changed:
            if self._ending:
                raise NotRunning(f"the cluster of {self._name} has been stopped: run the service once more")
            self._instances += new
            self._context.living.update(new)
            self._context.tell_progress(self._name)
        try:
            self._context.session.on_worker(self._context.listing.open)
        except BaseException:
            for instance in new:
                instance.end(ShutdownTimes.aborted(), "no demand could be published for it")
            raise
        finally:
            for instance in new:
                instance.begin()
        return new

    def resize(self, num_instances: int, wait: bool = True) -> None:
        """Have `num_instances` instances alive: start new ones, or stop the youngest.

        Args:
            num_instances: how many, 0 or more.
            wait: whether to block until those that are stopped have ended.

        Raises:
            BadInstanceCount: a number that makes no sense.
            NotRunning: the cluster was stopped, or has expired.
        """
        if isinstance(num_instances, bool) or not isinstance(num_instances, int) or num_instances < 0:
            raise BadInstanceCount(f"num_instances is {num_instances!r}: give a whole number, 0 or more")
        alive = [one for one in self._instances if not one.state.is_final and not one.stop_scope.cancelled]
        if len(alive) < num_instances:
            self.spawn(num_instances - len(alive))
        surplus = alive[num_instances:]
        for instance in surplus:
            instance.stop(wait=False)
        if wait:
            for instance in surplus:
                instance.stop()

    def stop(self, wait: bool = True, timeout: float | None = None) -> None:
        """Stop all instances: `shutdown()` runs, agreements are ended, activities destroyed.

        Blocks until that is done; called from a method of a service it only asks for it.

        Args:
            wait: False to ask for the stop and return at once.
            timeout: seconds to wait at most; the stopping goes on after that.

        Raises:
            WaitTimeout: it was not done in time.
        """
        limit = checked_seconds(timeout, "timeout")
        self.end(ShutdownTimes.ordinary(self._context.stop_grace), "stop() was called")
        if not wait or on_engine_thread():
            return
        if not self.wait(limit):
            raise WaitTimeout(f"not all instances had stopped after {timeout} s: {self._states()}")

    def suspend(self, timeout: float | None = None) -> tuple[SuspendedInstance, ...]:
        """Leave all running instances alive for a later session, and stop the others; see `Instance.suspend`.

        Args:
            timeout: seconds to wait at most.

        Returns:
            One entry for each instance that was suspended, for `golem.resume_service`.

        Raises:
            WaitTimeout: it was not done in time.
        """
        limit = checked_seconds(timeout, "timeout")
        refuse_on_engine_thread("suspend()")
        with self._changed:
            self._ending = True
            instances = self.instances
        for instance in instances:
            try:
                instance.begin_suspending()
            except NotRunning:
                instance.stop(wait=False)
        self._context.session.withdraw(self._context.demand)
        if not self.wait(limit):
            raise WaitTimeout(f"not all instances were suspended after {timeout} s: {self._states()}")
        return tuple(one.suspended for one in instances if one.suspended is not None)

    def end(self, ending: ShutdownTimes, reason: str) -> None:
        """End all instances in the times of `ending`, and take the demand off the market; does not block."""
        with self._changed:
            self._ending = True
            instances = self.instances
        for instance in instances:
            instance.end(ending, reason)
        self._context.session.withdraw(self._context.demand)

    def cut_off(self, ending: ShutdownTimes, error: GolemError) -> None:
        """End all instances for a reason that counts as their failure; does not block."""
        with self._changed:
            self._ending = True
            instances = self.instances
        for instance in instances:
            instance.cut_off(ending, error)
        self._context.session.withdraw(self._context.demand)

    def join(self, timeout: float) -> list[str]:
        """Join the threads of all instances; returns the names of those that are abandoned."""
        left = Deadline(timeout)
        return [name for one in self._instances for name in one.join(left.remaining())]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (KeyboardInterrupt, Terminated)):
            # Leaving `with Golem` waits for it, in the short times of an interruption.
            self.end(ShutdownTimes.interrupted(), "the program was interrupted")
            return
        self.stop()

    # --- nobody waits in the dark ---------------------------------------------------------------------

    def _say_who_waits(self) -> None:
        waiting = [one for one in self._instances if one.state is ServiceState.pending]
        if len(self._ended()) == len(self):
            return
        self._context.session.timer.call_in(_NEXT_WARNING_SECONDS, self._say_who_waits)
        if waiting and not waiting[0].stop_scope.cancelled:
            found = len(self) - len(waiting)
            logger.warning("%s: %d of %d found; %s", self._name, found, len(self), self.market_report())

    def market_report(self) -> str:
        """What providers have answered so far, in words."""
        demand = self._context.demand
        subnet = self._context.session.settings.subnet_tag
        summary = demand.offers.summary()
        report = f"{summary.seen} offer{'' if summary.seen == 1 else 's'} seen in the subnet {subnet!r}"
        if not summary.seen:
            asked = "is that the right subnet, and does the payload ask for what anybody has?"
            return f"{report}: {asked}"
        report += f", {summary.occupied} busy"
        rejected = "".join(f", {number} rejected because: {why}" for why, number in summary.rejections)
        return report + rejected


def failed(instances: Sequence[Instance], what: str) -> ServiceFailed:
    """The error that names each of `instances` that failed, with the first one's cause chained."""
    for one in instances:
        one.failure_told = True
    causes = [(one, one.failure) for one in instances if one.failure is not None]
    lines = "".join(
        f"\n  {one.name}{f' on {one.provider_name}' if one.provider_name else ''}: "
        f"{type(cause).__name__}: {cause}"
        for one, cause in causes
    )
    error = ServiceFailed(what + lines)
    if causes:
        error.__cause__ = causes[0][1]
    return error
