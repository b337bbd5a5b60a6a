"""Services that keep a record of their calls, and what a test looks at and waits for in their instances."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import tenacity

from simple_golem import Cluster, Golem, Instance, Run, Service
from simple_golem.testing import FakeProvider, FakeYagna

NORMAL_LIFE = ["pending", "starting", "running", "stopping", "terminated"]
SECONDS = 20.0
# Instances are started again without a pause.
AT_ONCE: dict[str, Any] = {"respawn_wait": tenacity.wait_none()}


class Idle(Service):
    """Has no `run()` of its own, and so runs until it is stopped."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> Any:
        self.calls.append("start")

    def shutdown(self) -> Any:
        self.calls.append("shutdown")


class Sleeping(Idle):
    """Executes a command that takes ten minutes."""

    def run(self) -> Any:
        self.calls.append("run")
        self.execute(Run.shell("sleep 600"))


class Gate:
    """Where a provider's command, or a method, waits until the test opens it.

    Attributes:
        reached: set when somebody waits.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        assert self._open.wait(SECONDS), "the test has not opened the gate"

    def open(self) -> None:
        self._open.set()

    def answers(self, command: dict[str, Any]) -> str | None:
        """Commands that run the program `/bin/gate` wait; all others succeed at once."""
        if command["run"]["entry_point"] != "/bin/gate":
            return None
        self.wait()
        return "through the gate"


def gate_of(fake: FakeYagna) -> Gate:
    """A gate at which the program `/bin/gate` waits, whichever provider runs it."""
    gate = Gate()
    for provider in fake.providers:
        provider.answers = gate.answers
    return gate


class InThread:
    """Calls a function in a thread of its own, and keeps what it returned or raised."""

    def __init__(self, function: Callable[..., object], *args: object, **options: object) -> None:
        self.error: BaseException | None = None
        self.value: object = None
        self._thread = threading.Thread(target=self._run, args=(function, args, options))
        self._thread.start()

    def _run(self, function: Callable[..., object], args: Any, options: Any) -> None:
        try:
            self.value = function(*args, **options)
        except BaseException as error:  # noqa: BLE001 - it is what the test looks at
            self.error = error

    def join(self) -> InThread:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the call did not return"
        return self


def states(instance: Instance) -> list[str]:
    return [state.value for state, _ in instance.history]


def calls(instance: Instance) -> list[str]:
    service = instance.service
    assert isinstance(service, Idle)
    return service.calls


def started(golem: Golem, service: type[Service] = Idle, **options: Any) -> Instance:
    """Run one instance of a service, which is running when this returns."""
    (instance,) = golem.run_service(service, **options).wait_until_running(SECONDS)
    return instance


def begun(golem: Golem, service: type[Service] = Idle, **options: Any) -> tuple[Cluster, Instance]:
    """Run one instance of a service, without waiting for it."""
    cluster = golem.run_service(service, **options)
    return cluster, cluster.instances[0]


def await_sleep(fake: FakeYagna, count: int = 1) -> None:
    """Block until so many instances of `Sleeping` execute their command.

    An instance is running already before its `run()` is called.
    """

    def sleeping() -> int:
        return sum(programs(one).count("/bin/sh -c sleep 600") for one in fake.providers)

    fake.wait_for(lambda: sleeping() >= count, SECONDS)


def programs(provider: FakeProvider) -> list[str]:
    """What was run on a provider, line by line; other commands by their names."""
    lines = []
    for command in provider.commands:
        ((name, details),) = command.items()
        if name == "run":
            lines.append(" ".join([details["entry_point"], *details.get("args", ())]))
        else:
            lines.append(name)
    return lines


def seconds_of(call: Callable[..., object], *args: object, **options: object) -> float:
    began = time.monotonic()
    call(*args, **options)
    return time.monotonic() - began
