"""Where lines go: the terminal, the log, or a function."""

from __future__ import annotations

import io
import logging

import pytest

from simple_golem.engine.activity.output_printer import OutputPrinter, refuse_while_giving_out
from simple_golem.errors import NotRunning
from simple_golem.model.commands.output import OutputLine


def test_lines_are_printed_under_the_name_of_their_instance(capsys: pytest.CaptureFixture[str]) -> None:
    outlet = OutputPrinter(True, "Hello-1")
    outlet.give(["one", "\x1b]0;title\x07two"], is_stderr=False)
    outlet.give(["three"], is_stderr=True)
    assert capsys.readouterr() == ("Hello-1: one\nHello-1:  ]0;title two\n", "Hello-1: three\n")
    assert outlet.given == 3


def test_a_terminal_that_can_not_show_a_character_shows_another(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    OutputPrinter(True, "Hello-1").give(["gr\u00fcn"], is_stderr=False)
    assert written.getvalue() == b"Hello-1: gr?n\n"


def test_a_program_without_a_terminal_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    OutputPrinter(True, "Hello-1").give(["one"], is_stderr=False)
    assert caplog.records == []


def test_a_function_gets_each_line_and_where_it_is_from() -> None:
    lines: list[OutputLine] = []
    outlet = OutputPrinter(lines.append, "Hello-1")
    outlet.give(["one", "\x1b"], is_stderr=True)
    assert lines == ["one", "\x1b"]
    assert {(line.instance, line.is_stderr) for line in lines} == {("Hello-1", True)}


def test_an_error_in_a_function_is_told_once_and_it_gets_the_next_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines: list[str] = []

    def fail(line: str) -> None:
        lines.append(line)
        raise ValueError("no way")

    OutputPrinter(fail, "Hello-1").give(["one", "two"], is_stderr=False)
    assert lines == ["one", "two"]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert "Hello-1" in record.getMessage()


def test_a_closed_outlet_gives_nothing_in_the_middle_of_many_lines() -> None:
    lines: list[str] = []
    outlet = OutputPrinter(lambda line: (lines.append(line), setattr(outlet, "closed", True)), "Hello-1")
    outlet.give(["one", "two"], is_stderr=False)
    assert lines == ["one"]


def test_commands_are_refused_while_a_line_is_given_out() -> None:
    errors: list[str] = []

    def execute(line: str) -> None:
        with pytest.raises(NotRunning) as caught:
            refuse_while_giving_out()
        errors.append(str(caught.value))

    OutputPrinter(execute, "Hello-1").give(["one"], is_stderr=False)
    assert "queue" in errors[0]
    refuse_while_giving_out()
