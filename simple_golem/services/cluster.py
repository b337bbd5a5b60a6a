"""Several instances of one service: started, awaited, stopped and asked together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..background.cancellation import Deadline, checked_seconds, wait_until
from ..background.forks import current_process, refuse_in_child, refused_in_children
from ..background.not_async import not_async
from ..background.signals import Terminated
from ..background.threads import on_engine_thread
from ..engine.shutdown_times import ShutdownTimes
from ..errors import BadInstanceCount, GolemError, NotRunning, WaitTimeout
from ..model.base.from_yapapi import from_yapapi
from ..model.base.table import html_table, text_table
from ..model.commands.commands import Command
from ..model.commands.results import Results
from ..model.commands.shell_options import ShellOptions, shell_command
from ..model.cost import Cost
from ..model.service.service import Service, made_for
from ..model.service.service_class import has_own_shutdown, service_factories
from ..model.service.states import ServiceState
from ..model.service.suspended import SuspendedInstance
from .cluster_context import ClusterContext, explained_report, market_report
from .instance import TABLE_HEAD, Instance, checked_batch, refuse_on_engine_thread
from .instance_group import InstanceGroup, last_attempts, service_failed
from .instance_lives import Member

if TYPE_CHECKING:
    from typing_extensions import Unpack


logger = logging.getLogger(__name__)

_FIRST_SEARCH_WARNING_SECONDS = 10.0
_NEXT_SEARCH_WARNING_SECONDS = 60.0
# The end at an expiration of some seconds gets this long, though its agreements may end before.
_SHORTEST_END_SECONDS = 2.0


@refused_in_children
@not_async
@from_yapapi("Cluster")
class Cluster:
    """The instances of one service; made by `golem.run_service`.

    Attributes:
        expiration: when the cluster ends by itself (UTC).
    """

    def __init__(
        self,
        context: ClusterContext,
        service_class: type[Service],
        members: Sequence[Member],
        expiration: datetime,
        adopted: Sequence[SuspendedInstance] = (),
        network_addresses: Sequence[str] | None = None,
    ) -> None:
        self._made_in = current_process()
        self.expiration = expiration
        self._context = context
        self._changed = context.changed
        self._class = service_class
        self._has_expired = False
        self._name = context.name
        self._group = InstanceGroup(context)
        self._group.add(self._group.make(members, adopted, network_addresses))

    def _open_market(self) -> None:
        """Publish the demand; part of `run_service`. Blocks for as long as the daemon takes."""
        self._context.listing.open()

    def _start(self) -> None:
        """Start all instances; part of `run_service`."""
        self._context.add_living([one._record for one in self.instances])
        for instance in self.instances:
            instance._start()
        self._context.session.timer.call_in(_FIRST_SEARCH_WARNING_SECONDS, self._warn_of_search)

    def _rented(self, timeout: float | None) -> Instance:
        """Return the one instance, once it is running; part of `Golem.rent`, which lists what is raised."""
        (machine,) = self.instances
        machine._tells_its_loss = True
        try:
            self.wait_until_running(timeout)
        except BaseException as error:
            # Nobody has the machine in hand. Leaving `with Golem` waits for it after an interruption.
            is_interrupted = isinstance(error, (KeyboardInterrupt, Terminated))
            self.stop(wait=not is_interrupted)
            raise
        return machine

    # --- what a user reads ----------------------------------------------------------------------------

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances, those that have ended included."""
        return self._group.all

    @property
    def has_expired(self) -> bool:
        """Whether its expiration has ended it."""
        return self._has_expired

    @property
    def _has_shutdown(self) -> bool:
        """Whether the class has a `shutdown` of its own."""
        return has_own_shutdown(self._class)

    @property
    def _is_untouched(self) -> bool:
        """Whether it has instances, and none has run, failed, or was stopped or waited for."""
        return len(self) > 0 and not any(
            one.has_run or one.state.is_final or one._was_stopped or one._record.is_waited_for
            for one in self.instances
        )

    @property
    def _is_occupied(self) -> bool:
        """Whether its instances work for a pool, which tells of their failures."""
        return self._context.occupation is not None

    @property
    def cost(self) -> Cost:
        """What all its instances cost so far."""
        return self._context.session.cost(self._agreement_ids)

    @property
    def _agreement_ids(self) -> tuple[str, ...]:
        """The ids of all agreements that its instances have had."""
        return tuple(one for instance in self.instances for one in instance._record.agreement_ids)

    def __iter__(self) -> Iterator[Instance]:
        return iter(self.instances)

    def __len__(self) -> int:
        return len(self.instances)

    def __repr__(self) -> str:
        return f"<Cluster of {len(self)} {self._name}: {self._group.states}>"

    def __str__(self) -> str:
        """A table of its instances."""
        return text_table(TABLE_HEAD, [one._row() for one in self.instances])

    def _repr_html_(self) -> str:
        return html_table(TABLE_HEAD, [one._row() for one in self.instances], repr(self)[1:-1])

    # --- waiting --------------------------------------------------------------------------------------

    def wait_until_running(
        self, timeout: float | None = None, count: int | None = None
    ) -> tuple[Instance, ...]:
        """Block until instances are running, and return those.

        One that was running, and has ended by itself before anybody could look, counts as well.

        Args:
            timeout: seconds to wait at most; None waits until the expiration of the cluster.
            count: how many are enough; None means all but those that were stopped.

        Raises:
            ServiceFailed: so many instances have ended that it can't happen any more.
            WaitTimeout: it did not happen in time; the message lists who is not running.
            BadInstanceCount: `count` is less than one or more than there are instances.
        """
        limit = checked_seconds(timeout, "timeout")
        group = self._group
        enough = max(1, len(group.not_stopped)) if count is None else count
        if isinstance(enough, bool) or not isinstance(enough, int) or not 1 <= enough <= len(self):
            raise BadInstanceCount(f"count is {count!r}: give 1 to {len(self)}, the number of instances")

        def is_decided() -> bool:
            return len(group.got_through) >= enough or len(self) - len(group.ended_too_early) < enough

        self._refuse_inside("wait_until_running()", but_running=True)
        self._note_wait(limit)
        with self._changed:
            wait_until(self._changed, is_decided, limit)
            running, lost = group.got_through, group.ended_too_early
        if len(running) >= enough:
            return running
        if len(self) - len(lost) < enough:
            raise service_failed(
                lost,
                f"{len(lost)} of {len(self)} instances have ended, so {enough} can't be running any more",
            )
        raise WaitTimeout(
            f"{len(running)} of {enough} instances were running after {timeout} s: {group.states}; "
            f"{self.market_report()}{last_attempts(self.instances)}"
        )

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all instances have ended, or for `timeout` seconds; True if all have ended.

        If the expiration ends them, a warning says so, and `has_expired` is True. Never raises for an
        instance that failed, or that has not run within `timeout`: leaving `with Golem` does.
        """
        limit = checked_seconds(timeout, "timeout")
        self._refuse_inside("cluster.wait()", but_running=False)
        self._note_wait(limit)
        if self._context.wait_until(lambda: self._group.have_ended, limit):
            return True
        if limit:
            self._note_wait_in_vain(limit)
        return False

    def _refuse_inside(self, call: str, *, but_running: bool) -> None:
        """Refuse a wait that its own instance makes, which would wait for itself."""
        for one in self.instances:
            if one._is_on_this_thread and not (but_running and one.has_run):
                raise NotRunning(f"{call} in a method of {one.name} would wait for {one.name} itself")

    def _note_wait(self, limit: float | None) -> None:
        if limit != 0:
            for one in self.instances:
                one._record.is_waited_for = True

    def _note_wait_in_vain(self, seconds: float) -> None:
        pending = [one for one in self.instances if not (one.has_run or one._record.is_ending)]
        report = self.market_report() if pending else ""
        for one in pending:
            one._record.waited_in_vain = WaitTimeout(
                f"{one.name} was {one.state.value} still after a wait of {seconds:g} s; {report}"
                f"{last_attempts([one])}"
            )

    def state_changes(self, timeout: float | None = None) -> Iterator[tuple[Instance, ServiceState]]:
        """Iterate over all changes of state, from the first one on, each with its instance.

        Blocks for each until it happens, and ends when all instances have ended.

        Args:
            timeout: seconds after which it ends in any case; None is no bound.
        """
        left = Deadline(checked_seconds(timeout, "timeout"))
        seen = 0
        while True:
            refuse_in_child(self._made_in)
            with self._changed:
                has_more = partial(self._has_changes_after, seen)
                wait_until(self._changed, has_more, None if timeout is None else left.remaining())
                news = self._context.changes[seen:]
                instances: Mapping[object, Instance] = {one._record: one for one in self.instances}
            if not news:
                return
            seen += len(news)
            for record, state in news:
                yield instances[record], state

    def _has_changes_after(self, seen: int) -> bool:
        return len(self._context.changes) > seen or self._group.have_ended

    # --- doing ----------------------------------------------------------------------------------------

    def execute(
        self, *commands: Command, timeout: float | None = None, check: bool = True
    ) -> Mapping[Instance, Results | GolemError]:
        """Run the same commands on all running instances, side by side; blocks until all have answered.

        Args:
            commands: run as one batch on each.
            timeout: seconds at most for each; None waits as long as the instance lives.
            check: False has results for instances whose command failed, too, instead of its error.

        Returns:
            For each instance that was running its results, or the error that its `execute` would raise.
        """
        batch, limit = checked_batch(commands, timeout)
        asked = {instance: instance._submit(batch, limit) for instance in self._group.running}
        answers: dict[Instance, Results | GolemError] = {}
        left = Deadline(limit)
        for instance, future in asked.items():
            try:
                seconds = None if limit is None else left.remaining()
                answers[instance] = instance._result_of(future, seconds, check)
            except GolemError as error:
                answers[instance] = error
        return answers

    def shell(
        self,
        script: str,
        *,
        timeout: float | None = None,
        check: bool = True,
        **options: Unpack[ShellOptions],
    ) -> Mapping[Instance, Results | GolemError]:
        """Have `/bin/sh` run a script on all running instances: short for `execute(Run.shell(script, …))`.

        Arguments are those of `Instance.shell`, and what is returned is that of `execute`.

        Raises:
            BadCommand: the script, or an option, makes no sense.
        """
        return self.execute(shell_command(script, **options), timeout=timeout, check=check)

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
        factories = [
            partial(made_for, self._context.payload, make)
            for make in service_factories(self._class, num_instances, instance_params)
        ]
        # The user's constructors run without a lock, and if one raises, no instance is started.
        new = self._group.make([(make(), make) for make in factories])
        self._group.add(new)
        # Before the demand is opened, so that the end of the last other instance does not close it again.
        self._context.add_living([one._record for one in new])
        try:
            self._context.session.on_worker(self._context.listing.open)
        except BaseException:
            for instance in new:
                instance._end(ShutdownTimes.aborted(), "no demand could be published for it")
            raise
        finally:
            for instance in new:
                instance._start()
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
        alive = self._group.not_ending
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
        self._end(ShutdownTimes.ordinary(self._context.stop_grace), "stop() was called")
        if not wait or on_engine_thread():
            return
        if not self.wait(limit):
            raise WaitTimeout(f"not all instances had stopped after {timeout} s: {self._group.states}")

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
        instances = self._group.close()
        for instance in instances:
            try:
                instance._record.begin_suspending()
            except NotRunning:
                instance.stop(wait=False)
        self._context.session.demands.withdraw(self._context.demand)
        if not self.wait(limit):
            raise WaitTimeout(f"not all instances were suspended after {timeout} s: {self._group.states}")
        return tuple(one.suspended for one in instances if one.suspended is not None)

    def _end(self, ending: ShutdownTimes, reason: str) -> None:
        """End all instances in the times of `ending`, and take the demand off the market; does not block."""
        instances = self._group.close()
        for instance in instances:
            instance._end(ending, reason)
        self._context.session.demands.withdraw(self._context.demand)

    def _expire(self, seconds: float) -> None:
        """End all instances, because the expiration is `seconds` away; does not block."""
        if self._group.not_ending:
            self._has_expired = True
            logger.warning(
                "%r reaches its expiration in %.1f s and is stopped: for more time give run_service a later "
                "`expiration`",
                self,
                seconds,
            )
        # Its agreements end with the expiration, so they can't be ended in good order after it.
        ending = ShutdownTimes.ordinary(self._context.stop_grace, timeout=max(seconds, _SHORTEST_END_SECONDS))
        self._end(ending, "the expiration has ended the work")

    def _cut_off(self, ending: ShutdownTimes, error: GolemError) -> None:
        """End all instances for a reason that counts as their failure; does not block."""
        instances = self._group.close()
        for instance in instances:
            instance._cut_off(ending, error)
        self._context.session.demands.withdraw(self._context.demand)

    def _join(self, timeout: float) -> list[str]:
        """Join the threads of all instances; returns the names of those that are abandoned."""
        left = Deadline(timeout)
        return [name for one in self.instances for name in one._join(left.remaining())]

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (KeyboardInterrupt, Terminated)):
            # Leaving `with Golem` waits for it, in the short times of an interruption.
            self._end(ShutdownTimes.interrupted(), "the program was interrupted")
            return
        self.stop()

    # --- the search for providers -----------------------------------------------------------------------

    def _warn_of_search(self) -> None:
        """Say once a minute who is still looking for a provider, and why."""
        if self._group.have_ended:
            return
        waiting = self._group.pending
        self._context.session.timer.call_in(_NEXT_SEARCH_WARNING_SECONDS, self._warn_of_search)
        if waiting and not waiting[0]._record.is_ending:
            found = f"{len(self) - len(waiting)} of {len(self)}"
            # The timer's thread must not wait for the daemon.
            self._context.session.workers.post(self._warn_with_reason, found)

    def _warn_with_reason(self, found: str) -> None:
        logger.warning("%s: %s found; %s", self._name, found, self._explained_report())

    def _explained_report(self) -> str:
        """The report of the market and, where no offer was seen, why; blocks for a few requests then."""
        return explained_report(self._context)

    def market_report(self) -> str:
        """What providers have answered so far, in words."""
        return market_report(self._context)
