"""Answers to commands in a unit test, where there is no provider."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from ...errors import BadAnswer, NotRunning
from .commands import Command, Run
from .failure import command_failed
from .file_commands import FileCommand
from .output import LineCutter, OutputLine
from .results import Result, Results
from .transfers import DownloadBytes, DownloadJson, UploadFromUrl

Answer: TypeAlias = Any
"""What a command is answered: its stdout as text, a whole `Result`, or an error to be raised. `DownloadBytes`
is given the bytes of its file, `DownloadJson` its value, and a command that copies files None."""

Answers: TypeAlias = Callable[[Any], Any] | Mapping[Any, Any]
"""Answers for many commands: a function of the command, or a dict."""


def checked_answers(answers: object) -> Answers:
    """Return the answers if they are of a usable kind, else raise `BadAnswer`."""
    if isinstance(answers, Mapping):
        for key in answers:
            if not isinstance(key, Command):
                raise BadAnswer(f"with_answers has {key!r} as a key: write the command, Run({key!r})")
        return answers
    if callable(answers):
        return answers
    raise BadAnswer(
        f"with_answers got {answers!r}: give a function of the command, or a dict such as "
        "{Run('/bin/date'): 'Monday'}"
    )


def answer_batch(answers: Answers, commands: tuple[Command, ...], name: str) -> Results:
    """Answer commands as an activity would: in order, up to the first that fails.

    Raises:
        CommandFailed: an answer was a result that says so.
        NotRunning: the answers have none for a command.
        BadAnswer: an answer is of no usable kind.
        BaseException: any error that was given as an answer.
    """
    results: list[Result] = []
    for index, command in enumerate(commands):
        answer = _answer_to(command, answers)
        if isinstance(answer, BaseException) or (
            isinstance(answer, type) and issubclass(answer, BaseException)
        ):
            raise answer
        result = _as_result(command, answer)
        results.append(replace(result, index=index, command=command))
        if isinstance(command, Run):
            _give_out(command, result, name)
        if not result.success:
            raise command_failed(results, commands, f"{name} (a unit test)")
    return Results(results)


def _give_out(command: Run, result: Result, name: str) -> None:
    """Have a function that was given as `stream=` called with each line; nothing is printed in a test."""
    stream = command.stream
    if isinstance(stream, (bool, logging.Logger)):
        return
    for text, is_stderr in ((result.stdout, False), (result.stderr, True)):
        cutter = LineCutter()
        for line in (*cutter.feed(text.encode()), *cutter.end()):
            stream(OutputLine(line, name, is_stderr))


def _as_result(command: Command, answer: object) -> Result:
    if isinstance(answer, Result):
        return answer
    if isinstance(command, DownloadJson):
        return Result(downloaded=_file_content(command, answer))
    if isinstance(command, DownloadBytes) and isinstance(answer, bytes):
        return Result(downloaded=answer)
    if isinstance(command, (FileCommand, UploadFromUrl)) and answer is None:
        return Result()
    if isinstance(answer, str):
        return Result(stdout=answer)
    wanted = "bytes" if isinstance(command, DownloadBytes) else "text"
    raise BadAnswer(f"{command!r} was answered {answer!r}: give {wanted}, a Result, or an exception")


def _file_content(command: Command, answer: object) -> bytes:
    if isinstance(answer, bytes):
        return answer
    try:
        return json.dumps(answer).encode()
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"{command!r} was answered {answer!r}, which is no JSON: {error}") from error


def _answer_to(command: Command, answers: Answers) -> object:
    if callable(answers):
        return answers(command)
    if command not in answers:
        known = ", ".join(map(repr, answers)) or "none"
        raise NotRunning(f"no answer was given for {command!r}; with_answers has them for: {known}")
    return answers[command]
