"""The answers of a fake provider to `run` commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..model.commands.environment import without_environment


@dataclass(frozen=True)
class CommandAnswer:
    """The output and the end of a command.

    Attributes:
        stdout, stderr: its output, as text or bytes.
        exit_code: 0 for success.
        message: the provider's message for a failure; None: the usual one for the exit code.
        seconds: how long the command takes after its output, on the clock of the fake daemon.
    """

    stdout: str | bytes = b""
    stderr: str | bytes = b""
    exit_code: int = 0
    message: str | None = None
    seconds: float = 0.0


Answer: TypeAlias = Any
"""The answer to a command: text or bytes (its stdout), a number (its exit code), a `CommandAnswer`, an
exception (the command fails with this message), None (success without output), or an iterator of pieces of
stdout, which are sent as events at once."""

Answers: TypeAlias = Callable[[dict[str, Any]], Answer] | Mapping[str, Answer]
"""Answers for `run` commands: a function of the command as it is in the ExeScript, such as
`{"run": {"entry_point": "/bin/date", "args": []}}`, or a mapping of command lines, such as `"/bin/date -u"`,
or of programs alone; `env` and `cwd` do not count there. The function is called on a thread of the activity
and may block."""


def pieces_of(answers: Answers | None, command: dict[str, Any]) -> Iterator[CommandAnswer]:
    """The pieces of a command's output; the last one has the exit code."""
    try:
        answer = _answer(answers, command)
        if isinstance(answer, Iterator):
            for piece in answer:
                yield _as_answer(piece)
        else:
            yield _as_answer(answer)
    except Exception as error:  # noqa: BLE001 - whatever a test raises is how the command fails
        yield _as_answer(error)


def _answer(answers: Answers | None, command: dict[str, Any]) -> Answer:
    if answers is None:
        return None
    if callable(answers):
        return answers(command)
    details = command["run"]
    words = without_environment([details["entry_point"], *details.get("args", ())])
    return answers.get(" ".join(words), answers.get(words[0]))


def _as_answer(answer: Answer) -> CommandAnswer:
    if answer is None:
        return CommandAnswer()
    if isinstance(answer, CommandAnswer):
        return answer
    if isinstance(answer, BaseException):
        return CommandAnswer(exit_code=-1, message=str(answer) or type(answer).__name__)
    if isinstance(answer, int):
        return CommandAnswer(exit_code=int(answer))
    if isinstance(answer, (str, bytes)):
        return CommandAnswer(stdout=answer)
    raise TypeError(f"a command was answered {answer!r}: give text, bytes, an exit code or a CommandAnswer")
