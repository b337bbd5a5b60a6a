"""One line that runs on a rented machine."""

from __future__ import annotations

from collections.abc import Callable

from ...model.commands.commands import Run
from ...model.commands.environment import SHELL
from ...model.commands.results import CUT_BYTES
from ...services.instance import Instance
from .scripts import BEGIN, END, FOLLOW

NO_SUCH_FOLDER = 126
_INTERRUPTED = 130
_UNKNOWN = 125
# A virtual machine may lose the end of a longer output. More is read through a file, if there is a volume.
_SHORT_BYTES = CUT_BYTES - 512
_LONG_BYTES = 1 << 20
_WAIT_TENTHS = 10


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
        self.is_lost = False

    @property
    def has_ended(self) -> bool:
        return self.code is not None and self._offset >= self._size

    def begin(self, line: str, folder: str) -> None:
        """Begin the line in a folder, and read its first output.

        Without this folder nothing runs, and the exit code is `NO_SUCH_FOLDER`.
        """
        begin = Run(SHELL, "-c", BEGIN, SHELL, self._files, folder, line)
        results = self._machine.execute(begin, self._follow(_SHORT_BYTES), check=False)
        self._begun = True
        if not results.success and results[0].exit_code == NO_SUCH_FOLDER:
            self.code = NO_SUCH_FOLDER
            return
        results.check()
        self._understand(results[1].stdout_bytes)

    def read(self) -> None:
        """Read what is new; waits a second for it."""
        is_long = self._has_volume and self._size - self._offset > _SHORT_BYTES
        result = self._machine.execute(
            self._follow(_LONG_BYTES if is_long else _SHORT_BYTES, keep_all=is_long)
        )
        self._understand(result.stdout_bytes)

    def end(self, signal: str) -> None:
        """Send a signal to all processes of the line: TERM or KILL."""
        # If the line has ended meanwhile, there is nobody to send it to.
        self._machine.execute(Run(SHELL, "-c", END, SHELL, self._files, signal), check=False)

    def _follow(self, most: int, keep_all: bool = False) -> Run:
        words = (self._files, str(self._offset), str(most), str(_WAIT_TENTHS))
        return Run(SHELL, "-c", FOLLOW, SHELL, *words, binary=True, keep_all=keep_all)

    def _understand(self, answer: bytes) -> None:
        head, _, rest = answer.partition(b"\n")
        folder, _, output = rest.partition(b"\n")
        size, code = head.decode().split()
        if code == "lost":
            self.is_lost = self._begun
            self.code = _UNKNOWN if self._begun else _INTERRUPTED  # before it was sent
            self._offset = self._size
            return
        self._write(output)
        self._begun = True
        self._offset += len(output)
        self._size = int(size)
        self.folder = folder.decode(errors="replace")
        self.code = None if code == "-" else int(code)
