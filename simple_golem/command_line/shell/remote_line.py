"""One line that runs on a rented machine."""

from __future__ import annotations

import re
from collections.abc import Callable

from ...errors import CommandFailed, GolemError
from ...model.base.printable import printable
from ...model.commands.commands import Run
from ...model.commands.environment import SHELL
from ...model.commands.results import CUT_BYTES
from ...services.instance import Instance
from .scripts import BEGIN, END, FOLLOW, NO_SUCH_FOLDER

_NOT_BEGUN = 1
_INTERRUPTED = 130
_UNKNOWN = 125
# A virtual machine may lose the end of a longer output. More is read through a file, if there is a volume.
_SHORT_BYTES = CUT_BYTES - 512
_LONG_BYTES = 1 << 20
_WAIT_TENTHS = 10
# The size of the output, the exit code, and the size of the names of the folders.
_HEAD = re.compile(rb"([0-9]{1,18}) (lost|-|[0-9]{1,3}) ([0-9]{1,9})")


class RemoteLine:
    """Begins a line on a machine, reads its output piece by piece, and can end it. Each call is one batch.

    Args:
        machine: the machine.
        files: where its files are on the machine: a path without ending.
        has_volume: whether long output can be read at once.
        write: is called with each piece of output.

    Attributes:
        code: its exit code; None while it runs.
        folder: the working folder at its end; empty if it is not known.
        previous_folder: the one before it, where `cd -` goes; empty if there is none.
        had_no_folder: whether it did not run, since its working folder is gone.
        is_lost: whether its files are gone, so that nobody knows its end.
        has_ended: whether it has ended, and all of its output was written.
    """

    def __init__(
        self, machine: Instance, files: str, has_volume: bool, write: Callable[[bytes], object]
    ) -> None:
        self._machine = machine
        self._files = files
        self._has_volume = has_volume
        self._write = write
        self._begun = False
        self._offset = 0
        self._size = 0
        self.code: int | None = None
        self.folder = ""
        self.previous_folder = ""
        self.had_no_folder = False
        self.is_lost = False

    @property
    def has_ended(self) -> bool:
        return self.code is not None and self._offset >= self._size

    def begin(self, line: str, folder: str, previous_folder: str, previous_code: int, home: str) -> None:
        """Begin the line, and read its first output.

        Args:
            line: the line.
            folder: its working folder.
            previous_folder: where `cd -` goes; empty if there is none.
            previous_code: the exit code of the line before, which is its `$?`.
            home: where `cd` goes if the machine sets no HOME.

        Raises:
            CommandFailed: the machine could not begin it.
            GolemError: the machine has answered other than its programs do.
        """
        words = (self._files, folder, previous_folder, line, str(previous_code), home)
        begin = Run(SHELL, "-c", BEGIN, SHELL, *words)
        results = self._machine.execute(begin, self._follow(_SHORT_BYTES), check=False)
        self._begun = True
        if not results.success and results[0].exit_code == NO_SUCH_FOLDER:
            self.had_no_folder = True
            self.code = _NOT_BEGUN
            return
        if not results[0].success:
            # The error of the command itself shows the script of the shell, which the user has not written.
            why = printable(results[0].stderr.strip() or results[0].message, 300)
            raise CommandFailed(f"the line could not begin on the machine: {why}")
        results.check()
        self._understand(results[1].stdout_bytes)

    def read(self) -> None:
        """Read what is new; waits a second for it.

        Raises:
            GolemError: the machine has answered other than its programs do.
        """
        is_long = self._has_volume and self._size - self._offset > _SHORT_BYTES
        result = self._machine.execute(
            self._follow(_LONG_BYTES if is_long else _SHORT_BYTES, keep_all=is_long)
        )
        self._understand(result.stdout_bytes)

    def skip(self) -> int:
        """Skip the output that was not read yet, all but its end; returns how many bytes are skipped."""
        skipped = max(self._size - self._offset - _SHORT_BYTES, 0)
        self._offset += skipped
        return skipped

    def end(self, signal: str) -> None:
        """Send a signal to all processes of the line: TERM or KILL."""
        # If the line has ended meanwhile, there is nobody to send it to.
        self._machine.execute(Run(SHELL, "-c", END, SHELL, self._files, signal), check=False)

    def _follow(self, most: int, keep_all: bool = False) -> Run:
        words = (self._files, str(self._offset), str(most), str(_WAIT_TENTHS))
        return Run(SHELL, "-c", FOLLOW, SHELL, *words, binary=True, keep_all=keep_all)

    def _understand(self, answer: bytes) -> None:
        head, _, rest = answer.partition(b"\n")
        found = _HEAD.fullmatch(head)
        if found is None or len(rest) < int(found[3]):
            raise strange_answer(self._machine, head)
        size, code, end = int(found[1]), found[2].decode(), int(found[3])
        (folder, _, previous), output = rest[:end].partition(b"\0"), rest[end:]
        if code == "lost":
            self.is_lost = self._begun
            self.code = _UNKNOWN if self._begun else _INTERRUPTED  # before it was sent
            self._offset = self._size
            return
        if size > self._offset and not output:
            raise strange_answer(self._machine, head)
        self._write(output)
        self._begun = True
        self._offset += len(output)
        self._size = size
        self.folder = folder.removesuffix(b"\n").decode(errors="replace")
        self.previous_folder = previous.decode(errors="replace")
        self.code = None if code == "-" else int(code)


def strange_answer(machine: Instance, said: object) -> GolemError:
    """Return the error for a machine whose answer to the scripts of the shell makes no sense."""
    provider = printable(machine.provider_name or machine.name)
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return GolemError(
        f"the machine of {provider} does not answer as a machine does ({printable(text, 60)!r}), so it "
        "can't be used: run `simple-golem shell` again, with another provider"
    )
