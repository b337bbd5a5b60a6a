"""One instance of a service: its state, its failure, and life after life."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import datetime, timezone

import tenacity
from tenacity.stop import StopBaseT
from tenacity.wait import WaitBaseT

from ..background.cancellation import Deadline, Scope, checked_seconds, wait_until
from ..background.threads import InstancePool, on_engine_thread
from ..engine.activity.output_printer import refuse_while_giving_out
from ..engine.life.life import Life
from ..engine.life.life_state import LifeAbandoned, Outcome
from ..engine.life.user_traceback import error_text, user_lines
from ..engine.market.demand import Demand
from ..engine.market.listing import Listing
from ..engine.session import Session
from ..engine.shutdown_times import ShutdownTimes
from ..errors import (
    BadRespawn,
    BadState,
    BatchTimeout,
    GolemError,
    MethodStuck,
    NotRunning,
    ServiceFailed,
    StartTimeout,
    WaitTimeout,
)
from ..model.commands.commands import Command, batch_of
from ..model.commands.results import Results
from ..model.cost import Cost
from ..model.events import InstanceFailed, StartProgress, StateChanged
from ..model.payload.payload import Payload
from ..model.service.service import Service
from ..model.service.states import TRANSITIONS, ServiceState
from ..model.service.suspended import SuspendedInstance

logger = logging.getLogger(__name__)

_ON_THEIR_WAY = (ServiceState.pending, ServiceState.starting)


# The service of an instance's first life, and what makes those of the others.
Member = tuple[Service, Callable[[], Service]]


@dataclass(frozen=True, slots=True)
class Respawn:
    """When an instance begins a new life on another provider."""

    unstarted: bool
    running: bool
    stop: StopBaseT
    wait: WaitBaseT

    @classmethod
    def checked(cls, unstarted: bool, running: bool, stop: StopBaseT, wait: WaitBaseT) -> Respawn:
        """What a user gave, or `BadRespawn`."""
        for name, flag in (("respawn_unstarted_instances", unstarted), ("respawn_running", running)):
            if not isinstance(flag, bool):
                raise BadRespawn(f"{name} is {flag!r}: give True or False")
        if not callable(stop):
            raise BadRespawn(f"respawn_stop is {stop!r}: give e.g. tenacity.stop_after_attempt(3)")
        if not callable(wait):
            raise BadRespawn(f"respawn_wait is {wait!r}: give e.g. tenacity.wait_fixed(2)")
        return cls(unstarted, running, stop, wait)


@dataclass(frozen=True, slots=True)
class ClusterContext:
    """What the instances of one cluster share."""

    session: Session
    listing: Listing
    changed: threading.Condition
    respawn: Respawn
    stop_grace: float
    start_timeout: float | None
    payload: Payload
    living: set[Instance] = field(default_factory=set)
    changes: list[tuple[Instance, ServiceState]] = field(default_factory=list)

    @property
    def demand(self) -> Demand:
        """What is on the market for them at present."""
        return self.listing.demand

    def tell_progress(self, cluster: str) -> None:
        """Tell how many run; called under the lock, so that the last word of several is the latest."""
        running = sum(one.state not in _ON_THEIR_WAY for one in self.living)
        self.session.emit(StartProgress(cluster, running, len(self.living)))


class Instance:
    """One instance of a service; it stays the same object whatever providers it lives on.

    Attributes:
        name: in logs and thread names; may be assigned.
        service: the user's own object; a new one for each life.
        failure: what its last life ended with, None if nothing went wrong.
    """

    def __init__(
        self, context: ClusterContext, name: str, member: Member, adopted: SuspendedInstance | None = None
    ) -> None:
        self.name = name
        self.failure: BaseException | None = None
        self.service, self._make_service = member
        self._adopted = adopted
        self._suspended: SuspendedInstance | None = None
        self.stop_scope = Scope()
        self._context = context
        self._changed = context.changed
        self._state = ServiceState.pending
        self._history = [(ServiceState.pending, datetime.now(timezone.utc))]
        self._life: Life | None = None
        self._endings: list[ShutdownTimes] = []
        self._agreements: list[str] = []
        self.failure_told = False
        self.was_stopped = False
        self._cut_off: GolemError | None = None
        self._pool = InstancePool(name, self._live)

    # --- what a user reads ----------------------------------------------------------------------------

    @property
    def state(self) -> ServiceState:
        """Where the instance is in its life; a `str` too: `instance.state == "running"`."""
        return self._state

    @property
    def history(self) -> tuple[tuple[ServiceState, datetime], ...]:
        """Every state it has been in, and since when (UTC)."""
        with self._changed:
            return tuple(self._history)

    @property
    def has_run(self) -> bool:
        """Whether it is running, or has ever been."""
        with self._changed:
            return any(state is ServiceState.running for state, _ in self._history)

    @property
    def got_through(self) -> bool:
        """Whether it is running, or was and is ending by itself, with nothing gone wrong."""
        if self._state is ServiceState.running:
            return True
        over = self._state is ServiceState.stopping or self._state.is_final
        return over and self.has_run and not self.was_stopped and self.failure is None

    @property
    def provider_name(self) -> str | None:
        """The name of the provider it lives on, or lived on last; None before the first agreement."""
        return self._life.link.provider_name if self._life else None

    @property
    def provider_id(self) -> str | None:
        """The node id of that provider."""
        return self._life.link.provider_id if self._life else None

    @property
    def cost(self) -> Cost:
        """What it cost so far, on all providers it has lived on."""
        return self._context.session.cost(self._agreements)

    @property
    def activity_id(self) -> str | None:
        """The id of its activity; None before there is one."""
        return self._life.link.activity_id if self._life else None

    def __repr__(self) -> str:
        where = f" on {self.provider_name}" if self.provider_name else ""
        return f"<Instance {self.name}: {self._state.value}{where}>"

    # --- what a user does -----------------------------------------------------------------------------

    def execute(self, *commands: Command, timeout: float | None = None) -> Results:
        """Run commands on the provider while the instance is running; blocks until they have ended.

        May be called from any thread. Batches go one after the other, first come, first served.

        Args:
            commands: run as one batch; without any, nothing is sent.
            timeout: seconds at most; None waits as long as the instance lives.

        Raises:
            NotRunning: the instance does not run at present.
            CommandFailed: a command ended with an error; the instance goes on.
            BatchTimeout: it took longer; it may still be running.
            BatchLost: the instance was stopped or lost before the end.
        """
        return self.result_of(self.submit(commands, timeout), timeout)

    def result_of(self, future: Future[Results], timeout: float | None) -> Results:
        """What a submitted batch answered, waiting no longer for its turn than `timeout` seconds."""
        try:
            return future.result(timeout)
        except FutureTimeout as error:
            if isinstance(error, GolemError) or not future.cancel():
                return future.result()  # it has been sent, and keeps its own time
            raise BatchTimeout(
                f"the batches of {self.name} before this one took all of its time; it was not sent"
            ) from error

    def submit(self, commands: tuple[Command, ...], timeout: float | None) -> Future[Results]:
        """Have `execute` done by the instance's helper thread; returns a Future of its results."""
        checked_seconds(timeout, "timeout")
        refuse_while_giving_out()
        batch = batch_of(commands)
        life = self._life
        if not batch or life is None or self._state.is_final or life.link.is_current:
            return _at_once(self._execute_here, life, batch, timeout)
        try:
            return self._pool.submit(_in_time, life, batch, Deadline(timeout))
        except RuntimeError:
            return _at_once(self._execute_here, life, batch, timeout)

    def _execute_here(self, life: Life | None, batch: tuple[Command, ...], timeout: float | None) -> Results:
        if not batch:
            return Results()
        if life is not None and life.link.is_current:
            return life.link.execute(batch, timeout)
        raise NotRunning(f"{self.name} is {self._state.value}: commands can be run while it is running")

    def stop(self, wait: bool = True, timeout: float | None = None) -> None:
        """Stop the instance: a batch under way may end, `shutdown()` runs, the activity is destroyed.

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
        with self._changed:
            if not wait_until(self._changed, lambda: self._state.is_final, limit):
                raise WaitTimeout(f"{self.name} was {self._state.value} still after {timeout} s of stopping")

    def suspend(self, timeout: float | None = None) -> SuspendedInstance:
        """End the instance in this session, but leave its agreement and activity alive for a later one.

        `run()` is ended as by a stop, and `shutdown()` is not called. Blocks until a batch under way has
        ended, for the grace of a stop at most. Nobody answers its provider's debit notes until it is resumed,
        so a provider may end it in the meantime.

        Args:
            timeout: seconds to wait at most.

        Returns:
            What `golem.resume_service` needs; keep it in a file for a later script.

        Raises:
            NotRunning: it is not running, or has ended otherwise meanwhile.
            WaitTimeout: it was not done in time.
        """
        limit = checked_seconds(timeout, "timeout")
        refuse_on_engine_thread("suspend()")
        self.begin_suspending()
        with self._changed:
            if not wait_until(self._changed, lambda: self._state.is_final, limit):
                raise WaitTimeout(
                    f"{self.name} was {self._state.value} still after {timeout} s of suspending"
                )
        if self._suspended is None:
            raise NotRunning(f"{self.name} is {self._state.value} and could not be suspended")
        return self._suspended

    @property
    def suspended(self) -> SuspendedInstance | None:
        """What `golem.resume_service` needs, once it was suspended."""
        return self._suspended

    def begin_suspending(self) -> None:
        """Ask for it to be suspended; does not block."""
        with self._changed:
            life = self._life
            if life is None or self._state is not ServiceState.running:
                raise NotRunning(
                    f"{self.name} is {self._state.value}: only a running instance can be suspended"
                )
            self.was_stopped = True
        life.suspend(ShutdownTimes.ordinary(self._context.stop_grace))
        self.stop_scope.cancel("it is being suspended")

    def wait_for(self, state: ServiceState | str, timeout: float | None = None) -> None:
        """Block until the instance is in `state`.

        Args:
            state: the state, or its name. One that was running and has ended by now counts as running.
            timeout: seconds to wait at most; None waits until the instance has ended.

        Raises:
            ServiceFailed: it has ended in another state.
            WaitTimeout: it did not get there in time.
        """
        wanted = _state_named(state)
        limit = checked_seconds(timeout, "timeout")
        with self._changed:
            wait_until(self._changed, lambda: self._has_been(wanted) or self._state.is_final, limit)
            reached = self._state
            if self._has_been(wanted):
                return
        if reached.is_final:
            self.failure_told = True
            raise ServiceFailed(
                f"{self.name} is {reached.value} and won't be {wanted.value}"
            ) from self.failure
        raise WaitTimeout(f"{self.name} is not {wanted.value} after {timeout} s but {reached.value}")

    def _has_been(self, wanted: ServiceState) -> bool:
        # An instance may run for a shorter time than it takes the waiting thread to look.
        return self._state is wanted or (wanted is ServiceState.running and self.has_run)

    # --- what its cluster does ------------------------------------------------------------------------

    def begin(self) -> None:
        """Start to live."""
        self._pool.start()
        limit = self._context.start_timeout
        if limit is not None:
            self._context.session.timer.call_in(limit, self._check_started)

    def _check_started(self) -> None:
        with self._changed:
            if self.has_run or self._state.is_final or self.stop_scope.cancelled:
                return
            error = StartTimeout(
                f"{self.name} was {self._state.value} still after its start timeout of "
                f"{self._context.start_timeout:g} s"
            )
        self.cut_off(ShutdownTimes.ordinary(self._context.stop_grace), error)

    def end(self, ending: ShutdownTimes, reason: str) -> None:
        """End the instance in the times of `ending`; from any thread, without blocking."""
        with self._changed:
            self.was_stopped = self.was_stopped or not self._state.is_final
        self._end(ending, reason)

    def cut_off(self, ending: ShutdownTimes, error: GolemError) -> None:
        """End the instance for a reason that counts as its failure; from any thread, without blocking."""
        with self._changed:
            if self._state.is_final or self.stop_scope.cancelled:
                return
            self._cut_off = error
        self._end(ending, str(error))

    def _end(self, ending: ShutdownTimes, reason: str) -> None:
        with self._changed:
            self._endings.append(ending)
            life = self._life
        self.stop_scope.cancel(reason)
        if life is not None:
            life.end(ending, reason)

    def join(self, timeout: float) -> list[str]:
        """Join its threads; returns the names of those that are abandoned."""
        if self.stuck:
            return [self.name]
        return self._pool.close(timeout)

    # --- its lives, on its own thread -----------------------------------------------------------------

    def _live(self) -> None:
        try:
            outcome = self._lives()
        except LifeAbandoned:
            return
        except BaseException as error:  # noqa: BLE001 - a constructor's, or a respawn_stop's of the user
            logger.error("%s failed:\n%s", self.name, user_lines(error))
            outcome = Outcome(error, False, False)
        self._finish(outcome)

    def _lives(self) -> Outcome:
        while True:
            outcome: Outcome = self._attempts()
            if not (outcome.ran and self._may_respawn(outcome)):
                return outcome
            self._announce_respawn(outcome)
            self.enter(ServiceState.pending)
            self.stop_scope.wait(1.0)

    def _attempts(self) -> Outcome:
        """Lives until one got to running, or respawning is at its end."""

        def sleep(seconds: float) -> None:
            self.stop_scope.wait(seconds)

        def again(state: tenacity.RetryCallState) -> None:
            if state.outcome is not None:
                self._announce_respawn(state.outcome.result())
            self.enter(ServiceState.pending)

        def last(state: tenacity.RetryCallState) -> Outcome:
            outcome: Outcome = state.outcome.result()  # type: ignore[union-attr]
            return outcome

        respawn = self._context.respawn
        return tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda outcome: not outcome.ran and self._may_respawn(outcome)),
            stop=respawn.stop,
            wait=respawn.wait,
            sleep=sleep,
            before_sleep=again,
            retry_error_callback=last,
        )(self._one_life)

    def _one_life(self) -> Outcome:
        if self._life is not None:
            if self.stop_scope.cancelled:
                return Outcome(self.failure, False, False)
            self.service = self._make_service()
        adopted, self._adopted = self._adopted, None
        life = Life(self._context.session, self._context.demand, self.service, self, adopted)
        with self._changed:
            self._life = life
            endings = list(self._endings)
        for ending in endings:
            life.end(ending, self.stop_scope.reason)
        outcome = life.live()
        self.failure = outcome.failure
        return outcome

    def _may_respawn(self, outcome: Outcome) -> bool:
        if not outcome.elsewhere or self.stop_scope.cancelled or self._state is ServiceState.stopping:
            return False
        return self._context.respawn.running if outcome.ran else self._context.respawn.unstarted

    def _announce_respawn(self, outcome: Outcome) -> None:
        logger.warning("%s is started again on another provider", self.name)
        self._context.session.emit(InstanceFailed(self.name, error_text(outcome.failure), respawned=True))

    def _finish(self, outcome: Outcome) -> None:
        self.failure = outcome.failure or self._cut_off
        if outcome.failure is None and self._cut_off is not None:
            logger.error("%s: %s", self.name, self._cut_off)
        if outcome.elsewhere:
            logger.error("%s has failed and is not started again", self.name)
        if self.failure is not None:
            self._context.session.emit(InstanceFailed(self.name, error_text(self.failure), respawned=False))
        with self._changed:
            self._context.living.discard(self)
            if not self._context.living:
                # In one step with finding that nobody is left, so that a `spawn` sees it.
                self._context.session.withdraw(self._context.demand)
        self._suspended = outcome.suspended
        self.enter(ServiceState.suspended if outcome.suspended else ServiceState.terminated)

    # --- what a life does to its instance -------------------------------------------------------------

    def enter(self, state: ServiceState) -> None:
        """The one place where a state changes; the table of transitions decides."""
        with self._changed:
            if state is self._state:
                return
            if state not in TRANSITIONS[self._state]:
                logger.debug("%s can't go from %s to %s", self.name, self._state.value, state.value)
                return
            old, self._state = self._state, state
            self._history.append((state, datetime.now(timezone.utc)))
            self._context.changes.append((self, state))
            self._changed.notify_all()
            self._context.tell_progress(type(self.service).__name__)
        self._context.session.emit(StateChanged(self.name, old, state))

    def stop_from_inside(self) -> None:
        self._end(ShutdownTimes.ordinary(self._context.stop_grace), "the service called stop()")

    def has_agreement(self, agreement_id: str, provider: str) -> None:
        """Its life has an agreement now; called on the life thread, which is named after the provider."""
        self._agreements.append(agreement_id)
        threading.current_thread().name = f"{self.name}@{provider}"

    def life_abandoned(self, outcome: Outcome) -> None:
        self._finish(outcome)

    @property
    def stuck(self) -> bool:
        """Whether a method of its service never returned, and its thread had to be abandoned."""
        return isinstance(self.failure, MethodStuck)


def refuse_on_engine_thread(call: str) -> None:
    """An error for a call that would wait for the very thread that makes it."""
    if on_engine_thread():
        raise NotRunning(
            f"{call} waits for the instances: call it from your script, not from a service's method"
        )


def _in_time(life: Life, batch: tuple[Command, ...], deadline: Deadline) -> Results:
    """What the helper does: the time of a batch begins when it is asked for, not when its turn comes."""
    left = deadline.remaining()
    if left <= 0:
        raise BatchTimeout("the batches before this one took all of its time; it was not sent")
    return life.link.execute_outside(batch, None if left == math.inf else left)


def _state_named(state: ServiceState | str) -> ServiceState:
    try:
        return ServiceState(state)
    except ValueError as error:
        names = ", ".join(one.value for one in ServiceState)
        raise BadState(f"there is no state {state!r}: the states are {names}") from error


def _at_once(
    work: Callable[[Life | None, tuple[Command, ...], float | None], Results],
    life: Life | None,
    batch: tuple[Command, ...],
    timeout: float | None,
) -> Future[Results]:
    future: Future[Results] = Future()
    try:
        future.set_result(work(life, batch, timeout))
    except Exception as error:  # noqa: BLE001 - handed over to whoever reads the Future
        future.set_exception(error)
    return future
