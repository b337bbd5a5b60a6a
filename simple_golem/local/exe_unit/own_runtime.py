"""A runtime of the user's own: a program that is called as the real exe-unit calls that of a runtime."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from ...background.threads import EngineThread
from ..machine.processes import bound_to_parent, has_ended
from ..transfer.progress import Report
from ..transfer.transfer import TransferFailed, Transfers
from .runtime import CommandError
from .staying_runtime import StayingRuntime

Output = Callable[[str, bytes], object]

_END_SECONDS = 2.0
_PIECE_BYTES = 65536
_START_MODES = ("empty", "blocking")


class HostFiles:
    """The volumes of an activity: folders of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[str, Path] = {}

    @property
    def volumes(self) -> Sequence[str]:
        """The paths of the volumes, as commands name them."""
        return list(self._places)

    def volumes_of(self, deployment: Mapping[str, Any]) -> None:
        """Take the volumes from what `deploy` has printed."""
        for volume in deployment.get("vols") or ():
            place = self._folder / volume["name"]
            place.mkdir(parents=True, exist_ok=True)
            self._places[volume["path"]] = place

    def open_file(self, path: str, mode: Literal["r", "w", "a"], volume: str | None = None) -> int:
        """Open a file; links are followed on this machine, as a provider does.

        Raises:
            OSError: it can't be opened.
        """
        place = self._places[volume or ""] / os.path.relpath(path, volume)
        if mode == "r":
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            how = os.O_APPEND if mode == "a" else os.O_TRUNC
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | how | os.O_NONBLOCK, 0o644)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return descriptor


class OwnRuntime:
    """Executes the commands of one activity by a program.

    The program runs on this machine, as this user, in a folder of the activity. It is called as
    `PROGRAM --workdir FOLDER [--task-package FILE] COMMAND`, once for each command:
    `[--volume-override JSON] [--hostname NAME] deploy --`, `start -- ARGUMENTS…` or
    `run --entrypoint PROGRAM -- ARGUMENTS…`. If its `deploy` says so, it is called as `start ARGUMENTS…` only
    once after that, and stays.
    """

    def __init__(
        self, program: Path, transfers: Transfers, task_package: Callable[[], Path | None], folder: Path
    ) -> None:
        """Args:
        program: the program.
        transfers: executes `transfer`.
        task_package: returns the file of the image; None: the demand names none.
        folder: a folder in which the activity gets one of its own.
        """
        self._program = program
        self._transfers = transfers
        self._task_package = task_package
        self._folder = Path(tempfile.mkdtemp(prefix="runtime-", dir=folder))
        self._files = HostFiles(self._folder)
        self._package: list[str] = []
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._cpu = 0.0
        self._stops = 0
        self._stays = False
        self._staying: StayingRuntime | None = None

    def execute(self, name: str, details: Mapping[str, Any], output: Output, report: Report) -> None:
        """Execute a command: with the arguments and the error of `SandboxRuntime.execute`."""
        if name == "transfer":
            try:
                self._transfers.transfer(self._files, details, report, self._files.volumes)
            except TransferFailed as error:
                raise CommandError(f"Local service error: Transfer error: {error}") from error
        elif name == "deploy":
            self._deploy(details, output)
        elif name == "start":
            self._start(list(details.get("args") or ()), output)
        else:
            self._run(details["entry_point"], list(details.get("args") or ()), output)

    def _start(self, arguments: Sequence[str], output: Output) -> None:
        if not self._stays:
            self._call(["start", "--", *arguments], output)
            return
        stops_before = self._stops
        runtime = StayingRuntime([*self._begin(), "start", *arguments], self._folder, output)
        with self._lock:
            self._staying = runtime
        if self._stops != stops_before:
            runtime.stop()
        runtime.start()

    def _run(self, program: str, arguments: Sequence[str], output: Output) -> None:
        if not self._stays:
            self._call(["run", "--entrypoint", program, "--", *arguments], output)
            return
        staying = self._staying
        if staying is None:
            raise CommandError("Runtime error: START command not run")
        staying.run(program, arguments, output)

    def _begin(self) -> list[str]:
        return [str(self._program), "--workdir", str(self._folder), *self._package]

    def _deploy(self, details: Mapping[str, Any], output: Output) -> None:
        package = self._task_package()
        self._package = [] if package is None else ["--task-package", str(package)]
        options: list[str] = []
        if details.get("volumes"):
            options += ["--volume-override", json.dumps(_kinds(details["volumes"]))]
        if details.get("hostname"):
            options += ["--hostname", details["hostname"]]
        printed = bytearray()

        def keep(kind: str, data: bytes) -> None:
            if kind == "stdout":
                printed.extend(data)
            output(kind, data)

        self._call([*options, "deploy", "--"], keep)
        deployment = _deployment(bytes(printed))
        self._files.volumes_of(deployment)
        self._stays = deployment.get("startMode") == "blocking"

    def _call(self, command: Sequence[str], output: Output) -> None:
        arguments = [*self._begin(), *command]
        stops_before = self._stops
        process = subprocess.Popen(
            bound_to_parent(arguments),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        with self._lock:
            self._processes.add(process)
        if self._stops != stops_before:
            self._end(process)
        readers = [
            EngineThread(f"runtime-{kind}", _forward, pipe, kind, output).start()
            for kind, pipe in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        _, status, usage = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
        for reader in readers:
            reader.join()
        with self._lock:
            self._processes.discard(process)
            self._cpu += usage.ru_utime + usage.ru_stime
        if code < 0:
            raise CommandError("ExeScript command exited with code -1", -1)
        if code:
            raise CommandError.exited(code)

    def cpu_seconds(self) -> float:
        """Return the processor time in seconds of commands that have ended, and of a runtime that stays."""
        staying = self._staying
        return self._cpu + (0.0 if staying is None else staying.cpu_seconds())

    def stop(self) -> None:
        """End all programs; may be called from any thread. Blocks for 2 seconds at most."""
        with self._lock:
            self._stops += 1
            processes, staying = list(self._processes), self._staying
        if staying is not None:
            staying.stop()
            with self._lock:
                if self._staying is staying:
                    self._cpu += staying.cpu_seconds()
                    self._staying = None
        for process in processes:
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for number, seconds in ((signal.SIGTERM, _END_SECONDS), (signal.SIGKILL, 0.0)):
            try:
                os.killpg(process.pid, number)
                handle = os.pidfd_open(process.pid)
            except ProcessLookupError:
                return
            try:
                if has_ended(handle, seconds):
                    return
            finally:
                os.close(handle)

    def close(self) -> None:
        """End all programs for good, and remove the folder of the activity."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _forward(pipe: IO[bytes], kind: str, output: Output) -> None:
    with pipe:
        while piece := os.read(pipe.fileno(), _PIECE_BYTES):
            output(kind, piece)


def _kinds(volumes: object) -> Mapping[str, Any]:
    """The volumes of a deploy by their paths; a list of paths names folders of the host."""
    return volumes if isinstance(volumes, Mapping) else {path: {"host": {}} for path in _paths(volumes)}


def _paths(volumes: object) -> Sequence[str]:
    return [str(path) for path in volumes] if isinstance(volumes, (list, tuple)) else []


def _deployment(printed: bytes) -> Mapping[str, Any]:
    """Read what `deploy` has printed: nothing, or a JSON object, perhaps behind other text.

    Raises:
        CommandError: it is something else.
    """
    if not printed:
        return {}
    start = printed.find(b"{")
    if start < 0:
        text = printed.decode(errors="replace")
        raise CommandError(f"ExeScript command error: invalid deploy response: {text}")
    try:
        deployment = json.loads(printed[start:])
    except ValueError as error:
        raise CommandError(f"ExeScript command error: {error}") from error
    if "valid" not in deployment:
        raise CommandError("ExeScript command error: missing field `valid`")
    if deployment.get("startMode", "empty") not in _START_MODES:
        modes = " or ".join(f"`{mode}`" for mode in _START_MODES)
        mode = deployment["startMode"]
        raise CommandError(f"ExeScript command error: unknown variant `{mode}`, expected {modes}")
    parsed: Mapping[str, Any] = deployment
    return parsed
