"""A runtime of the user's own that stays after its start, and gets its commands as messages."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ...background.cancellation import wait_until
from ...background.threads import EngineThread
from ..machine.processes import bound_to_parent
from .runtime import CommandError, file_name_of
from .runtime_messages import Answer, ProcessStatus, hello, read_message, run_process, shutdown

logger = logging.getLogger(__name__)

Output = Callable[[str, bytes], object]

_PROTOCOL_VERSION = "0.1.0"
_END_SECONDS = 2.0
_TICKS = os.sysconf("SC_CLK_TCK")


class _Process:
    """A program that the runtime runs.

    Attributes:
        output: called with each piece of its output.
        pid: the runtime's number of it; None until its first status.
        return_code: with what it has ended; None: it has not.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self.pid: int | None = None
        self.return_code: int | None = None


class StayingRuntime:
    """The process of a runtime that stays, and the conversation with it over its stdin and stdout.

    What it writes to stderr goes to the log.
    """

    def __init__(self, command: Sequence[str], folder: Path, output: Output) -> None:
        """Describe it; starts nothing.

        Args:
            command: its command line.
            folder: in which it is started.
            output: called with output that belongs to no program that runs, as long as the runtime stays.
        """
        self._command = command
        self._folder = folder
        self._output = output
        self._changed = threading.Condition()
        # One of its own: the runtime may read only when what it has written has been taken.
        self._writing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._exit_code: int | None = None
        self._stopped = False
        self._cpu = 0.0
        self._number = 0
        self._answers: dict[int, Answer] = {}
        self._running: _Process | None = None
        self._reader = EngineThread("runtime-messages", self._live)

    def start(self) -> None:
        """Start the process, and greet it; blocks until it has answered.

        Raises:
            CommandError: it can't be started, has ended, or has answered with an error.
        """
        self._reader.start()
        with self._changed:
            wait_until(self._changed, lambda: self._process is not None or self._has_ended(), None)
        answer = self._ask(lambda number: hello(number, _PROTOCOL_VERSION))
        if answer is None:
            self._ended_with_code()
        elif answer.error is not None:
            raise CommandError(f"Runtime error: service hello error: {answer.error}")

    def run(self, program: str, arguments: Sequence[str], output: Output) -> None:
        """Have a program run; blocks until it has ended.

        Args:
            program: the entry point.
            arguments: without the name of the program.
            output: called with "stdout" or "stderr" and each piece of output.

        Raises:
            CommandError: it has failed, or the runtime has ended.
        """
        name = file_name_of(program)
        process = _Process(output)
        with self._changed:
            self._running = process
        answer = self._ask(lambda number: run_process(number, program, [name, *arguments]))
        if answer is not None and answer.error is not None:
            raise CommandError(f"Runtime error: {answer.error}")
        with self._changed:
            wait_until(self._changed, lambda: process.return_code is not None or self._has_ended(), None)
            code = process.return_code
        if code is None:
            self._ended_with_code()
        elif code:
            raise CommandError.exited(code)

    def cpu_seconds(self) -> float:
        """The processor time in seconds of the runtime, and of those of its children that have ended."""
        with self._changed:
            process = self._process
            if process is not None and self._exit_code is None:
                self._cpu = max(self._cpu, _cpu_of(process.pid))
            return self._cpu

    def stop(self) -> None:
        """Ask the runtime to end, and kill it 2 seconds later; may be called from any thread."""
        with self._changed:
            if self._stopped:
                return
            self._stopped = True
            process = self._process
        if process is None:
            return
        self.cpu_seconds()
        self._ask(shutdown, _END_SECONDS)
        _kill(process)
        self._reader.join(_END_SECONDS)

    # --- the conversation --------------------------------------------------------------------------

    def _ask(self, request: Callable[[int], bytes], seconds: float | None = None) -> Answer | None:
        """Send a request and wait for its answer; None: the runtime has ended, or the time is over."""
        with self._changed:
            self._number += 1
            number, process = self._number, self._process
        if process is None or process.stdin is None:
            return None
        with self._writing:
            try:
                process.stdin.write(request(number))
                process.stdin.flush()
            except (OSError, ValueError) as error:
                logger.info("the runtime %s takes no message: %s", self._command[0], error)
        with self._changed:
            wait_until(self._changed, lambda: number in self._answers or self._has_ended(), seconds)
            return self._answers.pop(number, None)

    def _has_ended(self) -> bool:
        return self._exit_code is not None

    def _ended_with_code(self) -> None:
        if self._exit_code:
            raise CommandError.exited(self._exit_code)

    def _live(self) -> None:
        """Start the process, and take its messages until it ends: it is killed if this thread ends."""
        code = 1
        try:
            code = self._converse()
        except OSError as error:
            logger.info("the runtime %s can't be started: %s", self._command[0], error)
        finally:
            with self._changed:
                self._exit_code = code
                self._changed.notify_all()

    def _converse(self) -> int:
        with self._changed:
            if self._stopped:
                return 1
            process = self._process = subprocess.Popen(
                bound_to_parent(self._command),
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._changed.notify_all()
        assert process.stdin is not None
        assert process.stdout is not None
        said = EngineThread("runtime-stderr", self._log_stderr, process).start()
        try:
            while True:
                self._take(read_message(process.stdout))
        except (EOFError, ValueError) as error:
            logger.info("the runtime %s has ended: %s", self._command[0], error)
        self.cpu_seconds()
        if not _ends_by_itself(process):
            _kill(process)
        code = process.wait()
        said.join()
        process.stdout.close()
        with self._writing:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass  # it has not read all
        return code if code >= 0 else 1  # as the real exe-unit after a signal

    def _take(self, message: Answer | ProcessStatus | None) -> None:
        if isinstance(message, Answer):
            with self._changed:
                self._answers[message.number] = message
                self._changed.notify_all()
        elif message is not None:
            self._take_status(message)

    def _take_status(self, status: ProcessStatus) -> None:
        with self._changed:
            process = self._running
            if process is not None and process.pid is None:
                process.pid = status.pid
            if process is not None and process.pid != status.pid:
                process = None
        output = self._output if process is None else process.output
        for kind, data in (("stdout", status.stdout), ("stderr", status.stderr)):
            if data:
                output(kind, data)
        if process is not None and not status.running:
            with self._changed:
                process.return_code = status.return_code
                self._running = None
                self._changed.notify_all()

    def _log_stderr(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                logger.info("%s: %s", self._command[0], line.decode(errors="replace").rstrip())


def _ends_by_itself(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process ends that has closed its stdout: as a rule the one is a moment after the other."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all have ended


def _cpu_of(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The name of the program may contain spaces; it ends with the last parenthesis.
    fields = text[text.rindex(")") + 2 :].split()
    return sum(map(int, fields[11:15])) / _TICKS
