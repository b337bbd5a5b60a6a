"""The runtime of an activity, whose sandbox is asked by several threads."""

from __future__ import annotations

from typing import Any, cast

from simple_golem.local.control import rules
from simple_golem.local.control.rules import Rule
from simple_golem.local.exe_unit.runtime import SandboxRuntime
from simple_golem.local.sandbox.sandbox import SandboxUsage


class StoppedMeanwhile:
    """A sandbox whose runtime another thread stops while the first question is under way."""

    def __init__(self, runtime: SandboxRuntime) -> None:
        self._runtime = runtime
        self._questions = 0

    def usage(self) -> SandboxUsage:
        self._questions += 1
        if self._questions == 1:
            self._runtime.stop()
        return SandboxUsage(1.0, ("/bin/server",))

    def close(self) -> None: ...


class NoNetworks:
    def leave(self) -> None: ...


def test_a_strike_is_reported_once_though_the_runtime_is_stopped_at_that_moment() -> None:
    strikes: list[tuple[Rule, str]] = []
    none = cast(Any, None)
    runtime = SandboxRuntime(
        none, None, none, cast(Any, NoNetworks()), lambda rule, what, text: strikes.append((rule, what))
    )
    runtime._sandbox = cast(Any, StoppedMeanwhile(runtime))
    runtime.cpu_seconds()
    assert strikes == [(rules.BACKGROUND_OUTPUT, "/bin/server")]
