"""One instance of a service, as a user holds it."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from ..background.cancellation import Deadline, await_future, checked_seconds, wait_until
from ..background.forks import current_process, refused_in_children
from ..background.not_async import not_async
from ..background.signals import Terminated
from ..background.threads import InstancePool, on_engine_thread
from ..engine.activity.output_printer import refuse_while_giving_out
from ..engine.life.user_traceback import first_line, without_frames
from ..engine.network.required_place import require_place
from ..engine.shutdown_times import ShutdownTimes
from ..errors import (
    ActivityLost,
    BadState,
    BadWaitTime,
    BatchLost,
    BatchTimeout,
    CommandFailed,
    GolemError,
    MethodStuck,
    NotRunning,
    ServiceFailed,
    StartTimeout,
    WaitTimeout,
)
from ..model.base.from_yapapi import from_yapapi
from ..model.base.table import html_table
from ..model.commands.commands import Command, batch_of
from ..model.commands.results import Results
from ..model.commands.shell_options import ShellOptions, shell_command
from ..model.cost import Cost, come_up_since, plain
from ..model.service.service import Service
from ..model.service.states import ServiceState
from ..model.service.suspended import SuspendedInstance
from .cluster_context import ClusterContext
from .instance_lives import InstanceLives, Member
from .instance_record import InstanceRecord

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..engine.life.service_link import ServiceLink
    from ..engine.network.place import Place
    from ..model.usage import Usage


# The columns of tables of instances.
TABLE_HEAD = ("instance", "state", "provider", "seconds", "accepted", "come up since")


@refused_in_children
@not_async
@from_yapapi("Service")
class Instance:
    """One instance of a service; it stays the same object on whatever providers it lives.

    In a `with` statement it is stopped at the end.
    """

    def __init__(
        self,
        context: ClusterContext,
        name: str,
        member: Member,
        suspended: SuspendedInstance | None = None,
        place: Place | None = None,
    ) -> None:
        self._made_in = current_process()
        # Whether an error that names its failure was raised already.
        self._failure_told = False
        # Whether a call that fails because the instance was lost counts as such an error.
        self._tells_its_loss = False
        # Its cluster counts by it.
        self._record = InstanceRecord(context, name)
        self._context = context
        self._place = place
        occupation = None if context.occupation is None else partial(context.occupation.serve, self)
        self._lives = InstanceLives(
            context, self._record, member, suspended, self._replace_life, place, occupation
        )
        self._pool = InstancePool(name, self._lives.live)

    def _replace_life(self, target: Callable[[], object]) -> bool:
        return self._pool.replace_life(target)

    # --- what a user reads ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the instance, in logs and threads; may be assigned."""
        return self._record.name

    @name.setter
    def name(self, name: str) -> None:
        self._record.name = name

    @property
    def service(self) -> Service:
        """The object of the user's class; a new one for each life."""
        return self._lives.service

    @property
    def state(self) -> ServiceState:
        """The state of the instance; a `str` too: `instance.state == "running"`."""
        return self._record.state

    @property
    def history(self) -> tuple[tuple[ServiceState, datetime], ...]:
        """Every state it has been in, and since when (UTC)."""
        return self._record.history

    @property
    def has_run(self) -> bool:
        """Whether it is running, or has ever been."""
        return self._record.has_run

    @property
    def _got_through(self) -> bool:
        """Whether it is running, or was and is ending by itself, with nothing gone wrong."""
        return self._record.got_through

    @property
    def _was_stopped(self) -> bool:
        """Whether it was asked to stop, or to be suspended, before it had ended."""
        return self._record.was_stopped

    @property
    def _is_on_this_thread(self) -> bool:
        """Whether the calling thread runs a method of its service."""
        link = self._lives.link
        # After its end another thread may have the number of its own.
        return link is not None and not self.state.is_final and link.is_current

    @property
    def failure(self) -> BaseException | None:
        """What its last life ended with; None if nothing went wrong."""
        return self._record.failure

    @property
    def suspended(self) -> SuspendedInstance | None:
        """What `golem.resume_service` needs, once the instance was suspended."""
        return self._record.suspended

    @property
    def provider_name(self) -> str | None:
        """The name of the provider it lives on, or lived on last; None before the first agreement."""
        link = self._lives.link
        return None if link is None else link.provider_name

    @property
    def provider_id(self) -> str | None:
        """The node id of that provider."""
        return self._lives.link.provider_id if self._lives.link else None

    @property
    def activity_id(self) -> str | None:
        """The id of its activity; None before there is one."""
        return self._lives.link.activity_id if self._lives.link else None

    @property
    def ip(self) -> str | None:
        """Its address in its private network, the same for all its lives; None if it has no network."""
        return None if self._place is None else self._place.ip

    @property
    def host_name(self) -> str | None:
        """The name by which the other instances in its private network find it; None if it has no network.

        It is the name that the instance has when it is made, in lower case, with `-` in place of other signs.
        """
        return None if self._place is None else self._place.host_name

    @property
    def cost(self) -> Cost:
        """What it cost so far, on all providers it has lived on."""
        return self._context.session.cost(self._record.agreement_ids)

    @property
    def usage(self) -> Usage:
        """What it has used so far on its present provider, by the provider's counters: time, processor time.

        Blocks for one request, which the provider's daemon answers: six seconds at most.

        Raises:
            NotRunning: it has no activity yet, or has none any more.
            YagnaError: the provider does not answer.
        """
        link = self._lives.link
        if link is None:
            raise NotRunning(f"{self.name} is {self.state.value}: it has no activity, so there is no usage")
        return link.usage()

    def __repr__(self) -> str:
        provider = self.provider_name
        where = f" on {provider}" if provider else ""
        return f"<Instance {self.name}: {self.state.value}{where}>"

    def _repr_html_(self) -> str:
        return html_table(TABLE_HEAD, [self._row()])

    def _row(self) -> tuple[str, ...]:
        """Its row in a table."""
        history = self.history
        until = history[-1][1] if self.state.is_final else datetime.now(timezone.utc)
        cost = self.cost
        return (
            self.name,
            self.state.value,
            self.provider_name or "",
            f"{(until - history[0][1]).total_seconds():.0f}",
            f"{plain(cost.amount)} {cost.currency}",
            come_up_since(cost),
        )

    # --- commands -------------------------------------------------------------------------------------

    def execute(self, *commands: Command, timeout: float | None = None, check: bool = True) -> Results:
        """Run commands on the provider while the instance is running; blocks until they have ended.

        May be called from any thread. Batches go one after the other, first come, first served.

        Args:
            commands: run as one batch; without any, nothing is sent.
            timeout: seconds at most; None waits as long as the instance lives.
            check: False returns the results up to a command that failed, instead of raising its error:
                `results.success` is False then, and `results.check()` raises it.

        Returns:
            A tuple of one `Result` per command; from that of a single command, `stdout`, `stderr` and
            `exit_code` can be read directly.

        Raises:
            NotRunning: the instance does not run at present.
            CommandFailed: a command ended with an error; the instance goes on.
            BatchTimeout: it took longer; it may still be running.
            BatchLost: the instance was stopped or lost before the end.
        """
        batch, limit = checked_batch(commands, timeout)
        return self._result_of(self._submit(batch, limit), limit, check)

    def shell(
        self,
        script: str,
        *,
        timeout: float | None = None,
        check: bool = True,
        **options: Unpack[ShellOptions],
    ) -> Results:
        """Have `/bin/sh` run a line of script, or many: short for `execute(Run.shell(script, **options))`.

        Args:
            script: the lines.
            timeout, check: as in `execute`.
            options: as in `Run`. Without `keep_all` the output is whole as with `keep_all=True` if the image
                has a volume, unless `keep_first`, `keep_last` or `stream` is given. That takes a tenth of a
                second: `keep_all=False` leaves it out.

        Returns:
            The results: `stdout`, `json` and the like can be read directly, and `str` of them is stdout
            without its last newline.

        Raises:
            BadCommand: the script, or an option, makes no sense.
            Exception: those of `execute`.
        """
        return self.execute(shell_command(script, **options), timeout=timeout, check=check)

    def _submit(self, batch: tuple[Command, ...], timeout: float | None) -> Future[Results]:
        """Have the helper thread of the instance do `execute`; returns at once a Future of its results.

        Args:
            batch, timeout: as `checked_batch` returns them.
        """
        refuse_while_giving_out()
        link = self._lives.link
        if batch and link is not None and not self.state.is_final and not link.is_current:
            try:
                return self._pool.submit(_execute_before, Deadline(timeout), link, batch)
            except RuntimeError:
                pass  # its threads were joined, so it has ended
        future: Future[Results] = Future()
        try:
            future.set_result(self._execute_here(link, batch, timeout))
        except Exception as error:  # noqa: BLE001 - handed over to whoever reads the Future
            future.set_exception(error)
        return future

    def _execute_here(
        self, link: ServiceLink | None, batch: tuple[Command, ...], timeout: float | None
    ) -> Results:
        if not batch:
            return Results()
        if link is not None and link.is_current:
            return link.execute(batch, timeout)
        raise self._takes_no_commands() from self.failure

    def _takes_no_commands(self) -> NotRunning:
        why = first_line(self.failure) if self.failure is not None else self._record.stop_scope.reason
        because = f" ({why})" if why else ""
        return NotRunning(
            f"{self.name} is {self.state.value}{because}: commands can be run while it is running"
        )

    def _result_of(self, future: Future[Results], timeout: float | None, check: bool) -> Results:
        """Return what a submitted batch answered, waiting for its turn for `timeout` seconds at most."""
        try:
            return self._awaited(future, timeout)
        except GolemError as error:
            if isinstance(error, CommandFailed) and not check:
                return Results.up_to(error)
            is_lost = isinstance(error, (NotRunning, ActivityLost, BatchLost))
            self._failure_told = self._failure_told or (is_lost and self._tells_its_loss)
            raise without_frames(error) from error.__cause__

    def _awaited(self, future: Future[Results], timeout: float | None) -> Results:
        if not await_future(future, timeout) and future.cancel():
            raise BatchTimeout(
                f"the batches of {self.name} before this one took all of its time; it was not sent"
            )
        await_future(future)  # it has been sent, and keeps its own time
        try:
            return future.result()
        except CancelledError:  # its threads were joined before its turn came
            raise self._takes_no_commands() from self.failure

    # --- connections ------------------------------------------------------------------------------------

    def connect(
        self, port: int, timeout: float = 10.0, *, idle_timeout: float | None = None
    ) -> socket.socket:
        """Connect to a port of the instance in its private network; blocks until that is done.

        The socket is an ordinary one, for `http.client`, `ssl`, `paramiko` and the like; `timeout` stays set,
        as with `socket.create_connection`. An instance that closes its side is not noticed before 60 to 90
        seconds: the daemon does not show it. What is sent waits in the memory of the daemon, without limit.

        Args:
            port: of the instance. While it refuses connections, it is tried again: a server needs a moment.
            timeout: seconds at most, for the connection and then for each operation of the socket.
            idle_timeout: `recv` returns b'' after so many seconds without data from the instance; None:
                never.

        Raises:
            PortRefused: no server listens on the port. If programs that `Run.background` has started have
                ended, it has the end of their logs; to ask for these may take five seconds more.
            PortTimeout: the instance did not answer.
            NetworkLost: the network has ended, e.g. because the daemon was restarted.
            NotRunning: the instance is not deployed, or has ended.
            BadNetwork: it has no network, or there is no such port.
        """
        limit = checked_seconds(timeout, "timeout")
        idle = checked_seconds(idle_timeout, "idle_timeout")
        place = self._network_place
        with self._explaining_refusals:
            connection = place.connect_while_used(port, Deadline(limit), idle)
        connection.settimeout(limit)
        return connection

    def wait_for_port(self, port: int, timeout: float = 30.0) -> None:
        """Block until a server listens on a port of the instance, in its private network.

        It makes a connection, which the next `connect` or proxy uses, if that comes within 10 seconds.

        Args:
            port: of the instance.
            timeout: seconds at most.

        Raises:
            PortRefused, PortTimeout: it did not, in time; the first is explained as that of `connect`.
            NetworkLost, NotRunning, BadNetwork: as those of `connect`.
        """
        place, deadline = self._network_place, Deadline(checked_seconds(timeout, "timeout"))
        with self._explaining_refusals as warn:
            place.wait_for_port(port, deadline, on_refusals=warn)

    @property
    def _explaining_refusals(self) -> AbstractContextManager[Callable[[], None] | None]:
        link = self._lives.link
        return nullcontext() if link is None else link.explaining_refusals()

    @property
    def _network_place(self) -> Place:
        """Its place in its private network; raises `BadNetwork` if it has none."""
        return require_place(self._place, self.name)

    # --- waiting and stopping -------------------------------------------------------------------------

    def wait_for(self, state: ServiceState | str, timeout: float | None = None) -> None:
        """Block until the instance is in `state`.

        Args:
            state: the state, or its name. An instance that was running and has ended counts as running.
            timeout: seconds to wait at most; None waits until the instance has ended.

        Raises:
            ServiceFailed: it has ended in another state.
            WaitTimeout: it did not get there in time.
            BadState: there is no such state.
        """
        wanted = _state_named(state)
        limit = checked_seconds(timeout, "timeout")
        if self._is_on_this_thread and not self._has_been(wanted):
            raise NotRunning(f"wait_for() in a method of {self.name} would wait for {self.name} itself")
        self._record.is_waited_for = self._record.is_waited_for or limit != 0
        with self._context.changed:
            wait_until(self._context.changed, lambda: self._has_been(wanted) or self.state.is_final, limit)
            reached = self.state
            if self._has_been(wanted):
                return
        if reached.is_final:
            self._failure_told = True
            why = f" ({first_line(self.failure)})" if self.failure is not None else ""
            failures = [self.failure] if self.failure is not None else []
            raise ServiceFailed(f"{self.name} is {reached.value} and won't be {wanted.value}{why}", failures)
        raise WaitTimeout(f"{self.name} is not {wanted.value} after {timeout} s but {reached.value}")

    def _has_been(self, wanted: ServiceState) -> bool:
        # An instance may run for a shorter time than it takes the waiting thread to look.
        return self.state is wanted or (wanted is ServiceState.running and self.has_run)

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
        self._end(ShutdownTimes.ordinary(self._context.stop_grace), "stop() was called")
        if wait and not on_engine_thread():
            self._wait_for_end(limit, f"{timeout} s of stopping")

    def suspend(self, timeout: float | None = None) -> SuspendedInstance:
        """End the instance in this session, but leave its agreement and activity alive for a later one.

        `run()` is ended as by a stop, and `shutdown()` is not called. Blocks until a batch under way has
        ended, for the grace of a stop at most. Nobody answers the debit notes of its provider until it is
        resumed, so the provider ends it some time after: minutes by the usual terms. The log says how long it
        is kept, as a warning where that is less than an hour.

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
        self._record.begin_suspending()
        self._wait_for_end(limit, f"{timeout} s of suspending")
        if self.suspended is None:
            raise NotRunning(f"{self.name} is {self.state.value} and could not be suspended")
        return self.suspended

    def _wait_for_end(self, limit: float | None, after: str) -> None:
        if not self._context.wait_until(lambda: self.state.is_final, limit):
            raise WaitTimeout(f"{self.name} was {self.state.value} still after {after}")

    def __enter__(self) -> Instance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (KeyboardInterrupt, Terminated)):
            # Leaving `with Golem` waits for it, in the short times of an interruption.
            self._end(ShutdownTimes.interrupted(), "the program was interrupted")
            return
        self.stop()

    # --- what its cluster does ------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the first life, and the time that it has to run."""
        self._pool.start()
        limit = self._context.start_timeout
        if limit is not None:
            self._context.session.timer.call_in(limit, self._check_started)

    def _check_started(self) -> None:
        error = StartTimeout(
            f"{self.name} was {self.state.value} still after its start timeout of "
            f"{self._context.start_timeout:g} s"
        )
        times = ShutdownTimes.ordinary(self._context.stop_grace)
        self._record.cut_off(times, error, unless_has_run=True)

    def _end(self, times: ShutdownTimes, reason: str) -> None:
        """End the instance in the given times; from any thread, without blocking."""
        self._record.end(times, reason)

    def _cut_off(self, times: ShutdownTimes, error: GolemError) -> None:
        """End the instance for a reason that counts as its failure; from any thread, without blocking."""
        self._record.cut_off(times, error)

    def _join(self, timeout: float) -> list[str]:
        """Wait for its threads, `timeout` seconds at most; returns the names of those that go on."""
        if isinstance(self.failure, MethodStuck):
            return [self.name]
        return self._pool.close(timeout)


def checked_batch(
    commands: tuple[object, ...], timeout: float | None
) -> tuple[tuple[Command, ...], float | None]:
    """Check the arguments of `execute`; returns the batch and its seconds.

    Raises:
        BadCommandList: some of `commands` are no commands.
        BadWaitTime: `timeout` is no number of seconds, or 0.
    """
    limit = checked_seconds(timeout, "timeout")
    if limit == 0:
        raise BadWaitTime("timeout is 0: give a number of seconds, more than 0, or None for no limit")
    return batch_of(commands), limit


def refuse_on_engine_thread(call: str) -> None:
    """Raise `NotRunning` for a call that would wait for the thread that makes it."""
    if on_engine_thread():
        raise NotRunning(
            f"{call} waits for the instances: call it from your script, not from a service's method"
        )


def _execute_before(deadline: Deadline, link: ServiceLink, batch: tuple[Command, ...]) -> Results:
    """On the helper thread: the time of a batch begins when it is submitted, not when its turn comes."""
    left = deadline.remaining()
    if left <= 0:
        raise BatchTimeout("the batches before this one took all of its time; it was not sent")
    return link.execute_outside(batch, None if left == math.inf else left)


def _state_named(state: ServiceState | str) -> ServiceState:
    try:
        return ServiceState(state)
    except ValueError as error:
        names = ", ".join(one.value for one in ServiceState)
        raise BadState(f"there is no state {state!r}: the states are {names}") from error
