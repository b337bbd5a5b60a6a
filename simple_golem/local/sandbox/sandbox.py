"""The sandbox of an activity: a private root in namespaces of the kernel, and the commands that run in it.

It is our own code because the alternatives (bubblewrap, nsjail, Docker) are system packages that `pip` can't
install, and some need root. It is ready after 7 ms, and starts and ends a command in 0.8 ms.
"""

from __future__ import annotations

import array
import errno
import fcntl
import itertools
import json
import os
import selectors
import signal
import socket
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...background.cancellation import Deadline
from ...errors import LocalNetworkError, NamespacesForbidden, SandboxGone
from ..machine.processes import has_ended
from .memory_group import MemoryGroup, delegated_group
from .sandbox_maker import SandboxMaker

_PARENT_GROUP = delegated_group()

_START_TIMEOUT_SECONDS = 20.0
_ANSWER_TIMEOUT_SECONDS = 5.0
_PROCESSES_END_SECONDS = 3.0
_FORBIDDEN = {errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS, errno.ENOSYS, errno.EINVAL}
# The settings that can forbid namespaces: the value that forbids them, and one that allows them.
_SYSCTLS = (
    ("user.max_user_namespaces", "0", "15000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)

Output = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the processes in a sandbox may use; None: as much as the machine has.

    Attributes:
        disk_mib: the room of all volumes together in MiB, and at most that of each other folder.
        memory_mib: the memory of all processes in MiB, or of each process where this user can't make control
            groups. Half of it is the room of `/`, of `/tmp`, and of `/dev/shm`, each: in a virtual machine
            they are in its memory.
        cpu_threads: the number of processor threads.
    """

    disk_mib: int | None = None
    memory_mib: int | None = None
    cpu_threads: int | None = None

    def to_wire(self) -> Mapping[str, Any]:
        """The settings for the first process: the room in MiB, the memory in bytes, the processor threads."""
        half = None if self.memory_mib is None else self.memory_mib // 2
        rooms = [mib for mib in (half, self.disk_mib) if mib is not None]
        return {
            "disk_mib": self.disk_mib,
            "room_mib": min(rooms, default=None),
            "memory": None if self.memory_mib is None else self.memory_mib << 20,
            "cpus": _some_cpus(self.cpu_threads),
        }


_next_cpu = itertools.count()


def _some_cpus(number: int | None) -> list[int]:
    """Choose processor threads of this machine, for each sandbox others."""
    cpus = sorted(os.sched_getaffinity(0))
    if number is None or number >= len(cpus):
        return cpus
    first = next(_next_cpu) * number
    return [cpus[(first + index) % len(cpus)] for index in range(number)]


@dataclass(frozen=True, slots=True)
class SandboxUsage:
    """What the processes in a sandbox have used.

    Attributes:
        cpu_seconds: processor time.
        broken_outputs: the programs in the background that have died when they wrote to their output, the
            first of them if there are many.
        memory_kills: how many programs were killed since all together needed too much memory.
    """

    cpu_seconds: float
    broken_outputs: tuple[str, ...]
    memory_kills: int = 0


class Sandbox:
    """A private root, process table and network, made from namespaces of the kernel; needs no root rights.

    Inside there are the files of an image, and nothing of the host. What is changed vanishes with the
    sandbox. Nothing on the host is changed.

    Attributes:
        pid: the process on the host that holds the sandbox.
        is_writable: whether the whole image can be changed; otherwise only some folders can be written to.
    """

    def __init__(
        self,
        roots: Sequence[Path] = (),
        *,
        volumes: Sequence[str] = (),
        sizes: Mapping[str, int | None] | None = None,
        overlay: bool = True,
        hostname: str = "golem",
        hosts: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        maker: SandboxMaker | None = None,
    ) -> None:
        """Make a sandbox; blocks for about 10 ms with a `maker`, for 50 ms without, for 20 s at most.

        Args:
            roots: the folders of an unpacked image, the upper ones first; none: an empty root.
            volumes: the folders that are empty, whatever the image has there.
            sizes: the bytes of those that have a size of their own; the others share the room for volumes.
            overlay: False: do not lay a writable layer over the image.
            hostname: the host name inside.
            hosts: addresses by name, for `/etc/hosts`.
            limits: what its processes may use; None: as much as the machine has.
            maker: the process that makes the sandbox; None: a new one.

        Raises:
            NamespacesForbidden: the kernel does not let this user make namespaces; the message helps.
            LocalNetworkError: the sandbox could not be made for another reason.
        """
        limits = limits or Limits()
        self._group: MemoryGroup | None = None
        if limits.memory_mib is not None:
            self._group = MemoryGroup.make(limits.memory_mib, _PARENT_GROUP)
        settings = {
            "group": None if self._group is None else str(self._group.path),
            "roots": [str(root) for root in roots],
            "volumes": list(volumes),
            "sizes": {path: size for path, size in (sizes or {}).items() if size is not None},
            "overlay": overlay,
            "hostname": hostname,
            "hosts": dict(hosts or {}),
            **limits.to_wire(),
        }
        self._own_maker: SandboxMaker | None = None
        if maker is None:
            maker = self._own_maker = SandboxMaker()
        # The process on the host that holds the sandbox.
        self.pid: int | None = None
        self._handle: int | None = None
        self.is_writable = False
        try:
            self._control = maker.make(settings)
        except BaseException:
            self._close_own_maker()
            self._remove_group()
            raise
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise

    def _await_ready(self) -> None:
        left = Deadline(_START_TIMEOUT_SECONDS)
        self._control.settimeout(left.remaining())
        try:
            data, handles, _, _ = socket.recv_fds(self._control, 65536, 1)
            if handles:
                self._handle = handles[0]
                os.set_inheritable(self._handle, False)
                self.pid = int(json.loads(data)["pid"])
                self._control.settimeout(max(0.1, left.remaining()))
                data = self._control.recv(65536)
            answer = json.loads(data or b"null")
        except TimeoutError as error:
            raise LocalNetworkError(
                f"no private root was ready after {_START_TIMEOUT_SECONDS:g} s"
            ) from error
        if answer is None:
            raise LocalNetworkError("the first process of the sandbox ended before it was ready")
        if "step" in answer:
            raise _failure(answer["step"], answer["errno"])
        self.is_writable = bool(answer["writable"])
        self._control.settimeout(None)

    def popen(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: int | None = None,
        user: tuple[int, int] = (0, 0),
    ) -> SandboxProcess:
        """Start a command; does not wait for its end.

        Args:
            argv: the program, an absolute path inside, and its arguments. As with the real exe-unit, the
                program's `argv[0]` is its file name without the folder.
            env: the whole environment; None: an empty one, as in a VM.
            cwd: the working folder; by default the root, as in Golem's VM.
            stdin: the descriptor of the command's input; the caller must close it. None: no input.
            user: the ids of user and group; by default root.

        Raises:
            SandboxGone: the sandbox has ended.
        """
        program = argv[0] if argv else ""
        told = [os.path.basename(program), *argv[1:]]
        request = {"program": program, "argv": told, "env": dict(env or {}), "cwd": cwd, "user": list(user)}
        out_reader, out_writer = os.pipe()
        err_reader, err_writer = os.pipe()
        try:
            pipes = [out_reader, err_reader, out_writer, err_writer]
            connection = self._connect(request, pipes if stdin is None else [*pipes, stdin])
        except BaseException:
            os.close(out_reader)
            os.close(err_reader)
            raise
        finally:
            os.close(out_writer)
            os.close(err_writer)
        return SandboxProcess(connection, out_reader, err_reader)

    def start_detached(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str = "/", user: tuple[int, int] = (0, 0)
    ) -> int:
        """Start a command that nobody waits for and whose output is lost; the arguments are those of `popen`.

        Returns:
            Its process id inside; 0 if it did not start.

        Raises:
            SandboxGone: the sandbox has ended.
        """
        command = {"program": argv[0], "argv": list(argv), "env": dict(env), "cwd": cwd, "user": list(user)}
        request = {"ask": "detach", **command}
        return int(self._ask(request)["pid"])

    def open_file(self, path: str, mode: Literal["r", "w", "a"], volume: str | None = None) -> int:
        """Open a regular file inside; links are resolved inside.

        Args:
            path: the absolute path.
            mode: "r" to read the file; "w" to replace it; "a" to write to what is there. "w" makes missing
                parent folders.
            volume: the folder that the path is in; links that leave it lead to nothing. None: any folder.

        Returns:
            A descriptor in this process; the caller must close it.

        Raises:
            LinkRefused: a link on the path leads out of the volume.
            OSError: the file can't be opened for another reason.
            SandboxGone: the sandbox has ended.
        """
        return self._descriptor({"ask": "open", "path": path, "mode": mode, "volume": volume})

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Open a socket in the network of the sandbox; the caller must close it.

        Args:
            family, kind, protocol: as of `socket.socket`. Kinds that need rights are possible, too.

        Raises:
            OSError: the kernel does not make such a socket.
            SandboxGone: the sandbox has ended.
        """
        request = {"ask": "socket", "family": int(family), "kind": int(kind), "protocol": protocol}
        return socket.socket(fileno=self._descriptor(request))

    def _descriptor(self, request: dict[str, Any]) -> int:
        with self._connect(request, []) as connection:
            connection.settimeout(_ANSWER_TIMEOUT_SECONDS)
            try:
                answer, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
            except OSError as error:
                raise SandboxGone("the sandbox does not answer") from error
        if not answer:
            raise SandboxGone("the sandbox has ended")
        if not descriptors:
            refusal = json.loads(answer)
            kind = LinkRefused if refusal.get("by_link") else OSError
            raise kind(refusal["errno"], os.strerror(refusal["errno"]))
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    def usage(self) -> SandboxUsage:
        """Return what all processes inside have used so far."""
        answer = self._ask({"ask": "usage"})
        kills = 0 if self._group is None else self._group.kills()
        return SandboxUsage(float(answer["cpu"]), tuple(answer["broken_outputs"]), kills)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._connect(request, []) as connection:
            connection.settimeout(_ANSWER_TIMEOUT_SECONDS)
            try:
                answer = connection.recv(65536)
            except OSError as error:
                raise SandboxGone("the sandbox does not answer") from error
        if not answer:
            raise SandboxGone("the sandbox has ended")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def _connect(self, request: dict[str, Any], descriptors: list[int]) -> socket.socket:
        """Send a request; returns the socket of its answer, which ends when the sandbox ends."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [b"r"], [theirs.fileno(), *descriptors])
            ours.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            ours.close()
            raise SandboxGone("the sandbox has ended") from error
        return ours

    def close(self) -> None:
        """Kill all processes inside and remove the root; blocks until that is done, for 6 seconds at most."""
        self._control.close()
        handle, self._handle = self._handle, None
        if handle is not None:
            if not has_ended(handle, _PROCESSES_END_SECONDS):
                with suppress(ProcessLookupError):  # it has just ended
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                has_ended(handle, _PROCESSES_END_SECONDS)
            os.close(handle)
        self._close_own_maker()
        self._remove_group()

    def _remove_group(self) -> None:
        if self._group is not None:
            self._group.remove()

    def _close_own_maker(self) -> None:
        if self._own_maker is not None:
            self._own_maker.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LinkRefused(OSError):
    """A link leads out of the volume that it is in."""


class SandboxProcess:
    """A command in a sandbox; the caller must call `wait` or `close`."""

    def __init__(self, connection: socket.socket, stdout: int, stderr: int) -> None:
        self._connection = connection
        self._pipes = [stdout, stderr]
        # False after `wait` if the program is missing, or can't be executed.
        self.started = True

    def read(self, most: int) -> bytes:
        """Block for the next piece of stdout, `most` bytes at most; b"" at its end, then call `wait`."""
        return os.read(self._pipes[0], most)

    def wait(
        self,
        on_stdout: Output,
        on_stderr: Output,
        on_quiet: Callable[[], object] | None = None,
        quiet_seconds: float | None = None,
    ) -> int:
        """Block until the command's own process has ended; its child processes may still run.

        Args:
            on_stdout: called with each piece of stdout as it comes.
            on_stderr: called with each piece of stderr as it comes.
            on_quiet: called once when no output has come for a while after the last.
            quiet_seconds: how long that is.

        Returns:
            The exit code, as in a VM; the signal's number after a signal; 9 if it did not start.

        Raises:
            SandboxGone: the sandbox has ended, and the command with it.
        """
        outputs = dict(zip(self._pipes, (on_stdout, on_stderr), strict=True))
        with selectors.DefaultSelector() as selector:
            for descriptor in (self._connection.fileno(), *self._pipes):
                selector.register(descriptor, selectors.EVENT_READ)
            timeout = None
            while True:
                ready = [key.fd for key, _ in selector.select(timeout)]
                timeout = quiet_seconds if ready else None
                if not ready and on_quiet is not None:
                    on_quiet()
                for pipe in self._pipes:
                    if pipe in ready and not _forward(pipe, outputs[pipe], 65536):
                        selector.unregister(pipe)
                if self._connection.fileno() in ready:
                    break
        answer = self._connection.recv(65536)
        if answer:
            # The command's own output is in the pipes now. Later output of its child processes is not read.
            for pipe, on_output in outputs.items():
                _forward(pipe, on_output, _available(pipe))
        self.close()
        if not answer:
            raise SandboxGone("the command was ended with its sandbox")
        ended = json.loads(answer)
        self.started = ended.get("started", True)
        return int(ended["exit"])

    def close(self) -> None:
        """Close the pipes; a command that still runs is killed with its process group."""
        self._connection.close()
        pipes, self._pipes = self._pipes, []
        for pipe in pipes:
            os.close(pipe)


def _forward(pipe: int, on_output: Output, most: int) -> bool:
    """Pass on available output, of `most` bytes at most; returns False at the end of the pipe."""
    data = os.read(pipe, most) if most else b""
    if data:
        on_output(data)
    return bool(data)


def _available(pipe: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def _failure(step: str, number: int | None) -> LocalNetworkError:
    reason = os.strerror(number) if number else "unknown error"
    if number not in _FORBIDDEN:
        return LocalNetworkError(f"no private root for an activity: {step}: {reason}")
    return NamespacesForbidden(
        f"this machine does not let you make the namespaces that an activity lives in ({step}: {reason}). "
        + _advice(_read_sysctl)
    )


def _advice(read_sysctl: Callable[[str], str | None]) -> str:
    """How to allow namespaces, according to the kernel's settings."""
    forbidding = [(name, remedy) for name, forbids, remedy in _SYSCTLS if read_sysctl(name) == forbids]
    if forbidding:
        return "Allow it with: " + "; ".join(f"sudo sysctl -w {name}={remedy}" for name, remedy in forbidding)
    names = ", ".join(name for name, _, _ in _SYSCTLS)
    return (
        f"None of the settings that usually forbid it does ({names}). "
        "A container must be started with --privileged, or with seccomp, apparmor and systempaths unconfined"
    )


def _read_sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return None  # not a setting of this kernel
