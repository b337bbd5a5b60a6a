"""What commands answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from ...errors import BadJson, CommandFailed, NoBytes, NoData, NotOneResult
from ..base.wire_time import parse_time
from .commands import Command, Run
from .failure import command_failed

_MOST_SHOWN = 200
# Virtual machines lose nothing of less; of 5000 bytes often so many are left (seen).
CUT_BYTES = 4096

_EXIT_CODE = re.compile(r"exited with code (-?\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one command answered; all fields are optional, so that a unit test can make one.

    Attributes:
        stdout, stderr: what the program wrote, always text.
        success: False if the command failed.
        message: the provider's own words, None if it said nothing.
        index: place of the command in its batch, from 0.
        command: the command itself.
        finished_at: when it ended, by the provider's clock.
        output_bytes: stdout and stderr as they were written, of a command that asked for it.
        may_be_cut: whether the provider may have lost the end of stdout or stderr. True of all output of 4096
            bytes or more from a virtual machine, except with `Run(…, keep_all=True)`.
        downloaded: what a download brought into memory, None of any other command; `data` reads it.
    """

    stdout: str = ""
    stderr: str = ""
    success: bool = True
    message: str | None = None
    index: int = 0
    command: Command | None = None
    finished_at: datetime | None = None
    output_bytes: tuple[bytes, bytes] | None = None
    may_be_cut: bool = False
    downloaded: bytes | None = field(default=None, repr=False)

    @property
    def data(self) -> bytes:
        """The content of the file that `DownloadBytes` or `DownloadJson` brought.

        Raises:
            NoData: the command was none of them.
        """
        if self.downloaded is None:
            raise NoData(
                f"{self.command!r} brought no data: DownloadBytes and DownloadJson do; "
                "what Download brought is in its file, and what Run wrote is `stdout`"
            )
        return self.downloaded

    @property
    def json(self) -> Any:
        """The value of the JSON that the command wrote to its standard output, or of the file it brought.

        Raises:
            BadJson: it is no JSON; the message shows the first 200 characters.
        """
        text = self.stdout if self.downloaded is None else self.downloaded
        try:
            return json.loads(text)
        except ValueError as error:  # of the JSON, or of its UTF-8
            what = "wrote" if self.downloaded is None else "brought"
            raise BadJson(f"what {self.command!r} {what} is no JSON: {error}{_shown(text)}") from error

    def __str__(self) -> str:
        """What the program wrote to its standard output, without the last newline."""
        return self.stdout.removesuffix("\n")

    @property
    def stdout_bytes(self) -> bytes:
        """What the program wrote to its standard output, byte for byte; for `Run(..., binary=True)`."""
        return self._bytes("stdout_bytes", self.stdout, 0)

    @property
    def stderr_bytes(self) -> bytes:
        """The same of its standard error."""
        return self._bytes("stderr_bytes", self.stderr, 1)

    def _bytes(self, attribute: str, text: str, which: int) -> bytes:
        if self.output_bytes is not None:
            return self.output_bytes[which]
        if isinstance(self.command, Run) and not self.command.binary:
            raise NoBytes(
                f"there is no `{attribute}`, only text: write Run(…, binary=True) to have the bytes"
            )
        return text.encode("utf-8", errors="replace")

    @property
    def exit_code(self) -> int | None:
        """0 for success, the program's exit code where the provider told it, else None."""
        if self.success:
            return 0
        found = _EXIT_CODE.search(self.message or "")
        return int(found.group(1)) if found else None

    @classmethod
    def from_wire(
        cls, entry: Mapping[str, Any], command: Command | None = None, loses_output: bool = False
    ) -> Result:
        """Read one entry of the daemon's list of batch results.

        Args:
            entry: as the daemon has it.
            command: the command that it is about.
            loses_output: whether the runtime may lose the end of an output.

        Raises:
            KeyError, ValueError: the entry is not of the daemon's form.
        """
        ended = entry.get("eventDate")
        stdout, stderr = entry.get("stdout"), entry.get("stderr")
        binary = isinstance(command, Run) and command.binary
        return cls(
            stdout=_text(stdout),
            stderr=_text(stderr),
            success=entry["result"] == "Ok",
            message=entry.get("message"),
            index=entry["index"],
            command=command,
            finished_at=None if ended is None else parse_time(ended),
            output_bytes=(wire_bytes(stdout), wire_bytes(stderr)) if binary else None,
            may_be_cut=loses_output
            and isinstance(command, Run)
            and (_may_be_cut(command, stdout) or _may_be_cut(command, stderr)),
        )

    def with_output(self, stdout: bytes, stderr: bytes) -> Result:
        """Return the result with this output, which is whole."""
        binary = isinstance(self.command, Run) and self.command.binary
        return replace(
            self,
            stdout=stdout.decode("utf-8", errors="replace"),
            stderr=stderr.decode("utf-8", errors="replace"),
            output_bytes=(stdout, stderr) if binary else None,
            may_be_cut=False,
        )


class Results(tuple[Result, ...]):
    """What a batch answered: a tuple of `Result`s.

    With exactly one of them, `stdout`, `stderr`, `exit_code` and the like can be read from it directly, and
    `str(results)` is its stdout without the last newline.
    """

    _failure: CommandFailed | None

    def __new__(cls, results: Iterable[Result] = (), failure: CommandFailed | None = None) -> Results:
        made = super().__new__(cls, results)
        made._failure = failure
        return made

    @classmethod
    def up_to(cls, failure: CommandFailed) -> Results:
        """Return the results of a batch that ended with this error; `check` raises it."""
        return cls(results_so_far(failure), failure.with_traceback(None))

    @property
    def success(self) -> bool:
        """Whether all commands succeeded; after a failed one, the rest of its batch was not run."""
        return all(result.success for result in self)

    def check(self) -> Results:
        """Return the results themselves, if all commands succeeded.

        Raises:
            CommandFailed: one of them failed, as `execute` itself raises it without `check=False`.
        """
        if self.success:
            return self
        if self._failure is None:  # they were put together by a test
            failed = next(place for place, result in enumerate(self) if not result.success)
            self._failure = command_failed(self[: failed + 1], (), "a provider")
        raise self._failure

    @property
    def stdout(self) -> str:
        """What the one command wrote to its standard output."""
        return self._only("stdout").stdout

    @property
    def stderr(self) -> str:
        """What the one command wrote to its standard error."""
        return self._only("stderr").stderr

    @property
    def stdout_bytes(self) -> bytes:
        """What the one command wrote to its standard output, byte for byte; for `Run(..., binary=True)`."""
        return self._only("stdout_bytes").stdout_bytes

    @property
    def stderr_bytes(self) -> bytes:
        """The same of its standard error."""
        return self._only("stderr_bytes").stderr_bytes

    @property
    def data(self) -> bytes:
        """The content of the file that the one command downloaded; for `DownloadBytes` and `DownloadJson`."""
        return self._only("data").data

    @property
    def json(self) -> Any:
        """The value of the JSON that the one command wrote or brought."""
        return self._only("json").json

    @property
    def may_be_cut(self) -> bool:
        """Whether the provider may have lost the end of the one command's output."""
        return self._only("may_be_cut").may_be_cut

    @property
    def exit_code(self) -> int | None:
        """The exit code of the one command, None if the provider did not tell it."""
        return self._only("exit_code").exit_code

    def _only(self, attribute: str) -> Result:
        if len(self) == 1:
            return self[0]
        if not self:
            raise NotOneResult(f"there are no results, so no `{attribute}`: no command was run")
        raise NotOneResult(f"there are {len(self)} results; say which: results[0].{attribute}")

    def __repr__(self) -> str:
        return f"Results([{', '.join(map(repr, self))}])"

    def __str__(self) -> str:
        return str(self[0]) if len(self) == 1 else repr(self)


def results_so_far(error: CommandFailed) -> tuple[Result, ...]:
    """The results that an error of this library carries; `CommandFailed` itself knows less of their type."""
    return cast("tuple[Result, ...]", error.results)


def wire_bytes(output: object) -> bytes:
    """Output as the daemon tells it: nothing, text, or a list of numbers; what is no byte becomes `?`."""
    if isinstance(output, str):
        return output.encode("utf-8", errors="replace")
    if not isinstance(output, list):
        return b""
    try:
        return bytes(output)
    except (TypeError, ValueError):
        return bytes(byte if isinstance(byte, int) and 0 <= byte <= 255 else 0x3F for byte in output)


def _shown(text: str | bytes) -> str:
    start = text[:_MOST_SHOWN] if isinstance(text, str) else text[:_MOST_SHOWN].decode(errors="replace")
    return "; it is empty" if not start else f"; it begins with {start!r}"


def _may_be_cut(command: Run, output: object) -> bool:
    size = len(output) if isinstance(output, list) else len(wire_bytes(output))
    if size == command.keep_last:  # there may have been more after it
        return True
    return size >= CUT_BYTES and size != command.keep_first


def _text(output: object) -> str:
    return output if isinstance(output, str) else wire_bytes(output).decode("utf-8", errors="replace")
