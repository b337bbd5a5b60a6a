"""Answers to commands in a unit test, where there is no provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from ..errors import BadAnswer, NotRunning
from .commands import Command
from .failure import command_failed
from .results import Result, Results

Answer: TypeAlias = str | Result | BaseException | type[BaseException]
"""What a command is answered: its stdout, a whole result, or an error to be raised."""

Answers: TypeAlias = Callable[[Any], Answer] | Mapping[Any, Answer]
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


def answer_batch(commands: tuple[Command, ...], answers: Answers, name: str) -> Results:
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
        if isinstance(answer, str):
            answer = Result(stdout=answer)
        if not isinstance(answer, Result):
            raise BadAnswer(f"{command!r} was answered {answer!r}: give text, a Result, or an exception")
        results.append(replace(answer, index=index, command=command))
        if not answer.success:
            raise command_failed(results, commands, f"{name} (a unit test)")
    return Results(results)


def _answer_to(command: Command, answers: Answers) -> object:
    if callable(answers):
        return answers(command)
    if command not in answers:
        known = ", ".join(map(repr, answers)) or "none"
        raise NotRunning(f"no answer was given for {command!r}; with_answers has them for: {known}")
    return answers[command]
