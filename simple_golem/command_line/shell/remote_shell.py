"""A shell on a rented machine: it runs line after line, and can end one that runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from ...errors import BadCommand
from ...model.base.printable import printable
from ...model.commands.commands import Run
from ...model.commands.environment import SHELL
from ...services.instance import Instance
from .remote_line import RemoteLine, strange_answer
from .scripts import PREPARE

# Linux takes no longer argument of a program, and the line is one.
_MOST_BYTES = (128 << 10) - 1
# The signals of the first and the second Ctrl-C. A line in the background does not hear SIGINT.
_SIGNALS = (
    ("TERM", "^C: the command is asked to end (SIGTERM); press Ctrl-C again to kill it"),
    ("KILL", "^C: the command is killed (SIGKILL); Ctrl-C once more ends the machine"),
)


class RemoteShell:
    """Runs lines on a machine, each with `/bin/sh`; the working folder stays from line to line.

    Args:
        machine: the machine.
        write: is called with each piece of output, as it comes.
        tell: is called with what the user must know besides.
        note: is called with what can stand back, such as an exit code.

    Attributes:
        folder: the working folder.
    """

    def __init__(
        self,
        machine: Instance,
        write: Callable[[bytes], object],
        tell: Callable[[str], object],
        note: Callable[[str], object],
    ) -> None:
        self._machine = machine
        self._write = write
        self._tell = tell
        self._note = note
        self._numbers = count(1)
        self._files, self.folder, self._has_volume = _prepared(machine)
        self._first_folder = self.folder
        self._previous_folder = ""

    def run(self, text: str, *, previous_code: int = 0, interruptible: bool = False) -> int:
        """Run a line; blocks until it has ended, and writes its output meanwhile.

        Args:
            text: the line.
            previous_code: the exit code of the line before, which is its `$?`.
            interruptible: whether Ctrl-C ends the line instead of this call. The third one ends the call.

        Returns:
            Its exit code.

        Raises:
            BadCommand: the line is too long for any machine.
            CommandFailed: the machine could not begin it.
            GolemError: the machine is lost, or its answers make no sense.
            KeyboardInterrupt: Ctrl-C.
        """
        size = len(text.encode(errors="surrogatepass"))
        if size > _MOST_BYTES:
            raise BadCommand(
                f"a line can have {_MOST_BYTES} bytes, and this one has {size}: "
                "write them to a file, and copy it to the machine with put"
            )
        line = RemoteLine(
            self._machine, f"{self._files}/{next(self._numbers)}", self._has_volume, self._write
        )
        begun = False
        presses = heard = skipped = 0
        while True:
            # All of a round is in here: Ctrl-C may come at any moment.
            try:
                if line.code is not None and line.has_ended:
                    break
                if heard < presses:
                    heard = presses
                    signal, explanation = _SIGNALS[presses - 1]
                    self._tell(explanation)
                    line.end(signal)
                elif presses and line.code is not None:
                    # Nobody waits for megabytes from before Ctrl-C, nor for what goes on in the background.
                    skipped += line.skip()
                    line.read()
                    break
                elif begun:
                    line.read()
                else:
                    begun = True
                    line.begin(text, self.folder, self._previous_folder, previous_code, self._first_folder)
            except KeyboardInterrupt:
                presses += 1
                if not interruptible or presses > len(_SIGNALS):
                    raise
        if line.had_no_folder:
            self._tell(f"there is no folder {printable(self.folder)} any more; back to {self._first_folder}")
            self.folder = self._first_folder
        if line.folder:
            self.folder, self._previous_folder = line.folder, line.previous_folder
        if line.is_lost:
            self._tell(f"the files of this command in {self._files} are gone: its end is not known")
        elif presses:
            rest = f"; {skipped} bytes of its output were not fetched" if skipped else ""
            self._tell(f"the command has ended, with exit code {line.code}{rest}")
        elif interruptible and line.code and not line.had_no_folder:
            # A program may fail without a word.
            self._note(f"exit code {line.code}")
        return line.code


def _prepared(machine: Instance) -> tuple[str, str, bool]:
    """The folder for the files of lines, the working folder, and whether the image has a volume."""
    try:
        results, has_volume = machine.execute(Run(SHELL, "-c", PREPARE, SHELL, keep_all=True)), True
    except BadCommand:
        results, has_volume = machine.execute(Run(SHELL, "-c", PREPARE, SHELL)), False
    lines = results.stdout.splitlines()
    if len(lines) < 2 or not all(line.startswith("/") for line in lines[:2]):
        raise strange_answer(machine, results.stdout)
    files, folder = lines[:2]
    return files, folder, has_volume
