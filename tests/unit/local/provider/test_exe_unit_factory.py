"""The habits that an exe-unit applies before a command."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.local.control.habits import FailingCommands, ProviderHabits
from simple_golem.local.exe_unit.runtime import CommandError
from simple_golem.local.provider.exe_unit_factory import _CommandHabits

DATE: Mapping[str, Any] = {"run": {"entry_point": "/bin/sh", "args": ["-c", "date"]}}
ECHO: Mapping[str, Any] = {"run": {"entry_point": "/bin/echo"}}


def test_only_commands_with_the_text_fail() -> None:
    habits = _CommandHabits(ProviderHabits(failing_commands=FailingCommands("date", 3, "no clock\n")))
    assert habits.before(ECHO, Scope()) is None
    assert habits.before({"start": {}}, Scope()) is None
    with pytest.raises(CommandError, match="ExeScript command exited with code 3") as failed:
        habits.before(DATE, Scope())
    assert (failed.value.return_code, failed.value.stderr) == (3, "no clock\n")


def test_every_command_fails_where_no_text_is_asked_for() -> None:
    habits = _CommandHabits(ProviderHabits(failing_commands=FailingCommands()))
    for command in (DATE, ECHO):
        with pytest.raises(CommandError, match="code 1"):
            habits.before(command, Scope())


def test_a_deploy_fails_with_its_message_and_nothing_else_does() -> None:
    habits = _CommandHabits(ProviderHabits(deploy_error="no disk"))
    assert habits.before({"deploy": {}}, Scope()) == "no disk"
    assert habits.before(ECHO, Scope()) is None


def test_a_delay_ends_with_the_activity() -> None:
    scope = Scope()
    scope.cancel("over")
    assert _CommandHabits(ProviderHabits(command_delay=60)).before(ECHO, scope) is None


def test_a_command_that_hangs_does_so_until_the_activity_ends() -> None:
    habits, scope = _CommandHabits(ProviderHabits(hanging_commands="date")), Scope()
    assert habits.before(ECHO, scope) is None
    hanging = threading.Thread(target=habits.before, args=(DATE, scope))
    hanging.start()
    hanging.join(0.2)
    assert hanging.is_alive()
    scope.cancel("over")
    hanging.join(20)
    assert not hanging.is_alive()
