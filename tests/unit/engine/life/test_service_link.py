"""What a batch tells of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from simple_golem import Run, Upload
from simple_golem.background.cancellation import Scope
from simple_golem.engine.life.service_link import ServiceLink
from simple_golem.errors import BadLocalFile
from simple_golem.model.commands.commands import Command
from simple_golem.model.events import BatchEnded, BatchStarted, Event


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        (Upload("a" * 300, "/golem/x"), BadLocalFile, "File name too long"),
        (Run("/bin/true"), ZeroDivisionError, "ZeroDivisionError"),
        (Run("/bin/true"), KeyboardInterrupt, "KeyboardInterrupt"),
    ],
)
def test_whatever_ends_a_batch_its_end_is_told(
    command: Command, error: type[BaseException], words: str
) -> None:
    def run(*_args: Any) -> None:
        raise error

    told: list[Event] = []
    host: Any = SimpleNamespace(name="Service-1", stop_scope=Scope())
    nothing: Any = None
    binding = ServiceLink(host, "Service", nothing, nothing, told.append, nothing)
    binding.activity = SimpleNamespace(run=run)  # type: ignore[assignment]
    with pytest.raises(error):
        binding.batch((command,), Scope(), Scope())
    started, ended = told
    assert isinstance(started, BatchStarted)
    assert isinstance(ended, BatchEnded)
    assert words in str(ended.failure)
