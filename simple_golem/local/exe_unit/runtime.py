"""The runtime of one activity: executes deploy, start, run and transfer in a sandbox instead of a VM."""

from __future__ import annotations

import json
import logging
import re
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ...background.cancellation import Scope
from ...errors import LocalNetworkError, SandboxGone
from ...model.base.printable import printable
from ..control import rules
from ..control.rules import OnStrike, Rule
from ..images.formats.gvmi import BadMetadata
from ..images.image_config import ImageConfig
from ..images.image_store import NO_IMAGE, ImageStore, LocalImage
from ..sandbox.sandbox import Limits, Sandbox
from ..sandbox.sandbox_maker import SandboxMaker
from ..transfer.progress import Report, Reporter
from ..transfer.transfer import TransferFailed, Transfers
from ..transfer.web_files import Web
from .image_download import NoImage, image_of
from .lost_tail import MOMENT_SECONDS, LostTail
from .vpn.networks import NetworkFailed, Networks

logger = logging.getLogger(__name__)

Output = Callable[[str, bytes], object]

# The argument of `start` that has the image's own command started, as on a real provider.
_ENTRY_POINT = "start-entrypoint"
_PANIC = 101
_SIZED = {"ram", "storage"}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *([kmgt])?(i)?b?", re.IGNORECASE)


class CommandError(Exception):
    """A command of an ExeScript failed; the requestor gets the message.

    Attributes:
        return_code: the return code for the requestor.
        stderr: output for the requestor that the command has not written itself.
    """

    def __init__(self, message: str, return_code: int = -1, stderr: str = "") -> None:
        super().__init__(message)
        self.return_code = return_code
        self.stderr = stderr

    @classmethod
    def exited(cls, code: int, stderr: str = "") -> CommandError:
        return cls(f"ExeScript command exited with code {code}", code, stderr)


def file_name_of(program: str) -> str:
    """The file name of a program.

    Raises:
        CommandError: it has none, as `/` and `..`.
    """
    name = PurePosixPath(program).name
    if name in ("", ".."):
        raise CommandError("Runtime error: Invalid binary name")
    return name


class SandboxRuntime:
    """Executes the commands that need a runtime, one at a time."""

    def __init__(
        self,
        images: ImageStore,
        task_package: str | None,
        transfers: Transfers,
        networks: Networks,
        on_strike: OnStrike,
        limits: Limits | None = None,
        sandboxes: SandboxMaker | None = None,
        web: Web | None = None,
        scope: Scope | None = None,
    ) -> None:
        """Args:
        images: the images that can be deployed.
        task_package: `hash:sha3:<hash>:<url>`, as in the demand; None: no image.
        transfers: executes `transfer`.
        networks: the private networks that the activity can join.
        on_strike: called when a rule refuses or changes something.
        limits: what the processes may use; None: as much as the machine has.
        sandboxes: makes the private root; None: a maker of its own.
        web: the web as the provider reaches it, for the image; None: without the script's machine.
        scope: the scope of the activity; None: one that nobody cancels.
        """
        self._web = web or Web()
        self._scope = scope or Scope()
        self._images = images
        self._transfers = transfers
        self._networks = networks
        self._on_strike = on_strike
        self._limits = limits
        self._sandboxes = sandboxes
        self._task_package = task_package
        self._environment: dict[str, str] = {}
        self._volumes: list[str] = []
        self._config = ImageConfig()
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None
        self._stops = 0
        self._closed = False
        self._cpu_before = 0.0
        # How often a rule has struck in the present sandbox, as far as it was reported.
        self._reported: Counter[Rule] = Counter()

    def execute(self, name: str, details: Mapping[str, Any], output: Output, report: Report) -> None:
        """Execute a command; blocks until it has ended.

        Args:
            name: the name of the command, such as "run".
            details: its fields in the ExeScript, such as `{"entry_point": …}`.
            output: called with "stdout" or "stderr" and each piece of output.
            report: called with each progress report that the command asks for.

        Raises:
            CommandError: the command failed.
        """
        try:
            _COMMANDS[name](self, details, output, report)
        except SandboxGone as error:
            raise CommandError(f"Runtime error: {error}") from error
        except LocalNetworkError as error:
            raise CommandError(f"ExeScript command error: {error}") from error

    def _deploy(self, details: Mapping[str, Any], output: Output, report: Report) -> None:
        stops_before = self._stops
        image = self._image()
        roots, config = self._unpacked(image)
        folders, sizes = _volumes(details)
        paths = [path for path in dict.fromkeys([*config.volumes, *folders]) if path not in sizes]
        sandbox = Sandbox(
            roots,
            volumes=[*paths, *sizes],
            sizes=sizes,
            hostname=details.get("hostname") or "golem",
            hosts=self._hosts(details),
            limits=self._limits,
            maker=self._sandboxes,
        )
        try:
            self._networks.join(sandbox, details.get("net") or ())
        except NetworkFailed as error:
            sandbox.close()
            raise CommandError(f"Net error: {error}") from error
        with self._lock:
            stopped_meanwhile = self._closed or self._stops != stops_before
            self._sandbox = None if stopped_meanwhile else sandbox
        if stopped_meanwhile:
            self._networks.leave()
            sandbox.close()
            raise SandboxGone("the runtime was stopped")
        self._environment = dict(details.get("env") or {})
        self._volumes = paths
        self._config = config
        deployed = [{"name": f"vol-{number}", "path": path} for number, path in enumerate(paths)]
        answer = {"valid": {"Ok": ""}, "vols": deployed, "startMode": "blocking"}
        output("stdout", json.dumps(answer).encode())
        Reporter(details.get("progress"), report).message("Deployed image from cache")

    def _hosts(self, details: Mapping[str, Any]) -> Mapping[str, str]:
        hosts: Mapping[str, str] = details.get("hosts") or {}
        if hosts and not details.get("net"):
            self._on_strike(rules.HOSTS_NEED_NETWORK, "deploy", f"{', '.join(hosts)} not known inside")
            return {}
        return hosts

    def _image(self) -> LocalImage | None:
        if self._task_package is None:
            return None
        try:
            return image_of(self._task_package, self._images, self._web, self._scope)
        except NoImage as error:
            self._on_strike(rules.IMAGE, self._task_package, str(error))
            raise CommandError(f"Local service error: Transfer error: {error}") from error

    def _unpacked(self, image: LocalImage | None) -> tuple[Sequence[Path], ImageConfig]:
        source = NO_IMAGE if image is None else image.source
        unpacked = self._images.unpacked(source)
        try:
            return unpacked.roots, source.config(unpacked)
        except BadMetadata as error:
            # The runtime is a program that ends with this code, and writes this on its stderr.
            message = f"Error: Error reading package metadata: {error} (code: 1) (code: 1)\n"
            raise CommandError.exited(1, message) from error

    def _start(self, details: Mapping[str, Any], output: Output, report: Report) -> None:
        """Report the arguments, or start the image's own command: the sandbox runs since deploy."""
        arguments = details.get("args") or ()
        if _ENTRY_POINT in arguments:
            command = self._config.entry_point
            if not command:
                raise CommandError.exited(_PANIC)  # that of a Rust program: the runtime dies
            pid = self._running().start_detached(
                command, self._environment, self._config.work_folder, self._config.user
            )
            answer = {"start": None, "entrypoint": {"pid": pid, "command": list(command)}}
            output("stdout", json.dumps(answer).encode())
        elif arguments:
            output("stdout", json.dumps({"args": list(arguments)}).encode())

    def _run(self, details: Mapping[str, Any], output: Output, report: Report) -> None:
        file_name_of(details["entry_point"])
        argv = [details["entry_point"], *details.get("args", ())]
        command_line = shlex.join(argv)
        config = self._config
        process = self._running().popen(argv, self._environment, config.work_folder, user=config.user)
        tails = [LostTail(partial(output, "stdout")), LostTail(partial(output, "stderr"))]

        def pass_on() -> None:
            for tail in tails:
                tail.pass_on()

        code = process.wait(tails[0].write, tails[1].write, pass_on, MOMENT_SECONDS)
        if lost := sum(tail.end() for tail in tails):
            self._on_strike(rules.LOST_TAIL, command_line, f"the last {lost} bytes of its output are lost")
        if not process.started:
            self._on_strike(rules.NOT_STARTED, command_line, "code 9")
        if code:
            raise CommandError.exited(code)

    def _transfer(self, details: Mapping[str, Any], output: Output, report: Report) -> None:
        try:
            self._transfers.transfer(self._running(), details, report, self._volumes)
        except TransferFailed as error:
            raise CommandError(f"Local service error: Transfer error: {error}") from error

    def _running(self) -> Sandbox:
        sandbox = self._sandbox
        if sandbox is None:
            raise SandboxGone("the runtime was stopped")
        return sandbox

    def cpu_seconds(self) -> float:
        """Return the processor time in seconds that all commands have used so far."""
        with self._lock:
            before, sandbox, reported = self._cpu_before, self._sandbox, self._reported
        try:
            if sandbox is None:
                return before
            used = sandbox.usage()
        except SandboxGone:
            return self._cpu_before
        self._report_new(reported, rules.BACKGROUND_OUTPUT, used.broken_outputs, "killed by SIGPIPE")
        killed = ["a program"] * used.memory_kills
        self._report_new(reported, rules.MEMORY, killed, "killed: all need too much memory")
        return before + used.cpu_seconds

    def _report_new(self, reported: Counter[Rule], rule: Rule, struck: Sequence[str], text: str) -> None:
        """Report what has been struck in a sandbox since the last time."""
        with self._lock:
            new = struck[reported[rule] :]
            reported[rule] += len(new)
        for what in new:
            self._on_strike(rule, printable(what), text)

    def stop(self) -> None:
        """End all processes; `deploy` makes a new sandbox. May be called from any thread."""
        cpu = self.cpu_seconds()
        with self._lock:
            self._stops += 1
            self._cpu_before = cpu
            sandbox, self._sandbox = self._sandbox, None
            # Another thread may still be about to report for the old sandbox.
            self._reported = Counter()
        # Its sockets would keep the network of the sandbox alive.
        self._networks.leave()
        if sandbox is not None:
            sandbox.close()

    def close(self) -> None:
        """End all processes for good; every later command fails."""
        with self._lock:
            self._closed = True
        self.stop()


def _volumes(details: Mapping[str, Any]) -> tuple[Sequence[str], Mapping[str, int | None]]:
    """The volumes of a deploy: a list of paths, or a mapping of paths to kinds.

    Returns:
        Those that are folders of the provider's host, which alone can be transferred to, and the bytes of the
        others.

    Raises:
        CommandError: a real provider does not take them.
    """
    volumes = details.get("volumes") or ()
    kinds = volumes if isinstance(volumes, Mapping) else {path: {"host": {}} for path in volumes}
    folders = [path for path, kind in kinds.items() if not _SIZED & set(kind or ())]
    if any(not path.strip("/") for path in folders):
        message = 'Error: Error reading package metadata: Volume of type `host` specified for path="/"'
        raise CommandError.exited(1, f"{message} (code: 1) (code: 1)\n")
    # The root's own room is that of the machine.
    sized = {path: kind for path, kind in kinds.items() if path not in folders and path.strip("/")}
    return folders, {path: _bytes_of(next(iter(kind.values()))) for path, kind in sized.items()}


def _bytes_of(volume: object) -> int | None:
    """The size of a volume, such as `{"size": "100mb"}`; None: it has none that can be read."""
    size = volume.get("size") if isinstance(volume, Mapping) else None
    if isinstance(size, int):
        return size
    found = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    if found is None:
        return None
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" kmgt".index((unit or " ").lower())))


_COMMANDS = {
    "deploy": SandboxRuntime._deploy,
    "start": SandboxRuntime._start,
    "run": SandboxRuntime._run,
    "transfer": SandboxRuntime._transfer,
}
