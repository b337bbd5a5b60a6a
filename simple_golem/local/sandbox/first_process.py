"""The first process of a sandbox: makes the private root, starts commands, and kills them all at its end.

It runs as a program of its own, with the standard library only, so that it can fork safely.
`sandbox_maker.py` starts it. The program forks once for each sandbox, and ends when its owner closes the
socket for requests. Each sandbox has a control socket. When its other end is closed, also because the owner
was killed, the first process ends. The kernel then kills all other processes in the sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import json
import os
import resource
import selectors
import signal
import socket
import stat
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

# The new root is mounted here. Any folder will do that always exists and that is not needed here.
NEW_ROOT = "/sys"
EMPTY_FOLDERS = ("tmp", "run", "var", "root", "home", "dev", "proc", "sys")
RESOLV_CONF = "nameserver 1.1.1.1\nnameserver 8.8.8.8\n"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
# A VM's exit code for a program that is missing or can't be executed; a killed program has the same.
NOT_STARTED = 9
MOST_LINKS = 40
# What is kept of the programs in the background, and of what has left them there.
MOST_TOLD, MOST_COMMANDS, MOST_CHARACTERS = 20, 1000, 80

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME, MS_MOVE = 0x20, 0x400, 0x800, 0x2000
MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 0x1000, 0x4000, 0x40000, 0x200000
MNT_DETACH = 2
NO_INPUT = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
# The signals that Python or this program handles; a command gets their default handling.
OWN_SIGNALS = (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, CAP_SYS_ADMIN = 1, 24, 21
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

libc = ctypes.CDLL(None, use_errno=True)


class SetupFailed(Exception):
    """A step of making the private root failed."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(f"{step}: {os.strerror(number)}")
        self.step = step
        self.number = number


def call(step: str, function: Any, *args: Any) -> None:
    """Call a function of the C library; raises `SetupFailed` if it fails."""
    if function(*args) == -1:
        raise SetupFailed(step, ctypes.get_errno())


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    arguments = (encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    call(f"mount {kind or source} on {target}", libc.mount, *arguments)


# --- the namespaces and the root ---------------------------------------------------------------------


def enter_namespaces() -> None:
    """Move this process to new namespaces; inside, the user is root."""
    user, group = os.geteuid(), os.getegid()
    kinds = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    call("unshare", libc.unshare, kinds)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError as error:
            raise SetupFailed(f"write {name}", error.errno or 0) from error


def make_room(folder: str, mode: str, mib: int | None) -> None:
    """Mount a folder in memory; `mib`: its size, None for half of the machine's memory."""
    size = "" if mib is None else f",size={mib}m"
    mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}{size}")


def limit(settings: dict[str, Any]) -> None:
    """Limit what this process, and all that it starts, may use."""
    os.sched_setaffinity(0, settings["cpus"])
    if settings["memory"] is not None and not settings["joined"]:
        # Not RLIMIT_AS: some programs reserve far more addresses than they ever use.
        resource.setrlimit(resource.RLIMIT_DATA, (settings["memory"], settings["memory"]))


def join_group(path: str | None) -> bool:
    """Join a control group, if there is one; returns whether this process is in it."""
    if path is None:
        return False
    try:
        with open(f"{path}/cgroup.procs", "w") as file:
            file.write("0")
    except OSError:
        return False
    return True


# --- the root from an image --------------------------------------------------------------------------


def make_root(settings: dict[str, Any]) -> bool:
    """Build the private root from an image, and leave the host's root for good.

    Until the host's root is left, only this program's own folders are touched: a link of a hostile image
    could lead anywhere.

    Returns:
        Whether all of the root can be written to.
    """
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    make_room(NEW_ROOT, "755", settings["room_mib"])
    for name in ("image", "root", "upper", "work", "dev", "proc", "volumes"):
        os.mkdir(f"{NEW_ROOT}/{name}")
    make_room(f"{NEW_ROOT}/volumes", "755", settings["disk_mib"])
    for number, folder in enumerate(settings["roots"]):
        os.mkdir(f"{NEW_ROOT}/image/{number}")
        mount(folder, f"{NEW_ROOT}/image/{number}", None, MS_BIND)
    count = len(settings["roots"])
    is_writable = settings["overlay"] and lay_overlay(count)
    if not is_writable:
        show_read_only(count)
    make_devices(f"{NEW_ROOT}/dev", settings["room_mib"])
    mount("proc", f"{NEW_ROOT}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    old = f"/.{os.urandom(16).hex()}"  # no link of an image leads there
    os.mkdir(f"{NEW_ROOT}/root{old}")
    os.chdir(f"{NEW_ROOT}/root")
    call("pivot_root", libc.pivot_root, b".", os.fsencode(old[1:]))
    os.chdir("/")
    furnish(f"{old}{NEW_ROOT}", settings)
    call("leave the old root", libc.umount2, os.fsencode(old), MNT_DETACH)
    os.rmdir(old)
    return is_writable


def lay_overlay(count: int) -> bool:
    """Lay a writable layer over the folders of the image; returns False if this machine can't."""
    lower = ":".join(f"{NEW_ROOT}/image/{number}" for number in range(count))
    layers = f"lowerdir={lower},upperdir={NEW_ROOT}/upper,workdir={NEW_ROOT}/work"
    try:
        # Without user.* attributes whole folders of the image could not be removed.
        os.setxattr(f"{NEW_ROOT}/upper", "user.overlay.test", b"y")
        os.removexattr(f"{NEW_ROOT}/upper", "user.overlay.test")
        mount("overlay", f"{NEW_ROOT}/root", "overlay", MS_NOSUID | MS_NODEV, f"{layers},userxattr")
    except (OSError, SetupFailed):
        return False
    return True


def show_read_only(count: int) -> None:
    """Show the image without a writable layer: only some of its folders can be written to, and are empty."""
    mount(f"{NEW_ROOT}/root", f"{NEW_ROOT}/root", None, MS_BIND)
    for number in range(count):
        layer = f"{NEW_ROOT}/image/{number}"
        flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
        mount("none", layer, None, flags | kept_flags(layer))
        for entry in os.scandir(layer):
            shown = f"{NEW_ROOT}/root/{entry.name}"
            if os.path.lexists(shown):
                continue
            if entry.name in EMPTY_FOLDERS and entry.is_dir(follow_symlinks=False):
                os.mkdir(shown)
            else:
                show_entry(entry, shown)
    if os.path.isdir(f"{NEW_ROOT}/root/var") and not os.path.islink(f"{NEW_ROOT}/root/var"):
        os.mkdir(f"{NEW_ROOT}/root/var/tmp")
        os.chmod(f"{NEW_ROOT}/root/var/tmp", 0o1777)


def show_entry(entry: os.DirEntry[str], shown: str) -> None:
    """Show an entry of a read-only folder elsewhere; a file is not copied, since it may be large."""
    if entry.is_symlink():
        os.symlink(os.readlink(entry.path), shown)
        return
    if entry.is_dir():
        os.mkdir(shown)
    else:
        os.close(os.open(shown, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    # What is mounted has the flags of the folder.
    mount(entry.path, shown, None, MS_BIND | MS_REC)


def make_folder(path: str, aside: str) -> None:
    """Make a folder; where the image can't be written to, another folder is shown in place of its parent."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        place = os.path.realpath(path)
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        os.mkdir(aside)
        for entry in os.scandir(place):
            show_entry(entry, f"{aside}/{entry.name}")
        os.chmod(aside, stat.S_IMODE(os.stat(place).st_mode))
        mount(aside, place, None, MS_BIND | MS_REC)
        os.makedirs(path, exist_ok=True)


def kept_flags(path: str) -> int:
    """The flags of a mount that a remount must repeat."""
    flags = os.statvfs(path).f_flag
    kept = {os.ST_NOEXEC: MS_NOEXEC, os.ST_NOATIME: MS_NOATIME, os.ST_NODIRATIME: MS_NODIRATIME}
    kept[os.ST_RELATIME] = MS_RELATIME
    return sum(flag for found, flag in kept.items() if flags & found)


def furnish(stage: str, settings: dict[str, Any]) -> None:
    """Add to the root what a machine has besides its image; links lead inside the root now."""
    for number, path in enumerate(settings["volumes"]):
        inner = f"{stage}/volumes/{number}"
        os.mkdir(inner)
        if os.path.islink(path):
            raise SetupFailed(f"volume {path}", errno.ELOOP)
        make_folder(path, f"{stage}/parent-{number}")
        size = settings["sizes"].get(path)
        if size is None:
            mount(inner, path, None, MS_BIND)
        else:
            mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755,size={size}")
    for name in ("dev", "proc", "tmp", "sys", "etc"):
        os.makedirs(f"/{name}", exist_ok=True)
    make_room("/tmp", "1777", settings["room_mib"])
    replace_file("/etc/hosts", hosts_text(settings["hostname"], settings["hosts"]), f"{stage}/hosts")
    replace_file("/etc/resolv.conf", RESOLV_CONF, f"{stage}/resolv.conf")
    mount(f"{stage}/dev", "/dev", None, MS_BIND | MS_REC)
    mount(f"{stage}/proc", "/proc", None, MS_MOVE)


def replace_file(path: str, text: str, aside: str) -> None:
    """Replace a file of the image; where it can't be written, another file is shown in its place."""
    try:
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "x") as file:
            file.write(text)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        with open(aside, "w") as file:
            file.write(text)
        if os.path.isfile(path) and not os.path.islink(path):
            mount(aside, path, None, MS_BIND)


def hosts_text(hostname: str, hosts: dict[str, str]) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost", f"127.0.1.1 {hostname}"]
    lines += [f"{address} {name}" for name, address in hosts.items()]
    return "\n".join(lines) + "\n"


def make_devices(folder: str, room_mib: int | None) -> None:
    for name in DEVICES:
        with open(f"{folder}/{name}", "w"):
            mount(f"/dev/{name}", f"{folder}/{name}", None, MS_BIND)
    for name, end in LINKS.items():
        os.symlink(f"/proc/self/fd{end}", f"{folder}/{name}")
    for name in ("pts", "shm"):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    os.chmod(f"{folder}/pts", 0o755)
    make_room(f"{folder}/shm", "1777", room_mib)
    mount("devpts", f"{folder}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.symlink("pts/ptmx", f"{folder}/ptmx")


def bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(control, SIOCGIFFLAGS, request)
        flags = struct.unpack("16sh22x", request)[1] | IFF_UP
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags))


# --- the commands ------------------------------------------------------------------------------------


class Command:
    """A running command: the socket of its caller, and the pipes of its output."""

    def __init__(self, connection: socket.socket, pipes: list[int]) -> None:
        self.connection = connection
        self.pipes = pipes
        self.pid: int | None = None


class Init:
    """Serves requests and reaps processes. Each request, with its answer, has a socket of its own."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.selector = selectors.DefaultSelector()
        self.running: dict[int, Command] = {}
        # The last commands, by the number of their session.
        self.commands: dict[int, str] = {}
        # The programs in the background that have died when they wrote to their output.
        self.broken_outputs: list[str] = []
        wake_reader, wake_writer = os.pipe()
        os.set_blocking(wake_reader, False)
        os.set_blocking(wake_writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        self.selector.register(control, selectors.EVENT_READ, self.accept)
        self.selector.register(wake_reader, selectors.EVENT_READ, lambda: self.reap(wake_reader))

    def serve(self) -> None:
        while True:
            for key, _ in self.selector.select():
                key.data()

    def accept(self) -> None:
        _, descriptors = receive(self.control, 1, 6)
        if not descriptors:
            os._exit(0)  # the owner has ended
        connection = socket.socket(fileno=descriptors[0])
        line = read_line(connection)
        if not line.endswith(b"\n"):
            # The caller ended before it had sent the request.
            for descriptor in (connection.detach(), *descriptors[1:]):
                os.close(descriptor)
            return
        request = json.loads(line)
        if "ask" not in request:
            self.start(connection, request, descriptors[1:])
            return
        if request["ask"] == "open":
            send_descriptor(
                connection, lambda: open_file(request["path"], request["mode"], request["volume"])
            )
        elif request["ask"] == "socket":
            send_descriptor(connection, lambda: open_socket(request))
        elif request["ask"] == "usage":
            answer_to(connection, {"cpu": cpu_seconds(), "broken_outputs": self.broken_outputs})
        else:
            answer_to(connection, detach(request))
        connection.close()

    def start(self, connection: socket.socket, request: dict[str, Any], pipes: list[int]) -> None:
        out_reader, err_reader, out_writer, err_writer, *stdin = pipes
        command = Command(connection, [out_reader, err_reader])
        try:
            command.pid = spawn(request, stdin, out_writer, err_writer)
            self.running[command.pid] = command
            self.commands.pop(command.pid, None)
            words = [request["program"], *request["argv"][1:]]
            self.commands[command.pid] = " ".join(words)[:MOST_CHARACTERS]
            if len(self.commands) > MOST_COMMANDS:
                del self.commands[next(iter(self.commands))]
        except NotStarted:
            answer_to(connection, {"exit": NOT_STARTED, "started": False})
        for descriptor in (out_writer, err_writer, *stdin):
            os.close(descriptor)
        self.selector.register(connection, selectors.EVENT_READ, lambda: self.release(command))

    def reap(self, wake_reader: int) -> None:
        os.read(wake_reader, 4096)
        while True:
            try:
                # It stays for the moment, so that it can be looked at.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            command = self.running.pop(pid, None)
            if command is None and ended.si_code != os.CLD_EXITED and ended.si_status == signal.SIGPIPE:
                self.note_broken_output(pid)
            _, status = os.waitpid(pid, 0)
            if command is not None:
                command.pid = None
                code = os.waitstatus_to_exitcode(status)
                answer_to(command.connection, {"exit": abs(code)})

    def note_broken_output(self, pid: int) -> None:
        """Note a program that has died when it wrote to its output, and the command that has left it."""
        if len(self.broken_outputs) >= MOST_TOLD:
            return
        try:
            with open(f"/proc/{pid}/comm", errors="replace") as file:
                name = file.read().strip()
            by = self.commands.get(os.getsid(pid), "")
        except OSError:
            name, by = "a program", ""
        self.broken_outputs.append(f"{name} in the background{f', left by {by}' if by else ''}")

    def release(self, command: Command) -> None:
        """The caller no longer waits: kill the command if it runs.

        As in a VM, the next write to its output kills a program that the command has left in the background.
        """
        self.selector.unregister(command.connection)
        command.connection.close()
        if command.pid is not None:
            kill(command.pid)
        for pipe in command.pipes:
            os.close(pipe)


class NotStarted(Exception):
    """A command could not be started."""


def spawn(request: dict[str, Any], stdin: list[int], out: int, err: int) -> int:
    """Start a command in a session of its own; returns its process id."""
    try:
        os.chdir(request["cwd"])
        if request["user"] != [0, 0]:
            return spawn_as_user(request, stdin, out, err)
        return os.posix_spawn(
            request["program"],
            request["argv"],
            request["env"],
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin[0], 0) if stdin else NO_INPUT,
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, err, 2),
            ],
            setsid=True,
            setsigdef=OWN_SIGNALS,
        )
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        raise NotStarted(str(error)) from error


def spawn_as_user(request: dict[str, Any], stdin: list[int], out: int, err: int) -> int:
    """Start a command that is not root: a user namespace of its own has the image's ids."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for number in OWN_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            become(*request["user"])
            no_input = stdin[0] if stdin else os.open("/dev/null", os.O_RDONLY)
            for target, descriptor in enumerate((no_input, out, err)):
                os.dup2(descriptor, target)
            os.execve(request["program"], request["argv"], request["env"])
        except BaseException:  # noqa: BLE001 - this process ends here
            os.write(writer, b"x")
        os._exit(NOT_STARTED)
    os.close(writer)
    failed = os.read(reader, 1)  # the end of the file when the command has begun
    os.close(reader)
    if failed:
        os.waitpid(pid, 0)
        raise NotStarted(request["program"])
    return pid


def become(user: int, group: int) -> None:
    """Change from root to other ids, which need not exist in this namespace."""
    call("unshare", libc.unshare, CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} 0 1"), ("gid_map", f"{group} 0 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def kill(pid: int) -> None:
    """Kill a command with its process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def detach(request: dict[str, Any]) -> dict[str, Any]:
    lost = os.open("/dev/null", os.O_WRONLY)
    try:
        return {"pid": spawn(request, [], lost, lost)}
    except NotStarted:
        return {"pid": 0}
    finally:
        os.close(lost)


def open_file(path: str, mode: str, volume: str | None) -> int:
    """Open a regular file; other kinds of files could block this process, and are refused."""
    if volume is not None:
        path = follow_links(volume, path)
    if mode == "w":
        os.makedirs(os.path.dirname(path), exist_ok=True)
    flags = os.O_RDONLY if mode == "r" else os.O_WRONLY | os.O_CREAT
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            raise OSError(errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL, path)
        if mode == "w":
            os.ftruncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class LinkRefused(OSError):
    """A link leads out of its volume."""


def follow_links(volume: str, path: str) -> str:
    """Return where a path in a volume leads.

    A volume is a folder on a provider's host, which follows the links there: an absolute link, and one that
    leaves the volume, lead to nothing.
    """
    place, names = volume, os.path.relpath(path, volume).split("/")
    links = 0
    while names:
        name = names.pop(0)
        place = os.path.normpath(f"{place}/{name}")
        if place != volume and not place.startswith(f"{volume}/"):
            raise LinkRefused(errno.ENOENT, path)
        if not os.path.islink(place):
            continue
        target, links = os.readlink(place), links + 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, path)
        if target.startswith("/"):
            raise LinkRefused(errno.ENOENT, path)
        place, names = os.path.dirname(place), [*target.split("/"), *names]
    return place


def open_socket(request: dict[str, Any]) -> int:
    """Open a socket in the network of the sandbox, where this process has all rights."""
    return socket.socket(request["family"], request["kind"], request["protocol"]).detach()


def send_descriptor(connection: socket.socket, opened: Callable[[], int]) -> None:
    """Answer with the descriptor that `opened` returns, or with an error number."""
    try:
        descriptor = opened()
    except ValueError:
        answer_to(connection, {"errno": errno.EINVAL})  # the path has a zero byte
        return
    except OSError as error:
        answer_to(connection, {"errno": error.errno, "by_link": isinstance(error, LinkRefused)})
        return
    try:
        socket.send_fds(connection, [b"{}"], [descriptor])
    except OSError:
        pass  # the caller has ended
    finally:
        os.close(descriptor)


def cpu_seconds() -> float:
    """The processor time of all processes in the sandbox, without this one, in seconds."""
    ticks = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    times = file.read().rpartition(")")[2].split()[11:15]
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended, and its parent has its time now
            ticks += sum(int(time) for time in (times[2:] if name == "1" else times))
    return ticks / os.sysconf("SC_CLK_TCK")


def receive(connection: socket.socket, most_bytes: int, most_descriptors: int) -> tuple[bytes, list[int]]:
    """Receive a message with descriptors, which no command inherits."""
    # Python's `recv_fds` does not pass its flags on, MSG_CMSG_CLOEXEC among them.
    data, descriptors, _, _ = socket.recv_fds(connection, most_bytes, most_descriptors)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return data, descriptors


def read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (piece := connection.recv(65536)):
        line += piece
    return line


def answer_to(connection: socket.socket, answer: dict[str, Any]) -> None:
    try:
        connection.sendall(json.dumps(answer).encode())
    except OSError:
        pass  # the caller has ended


# --- the start -----------------------------------------------------------------------------------


def main() -> None:
    """Make sandboxes until the owner has ended."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    # The kernel removes ended child processes at once: nobody waits for them here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.umask(0o022)
    gc.freeze()
    while True:
        settings, descriptors = receive(requests, 1 << 20, 1)
        if not descriptors:
            return  # the owner has ended
        control = socket.socket(fileno=descriptors[0])
        try:
            is_child = os.fork() == 0
        except OSError as error:
            answer_to(control, {"step": "fork", "errno": error.errno})
            is_child = False
        if is_child:
            requests.close()
            hold_sandbox(control, json.loads(settings))
        control.close()


def hold_sandbox(control: socket.socket, settings: dict[str, Any]) -> NoReturn:
    """Run the process on the host that holds a sandbox; ends with the sandbox."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        handle = os.pidfd_open(os.getpid())
        socket.send_fds(control, [json.dumps({"pid": os.getpid()}).encode()], [handle])
        os.close(handle)
        settings["joined"] = join_group(settings["group"])
        run_sandbox(control, settings)
        code = 0
    except BaseException:  # noqa: BLE001 - this process ends here
        traceback.print_exc()
    finally:
        os._exit(code)


def run_sandbox(control: socket.socket, settings: dict[str, Any]) -> None:
    try:
        enter_namespaces()
        child = os.fork()  # only a child is in the new process namespace
        if child:
            control.close()
            os.waitpid(child, 0)
            return
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        socket.sethostname(settings["hostname"])
        is_writable = make_root(settings)
        bring_up_loopback()
        limit(settings)
    except SetupFailed as failure:
        control.send(json.dumps({"step": failure.step, "errno": failure.number}).encode())
        return
    except OSError as error:
        control.send(json.dumps({"step": str(error), "errno": error.errno}).encode())
        return
    # Commands run as root, as in a VM, but must not remount read-only folders.
    libc.prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)
    init = Init(control)
    control.send(json.dumps({"writable": is_writable}).encode())
    init.serve()


if __name__ == "__main__":
    main()
