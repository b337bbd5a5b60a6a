"""The class that users derive from, and the link from its objects to their instances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ...errors import (
    BadService,
    BadWaitTime,
    CommandFailed,
    GolemError,
    NotRunning,
    ServiceStopped,
)
from ..base.from_yapapi import from_yapapi
from ..commands.commands import Command, Commands, batch_of
from ..commands.results import Result, Results
from ..commands.shell_options import ShellOptions, shell_command
from ..payload import vm
from ..payload.payload import Payload, require_payload
from .states import ServiceState

if TYPE_CHECKING:
    from typing_extensions import Unpack


METHODS = ("get_payload", "deploy", "start", "run", "shutdown")

AnyService = TypeVar("AnyService", bound="Service")


class Binding(Protocol):
    """The link from a service to its instance for one life; the engine implements it."""

    name: str

    @property
    def state(self) -> ServiceState: ...
    @property
    def provider_name(self) -> str | None: ...
    @property
    def provider_id(self) -> str | None: ...
    @property
    def activity_id(self) -> str | None: ...
    @property
    def stopping(self) -> bool: ...
    def execute(self, commands: tuple[Command, ...], timeout: float | None) -> Results: ...
    def wait(self, seconds: float) -> None: ...
    def wait_for_port(self, port: int, timeout: float) -> None: ...
    def stop(self) -> None: ...


@dataclass
class _Ties:
    """What the engine keeps in a service object: one attribute, which no user's attribute collides with."""

    name: str
    named_by_user: bool = False
    link: Binding | None = None
    results: Results = field(default_factory=Results)
    answer: Callable[[tuple[Command, ...], str], Results] | None = None
    stopping: bool = False
    payload: Payload | None = None


@from_yapapi("Service")
class Service:
    """A service on the Golem Network: a subclass says what is run on a provider, and when.

    `deploy`, `start`, `run` and `shutdown` are plain methods that return commands: a list, one command, or
    None. In the next call, `self.results` has their results. `execute` returns results at once.

    Attributes:
        payload: what a provider must have, e.g. `vm.repo(image_tag="me/image:latest")`. `get_payload` is for
            a payload that has to be computed. None: a small public image with a shell.
        run_interval: seconds between the end of one call of `run` and the next; None calls it once.
        keep_all: whether all commands are run as `Run(…, keep_all=True)`, except those with `keep_first`,
            `keep_last` or `stream`.
    """

    payload: Payload | None = None
    run_interval: float | None = None
    keep_all: bool = False
    _simple_golem: _Ties

    def __new__(cls: type[AnyService], *_args: object, **_kwargs: object) -> AnyService:
        # Not in __init__, so that a forgotten super().__init__() breaks nothing. object.__setattr__ works for
        # classes with a `__setattr__` of their own, too, such as a frozen dataclass.
        service = super().__new__(cls)
        object.__setattr__(service, "_simple_golem", _Ties(cls.__name__))
        return service

    def __init__(self) -> None:
        # Without this method, unknown arguments of the constructor would be ignored.
        super().__init__()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _RESERVED:
            owner = next(base for base in cls.__mro__ if name in vars(base))
            if owner is not Service:
                raise BadService(
                    f"{owner.__name__}.{name}: Service has a `{name}` already; choose another name"
                )
        check_run_interval(cls.run_interval, f"{cls.__name__}.run_interval")
        if not isinstance(cls.keep_all, bool):
            raise BadService(f"{cls.__name__}.keep_all is {cls.keep_all!r}: give True or False")

    if not TYPE_CHECKING:  # else type checkers would allow any attribute

        def __setattr__(self, name: str, value: object) -> None:
            if name in _READ_ONLY:
                raise AttributeError(
                    f"{type(self).__name__}.{name} can't be set: Service has a `{name}` of its own; "
                    "take another name"
                )
            super().__setattr__(name, value)

    # --- what may be overridden ---

    @staticmethod
    def get_payload() -> Payload:
        """Return what a provider must have; a small public image with a shell if not overridden.

        If the payload is fixed, `payload = vm.repo(…)` in the class does the same.
        """
        return vm.repo()

    def deploy(self) -> Commands:
        """Return the commands that deploy and start the runtime. Override it, for example, for volumes."""
        payload = self._simple_golem.payload or require_payload(class_payload(type(self)))
        return [payload.deploy, payload.start]

    def start(self) -> Commands:
        """Return the commands that are run once, after the runtime has started."""
        return []

    def run(self) -> Commands:
        """Return the commands that are run while the service is running; with a `run_interval`, repeatedly.

        A class that does not override it stays running until it is stopped.
        """
        return []

    def shutdown(self) -> Commands:
        """Return the commands that are run once before the end, while the activity is still alive."""
        return []

    # --- what can be used in them ---

    def execute(self, *commands: Command, timeout: float | None = None, check: bool = True) -> Results:
        """Run commands on the provider, one after the other, and block until they have ended.

        Args:
            commands: what to run; without any, nothing is sent.
            timeout: seconds to wait at most; None waits as long as the instance lives.
            check: False returns the results up to a command that failed, instead of raising its error:
                `results.success` is False then, and `results.check()` raises it.

        Returns:
            A tuple of one `Result` per command. If it has only one, `stdout`, `stderr` and `exit_code` can be
            read from it directly. `self.results` does not change.

        Raises:
            CommandFailed: a command failed; those after it were not run. The activity lives on.
            ServiceStopped: the instance is being stopped.
            BatchTimeout: the commands did not end in time.
            BatchLost: their results can't be known.
            NotRunning: the instance is not running.
        """
        batch = batch_of(commands)
        if timeout is not None:
            _check_number("timeout", timeout, zero=False)
        if not batch:
            self.wait(0)
            return Results()
        try:
            return self._executed(batch, timeout)
        except CommandFailed as error:
            if check:
                raise
            return Results.up_to(error)

    def _executed(self, batch: tuple[Command, ...], timeout: float | None) -> Results:
        ties = self._simple_golem
        if ties.link is not None:
            return ties.link.execute(batch, timeout)
        if ties.stopping:
            raise ServiceStopped(f"{ties.name} was stopped")
        if ties.answer is None:
            raise NotRunning(
                f"{ties.name} does not run on a provider yet: give its class to golem.run_service, "
                "or give it answers for a unit test by service.with_answers(…)"
            )
        return ties.answer(batch, ties.name)

    def shell(
        self,
        script: str,
        *,
        timeout: float | None = None,
        check: bool = True,
        **options: Unpack[ShellOptions],
    ) -> Results:
        """Have `/bin/sh` run a line of script, or many: short for `execute(Run.shell(script, **options))`.

        Arguments and results are those of `Instance.shell`.

        Raises:
            BadCommand: the script, or an option, makes no sense.
            Exception: those of `execute`.
        """
        return self.execute(shell_command(script, **options), timeout=timeout, check=check)

    def wait(self, seconds: float) -> None:
        """Block for a time, as `time.sleep`; a stop ends it.

        Args:
            seconds: how long; in a unit test, it returns at once.

        Raises:
            ServiceStopped: the instance is being stopped.
            BadWaitTime: `seconds` is negative, infinite, or not a number.
        """
        _check_number("seconds", seconds, zero=True)
        ties = self._simple_golem
        if ties.link is not None:
            ties.link.wait(seconds)
        elif ties.stopping:
            raise ServiceStopped(f"{ties.name} was stopped")

    def wait_for_port(self, port: int, timeout: float = 30.0) -> None:
        """Block until a server listens on a port of the instance, in its private network.

        It makes a connection, which the next `connect` or proxy uses, if that comes within 10 seconds.
        In a unit test it is not waited at all.

        Args:
            port: of the instance.
            timeout: seconds at most.

        Raises:
            ServiceStopped: the instance is being stopped.
            PortRefused, PortTimeout: no server did, in time. If programs that `Run.background` has started
                have ended, the first has the end of their logs; to ask for these may take five seconds more.
            NetworkLost, BadNetwork: the network has ended, or there is none.
            BadWaitTime: `timeout` is no number of seconds.
        """
        _check_number("timeout", timeout, zero=True)
        link = self._simple_golem.link
        if link is not None:
            link.wait_for_port(port, timeout)
        else:
            self.wait(0)

    def stop(self) -> None:
        """Have the instance stopped; does not block. The next `execute` or `wait` raises `ServiceStopped`."""
        ties = self._simple_golem
        if ties.link is not None:
            ties.link.stop()
        else:
            ties.stopping = True

    @property
    def name(self) -> str:
        """The instance's name, in logs and threads; may be assigned."""
        ties = self._simple_golem
        return ties.name if ties.link is None else ties.link.name

    @name.setter
    def name(self, name: str) -> None:
        ties = self._simple_golem
        ties.name, ties.named_by_user = str(name), True
        if ties.link is not None:
            ties.link.name = ties.name

    @property
    def results(self) -> Results:
        """The results of the commands that were returned last; empty before the first."""
        return self._simple_golem.results

    @results.setter
    def results(self, results: Iterable[Result]) -> None:
        if self._simple_golem.link is not None:
            raise AttributeError("results come from the provider; they can be assigned in a unit test only")
        set_results(self, Results(results))

    @property
    def state(self) -> ServiceState:
        """The instance's state; `pending` in a unit test."""
        link = self._simple_golem.link
        return ServiceState.pending if link is None else link.state

    @property
    def provider_name(self) -> str | None:
        """Name of the provider, None before there is one."""
        link = self._simple_golem.link
        return None if link is None else link.provider_name

    @property
    def provider_id(self) -> str | None:
        """Node id of the provider, None before there is one."""
        link = self._simple_golem.link
        return None if link is None else link.provider_id

    @property
    def activity_id(self) -> str | None:
        """Id of the activity, None before there is one."""
        link = self._simple_golem.link
        return None if link is None else link.activity_id

    @property
    def stopping(self) -> bool:
        """True as soon as the instance is being stopped."""
        ties = self._simple_golem
        return ties.stopping if ties.link is None else ties.link.stopping

    def with_answers(self: AnyService, answers: Callable[[Any], Any] | Mapping[Any, Any]) -> AnyService:
        """Give the service answers for a unit test, and return it.

        Args:
            answers: a function that takes a command, or a dict by command. An answer is stdout as text, a
                `Result`, or an exception, which is raised. `Result(success=False)` makes `execute` raise
                `CommandFailed`, as on a provider. The answer to `DownloadBytes` is the file's bytes, to
                `DownloadJson` its value, and to commands that copy files None.

        Raises:
            BadAnswer: it is neither a function nor a dict.
        """
        # Only unit tests need it, and what it needs takes 3 ms.
        from ..commands.answers import answer_batch, checked_answers

        if self._simple_golem.link is not None:
            raise GolemError(
                f"{self.name} runs on a provider, which gives the answers; they are for unit tests"
            )
        self._simple_golem.answer = partial(answer_batch, checked_answers(answers))
        return self


_READ_ONLY = frozenset(
    name for name, value in vars(Service).items() if isinstance(value, property) and value.fset is None
)
_RESERVED = frozenset(name for name in vars(Service) if not name.startswith("_")) - {
    *METHODS,
    "payload",
    "run_interval",
    "keep_all",
}


def class_payload(cls: type[Service]) -> object:
    """Return the payload of a class: its `payload`, or what its `get_payload` returns.

    Raises:
        BadService: the class has both.
    """
    says, computes = (
        next(base for base in cls.__mro__ if name in vars(base)) for name in ("payload", "get_payload")
    )
    if says is computes and says is not Service:
        raise BadService(f"{says.__name__} has a payload and a get_payload(): keep one of them")
    by_attribute = says is not Service and issubclass(says, computes)
    return cls.payload if by_attribute else cls.get_payload()


def made_for(payload: Payload, make: Callable[[], Service]) -> Service:
    """Return a new service that will run on `payload`, which may differ from that of its class."""
    service = make()
    if not isinstance(getattr(service, "_simple_golem", None), _Ties):
        raise BadService(
            f"the constructor has made {service!r}, which is no complete Service: end `__new__` with "
            "`return super().__new__(cls)`"
        )
    for name, value in getattr(service, "__dict__", {}).items():
        if name in _RESERVED or (name in METHODS and not callable(value)):
            raise BadService(
                f"{type(service).__name__} sets self.{name} to {value!r}: Service has a `{name}` of its own; "
                "take another name"
            )
    service._simple_golem.payload = payload
    return service


def payload_for(service: Service) -> Payload | None:
    """Return the payload that a service was made for; None in a unit test."""
    return service._simple_golem.payload


def named(service: Service, name: str) -> str:
    """Name a service as its instance, unless its `__init__` has named it; returns the name that holds."""
    ties = service._simple_golem
    if not ties.named_by_user:
        ties.name = name
    return ties.name


def bind(service: Service, link: Binding) -> None:
    """Link a service to its instance; a name that its `__init__` assigned becomes the instance's."""
    ties = service._simple_golem
    if ties.named_by_user:
        link.name = ties.name
    ties.link = link


def set_results(service: Service, results: Results) -> None:
    """Set what `service.results` shows in the next call."""
    service._simple_golem.results = results


def check_run_interval(value: object, what: str) -> float | None:
    """Check a `run_interval`, of a class or of an object, and return it.

    Raises:
        BadWaitTime: it is neither None nor a positive, finite number of seconds.
    """
    return None if value is None else _check_number(what, value, zero=False)


def _check_number(what: str, value: object, zero: bool) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        enough = value >= 0 if zero else value > 0
        if enough and value < math.inf:
            return value
    raise BadWaitTime(
        f"{what} is {value!r}: give a number of seconds, {'0 or more' if zero else 'more than 0'}"
    )
