"""The commands of an ExeScript, as values: small, immutable, hashable, equal by value."""

from __future__ import annotations

import inspect
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import PurePath
from typing import Any, TypeAlias

from ...errors import BadCommand, BadCommandList
from ..base.frozen import FrozenDict, freeze
from .background import DEFAULT_LOG, background_words, words_in_background
from .environment import SHELL, checked_environment, checked_folder, with_environment
from .output import Stream, checked_stream
from .texts import short, text_of

_SHELL_SIGNS = re.compile(r"[|&;<>$`*?~\n]")


class Command(ABC):
    """One step of a batch; the base of all commands."""

    __slots__ = ()

    @abstractmethod
    def to_exe_script(self) -> dict[str, Any]:
        """Return the command as the daemon wants it in an ExeScript."""

    def __repr__(self) -> str:
        given = [(item.name, getattr(self, item.name)) for item in fields(self)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given if value)})"


Commands: TypeAlias = Sequence[Command] | Command | None
"""What `deploy`, `start`, `run` and `shutdown` may return."""


@dataclass(frozen=True, slots=True, init=False)
class Run(Command):
    """Runs a program in the runtime and waits for its end.

    Args:
        program: the absolute path of the program.
        args: its arguments, one by one; numbers and paths become text. Anything else is refused, bools too:
            what they should look like, only their writer knows.
        env: environment variables: their values (text, numbers, paths) by name. No message, log or event
            shows the values.
        cwd: the absolute path of the working folder; None is that of the image. If there is no such folder,
            the exit code is 126. A shell of the image, /bin/sh, sets `env` and `cwd`.
        absolute: False lets `program` be anything, for runtimes that take names instead of paths.
        binary: True has the result keep the bytes of the output, `result.stdout_bytes`, beside its text.
        keep_first, keep_last: bytes of the output that the provider keeps, of stdout and of stderr each; the
            rest never leaves it.
        keep_all: True brings the whole output by way of files in a volume of the image. Without it, a
            provider may lose the end of an output of more than 4096 bytes, without an error: see
            `Result.may_be_cut`. The image must have a shell and a volume. One of `keep_first`, `keep_last`
            and `keep_all` at most.
        stream: gives the output out line by line while the program runs, which begins 0.3 s later for that;
            the result has it all the same.
            True prints each line with the name of its instance before it; a `logging.Logger` gets them as
            INFO; anything that can be called is called with each, an `OutputLine`, on a thread of the
            instance's own: an error in it is logged, and it must not run commands itself.
            With `keep_first` only that much is given out; with `keep_last` and `keep_all` it can't be.

    Raises:
        BadCommand: no runtime could execute this; the message shows how to write it.
    """

    program: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None
    binary: bool
    keep_first: int | None
    keep_last: int | None
    keep_all: bool
    stream: Stream = field(hash=False)
    # Set by the methods `shell`: as keep_all, where the image has a volume. It makes no other command of it.
    wants_whole: bool = field(compare=False)

    def __init__(
        self,
        program: str | PurePath,
        *args: object,
        absolute: bool = True,
        env: Mapping[str, object] | None = None,
        cwd: str | PurePath | None = None,
        binary: bool = False,
        keep_first: int | None = None,
        keep_last: int | None = None,
        keep_all: bool = False,
        stream: Stream = False,
    ) -> None:
        if not isinstance(program, (str, PurePath)):
            raise BadCommand(
                f"Run({program!r}): the program is no text; its path and its arguments are given one by one, "
                "e.g. Run('/bin/ls', '-l', '/')"
            )
        name = text_of(program, "the program of Run")
        words = tuple(text_of(arg, f"an argument of Run({name!r}, …)") for arg in args)
        if absolute and _looks_wrong(name, words):
            raise BadCommand(f"{_call(name, words)}: {_how_to_write(name, words)}")
        if not name:
            raise BadCommand("Run(''): the program is missing, e.g. Run('/bin/ls', '-l', '/')")
        for option, value in (("binary", binary), ("keep_all", keep_all)):
            if not isinstance(value, bool):
                raise BadCommand(f"{_call(name, words)}: {option} is True or False, not {short(value)}")
        object.__setattr__(self, "program", name)
        object.__setattr__(self, "args", words)
        object.__setattr__(self, "env", checked_environment(env, _call(name, words)))
        object.__setattr__(self, "cwd", checked_folder(cwd, _call(name, words)))
        object.__setattr__(self, "binary", binary)
        object.__setattr__(self, "keep_first", _kept(keep_first, "keep_first"))
        object.__setattr__(self, "keep_last", _kept(keep_last, "keep_last"))
        object.__setattr__(self, "keep_all", keep_all)
        object.__setattr__(self, "stream", checked_stream(stream))
        object.__setattr__(self, "wants_whole", False)
        self._check_capture()

    def __reduce__(self) -> tuple[partial[Run], tuple[str, ...]]:
        # A function that can't go to another process stays here; its lines were given out here, too.
        stream = self.stream if _can_be_pickled(self.stream) else False
        again = partial(
            type(self),
            absolute=False,
            env=self.env,
            cwd=self.cwd,
            binary=self.binary,
            keep_first=self.keep_first,
            keep_last=self.keep_last,
            keep_all=self.keep_all,
            stream=stream,
        )
        return again, (self.program, *self.args)

    def __copy__(self) -> Run:
        return self

    def __deepcopy__(self, _memo: object) -> Run:
        return self

    def _check_capture(self) -> None:
        if (self.keep_first is not None) + (self.keep_last is not None) + self.keep_all > 1:
            raise BadCommand(f"{self!r}: give one of keep_first, keep_last and keep_all")
        if self.stream is False:
            return
        if self.keep_last is not None:
            raise BadCommand(
                f"{self!r}: what comes last is known at the end only, and can't be streamed; "
                "leave out keep_last, or write keep_first"
            )
        if self.keep_all:
            raise BadCommand(
                f"{self!r}: whole output comes at the end, in files, and can't be streamed; "
                "leave out keep_all or stream"
            )

    @classmethod
    def shell(
        cls,
        script: str,
        *,
        env: Mapping[str, object] | None = None,
        cwd: str | PurePath | None = None,
        binary: bool = False,
        keep_first: int | None = None,
        keep_last: int | None = None,
        keep_all: bool = False,
        stream: Stream = False,
    ) -> Run:
        """Return the command that has `/bin/sh` run a line, or many, of shell script.

        A program that it leaves in the background needs a redirection: `Run.background` has one.
        """
        return cls(
            SHELL,
            "-c",
            checked_script(script),
            env=env,
            cwd=cwd,
            binary=binary,
            keep_first=keep_first,
            keep_last=keep_last,
            keep_all=keep_all,
            stream=stream,
        )

    @classmethod
    def background(
        cls,
        program: str | PurePath,
        *args: object,
        log: str | PurePath = DEFAULT_LOG,
        absolute: bool = True,
        env: Mapping[str, object] | None = None,
        cwd: str | PurePath | None = None,
    ) -> Run:
        """Return the command that starts a program, such as a server, which goes on after the command.

        The output of the command is the process id. The program ends with the activity, or by `kill`.

        Args:
            program, args, absolute, env, cwd: as of `Run` itself.
            log: the absolute path of the file that the program's stdout and stderr are appended to. Missing
                folders are made.

        Raises:
            BadCommand: no runtime could execute this; the message shows how to write it.
        """
        started = cls(program, *args, absolute=absolute)
        words = background_words((started.program, *started.args), log)
        return cls(*words, env=env, cwd=cwd)

    def to_exe_script(self) -> dict[str, Any]:
        capture = self._capture()
        capture = {"stdout": capture, "stderr": capture}
        program, *args = self.words
        return {"run": {"entry_point": program, "args": args, "capture": capture}}

    @property
    def words(self) -> tuple[str, ...]:
        """What the runtime executes: the program and its arguments, perhaps with a shell in front."""
        return with_environment((self.program, *self.args), self.env, self.cwd)

    @property
    def needs_shell(self) -> bool:
        """Whether the library itself has to put a shell in front."""
        return bool(self.env) or self.cwd is not None or self.keep_all

    @property
    def has_own_limit(self) -> bool:
        """Whether it says by itself how much of its output is kept, or streams it."""
        return self.keep_first is not None or self.keep_last is not None or self.stream is not False

    def _capture(self) -> dict[str, Any]:
        if self.stream is not False:
            limit = {} if self.keep_first is None else {"limit": self.keep_first}
            # As bytes: the pieces of a stream end anywhere, in the middle of a character too.
            return {"stream": {**limit, "format": "bin"}}
        limits = {"head": self.keep_first, "tail": self.keep_last}
        part: dict[str, Any] = {name: size for name, size in limits.items() if size is not None}
        # A limit cuts anywhere, too, and what is no UTF-8 any more would be told one character a byte.
        return {"atEnd": {**part, "format": "bin"} if part or self.binary else {}}

    def __repr__(self) -> str:
        names = ("env", "cwd", "binary", "keep_first", "keep_last", "keep_all", "stream")
        given = {name: getattr(self, name) for name in names}
        options = {name: value for name, value in given.items() if value not in (False, None, {})}
        in_background = words_in_background((self.program, *self.args))
        if in_background is not None:
            log, (program, *args) = in_background
            options = {**({"log": log} if log != DEFAULT_LOG else {}), **options}
            absolute = not _looks_wrong(program, tuple(args))
            return _call(program, tuple(args), absolute, "Run.background", **options)
        return _call(self.program, self.args, absolute=not _looks_wrong(self.program, self.args), **options)


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Deploy(Command):
    """Makes the runtime ready: its image, volumes, environment and network. The first command of an activity.

    Args:
        volumes: absolute paths that outlive the runtime's own file system, or a mapping of each to its kind,
            e.g. `{"/big": {"storage": {"size": "10GiB"}}}`.
        env: environment variables of the runtime. In a virtual machine no command gets them: `Run(env=…)`.
        net: the private networks to join, in the daemon's form.
        hosts: names and their addresses.
        hostname: the runtime's own name.
    """

    volumes: Sequence[str] | Mapping[str, object] = ()
    env: Mapping[str, str] = field(default_factory=FrozenDict)
    net: Sequence[Mapping[str, object]] = ()
    hosts: Mapping[str, str] = field(default_factory=FrozenDict)
    hostname: str | None = None

    def __post_init__(self) -> None:
        hostname = None if self.hostname is None else text_of(self.hostname, "Deploy.hostname")
        object.__setattr__(self, "volumes", _volumes(self.volumes))
        object.__setattr__(self, "env", _names_to_text(self.env, "env"))
        object.__setattr__(self, "net", _networks(self.net))
        object.__setattr__(self, "hosts", _names_to_text(self.hosts, "hosts"))
        object.__setattr__(self, "hostname", hostname)

    def to_exe_script(self) -> dict[str, Any]:
        parts = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"deploy": {name: value for name, value in parts.items() if value}}


@dataclass(frozen=True, slots=True, init=False)
class Start(Command):
    """Starts the deployed runtime, with arguments if it takes any."""

    args: tuple[str, ...]

    def __init__(self, *args: object) -> None:
        object.__setattr__(self, "args", tuple(text_of(arg, "an argument of Start") for arg in args))

    def to_exe_script(self) -> dict[str, Any]:
        return {"start": {"args": list(self.args)}}

    def __repr__(self) -> str:
        return f"Start({', '.join(map(repr, self.args))})"


@dataclass(frozen=True, slots=True, repr=False)
class Terminate(Command):
    """Stops what runs and takes the activity back to where `Deploy` is expected."""

    def to_exe_script(self) -> dict[str, Any]:
        return {"terminate": {}}


@dataclass(frozen=True, slots=True, repr=False)
class Sign(Command):
    """Has a trusted runtime sign what it did."""

    def to_exe_script(self) -> dict[str, Any]:
        return {"sign": {}}


@dataclass(frozen=True, slots=True, repr=False)
class Transfer(Command):
    """Copies a file between the runtime and the world.

    Args:
        source: URL of what to copy; `container:/path` is a file in one of the runtime's volumes.
        target: URL to copy to.
    """

    source: str
    target: str

    def __post_init__(self) -> None:
        for name in ("source", "target"):
            url = text_of(getattr(self, name), f"Transfer.{name}")
            if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", url):
                raise BadCommand(
                    f"Transfer.{name}: {url!r} is no URL; a file of the runtime is 'container:/its/path'"
                )
            object.__setattr__(self, name, url)

    def to_exe_script(self) -> dict[str, Any]:
        return {"transfer": {"from": self.source, "to": self.target}}


def checked_script(script: object) -> str:
    """Return the script that `Run.shell` was called with; raises `BadCommand` if it is none."""
    if not isinstance(script, str) or not script.strip():
        raise BadCommand(
            f"Run.shell({script!r}): a line of shell script is missing, e.g. Run.shell('ls -l /')"
        )
    return script


def as_commands(value: object) -> tuple[Command, ...]:
    """Return what a method returned as a tuple of commands; `None` is none.

    Raises:
        BadCommandList: `value` is no command and no list or tuple of commands.
    """
    if value is None:
        return ()
    if isinstance(value, Command):
        return (value,)
    if type(value) in (list, tuple) and isinstance(value, Sequence):
        strangers = [item for item in value if not isinstance(item, Command)]
        if not strangers:
            return tuple(value)
        if all(isinstance(item, str) for item in value) and str(value[0]).startswith("/"):
            words = ", ".join(repr(item) for item in value)
            raise BadCommandList(f"{short(value)}, which is no command; write [Run({words})]")
        raise BadCommandList(
            f"{short(value)}, in which {short(strangers[0])} is no command{_hint(strangers[0])}"
        )
    raise BadCommandList(f"{short(value)}, which is no list of commands{_hint(value)}")


def batch_of(commands: tuple[object, ...]) -> tuple[Command, ...]:
    """Return what `execute` was called with, if all of it is commands.

    Raises:
        BadCommandList: some of it is not.
    """
    if len(commands) == 1 and isinstance(commands[0], (list, tuple)):
        raise BadCommandList(
            f"execute was given {short(commands[0])}; it takes commands one by one: execute(*commands)"
        )
    for command in commands:
        if not isinstance(command, Command):
            raise BadCommandList(f"execute was given {short(command)}, which is no command{_hint(command)}")
    return tuple(command for command in commands if isinstance(command, Command))


def _hint(value: object) -> str:
    if inspect.isgenerator(value) or inspect.iscoroutine(value) or inspect.isasyncgen(value):
        return "; strike out `yield` and `async`, return a list"
    if isinstance(value, str) and value.strip():
        return f"; write Run.shell({value!r})"
    if type(value).__name__ in ("Results", "Result"):
        return "; `execute` has run its commands already, only what is still to be run is returned"
    if inspect.isclass(value) and issubclass(value, Command):
        return f"; write {value.__name__}(…)"
    if isinstance(value, (list, tuple)):
        return "; put all commands into one flat list"
    return "; return a list such as [Run('/bin/ls', '/')], or None"


def _can_be_pickled(stream: Stream) -> bool:
    import pickle

    try:
        pickle.dumps(stream)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def _looks_wrong(program: str, args: tuple[str, ...]) -> bool:
    # A blank in a path is allowed, but without any argument it is nearly always a whole line in one string.
    whole_line = not args and re.search(r"\s", program) is not None
    return not program.startswith("/") or whole_line


def _how_to_write(program: str, args: tuple[str, ...]) -> str:
    line = program if not args else shlex.join([program, *args])
    try:
        words = [*shlex.split(program), *args]
    except ValueError:  # an open quote
        words = [*program.split(), *args]
    if not words:
        return "the program is missing, e.g. Run('/bin/ls', '-l', '/')"
    if _SHELL_SIGNS.search(line):
        return f"no shell reads this line; write Run.shell({line!r})"
    name = words[0]
    if not name.startswith("/"):
        name = PurePath("/golem/work" if "/" in name else "/bin", name).as_posix()
    return (
        "the program needs its absolute path, and each argument is a string of its own: "
        f"write {_call(name, tuple(words[1:]))}, or Run.shell({line!r}) to have a shell find it "
        "(absolute=False is for runtimes that take names)"
    )


def _call(
    program: str, args: tuple[str, ...], absolute: bool = True, how: str = "Run", **options: object
) -> str:
    given = options if absolute else {"absolute": False, **options}
    parts = [*map(repr, (program, *args)), *(f"{name}={value!r}" for name, value in given.items())]
    return f"{how}({', '.join(parts)})"


def _kept(size: object, what: str) -> int | None:
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise BadCommand(f"{what} is {short(size)}: give a number of bytes from 1 on, e.g. {what}=65536")
    return int(size)


def _volumes(value: object) -> tuple[str, ...] | FrozenDict:
    if isinstance(value, (str, PurePath)) or not isinstance(value, (Sequence, Mapping)):
        raise BadCommand(f"Deploy.volumes is {short(value)}: give a list of absolute paths, e.g. ['/data']")
    paths = tuple(text_of(path, "a path in Deploy.volumes") for path in value)
    for path in paths:
        if not path.startswith("/"):
            raise BadCommand(f"Deploy.volumes: {path!r} is no absolute path, e.g. '/data'")
    if not isinstance(value, Mapping):
        return paths
    return FrozenDict(zip(paths, _frozen(list(value.values()), "Deploy.volumes"), strict=True))


def _names_to_text(value: object, what: str) -> FrozenDict:
    if value is None:
        return FrozenDict()
    if not isinstance(value, Mapping):
        raise BadCommand(f"Deploy.{what} is {short(value)}: give a dict, e.g. {{'NAME': 'value'}}")
    for name in value:
        if not isinstance(name, str) or not name or "=" in name:
            raise BadCommand(f"Deploy.{what}: {name!r} can't be a name")
    return FrozenDict(
        (text_of(name, f"a name in Deploy.{what}"), text_of(text, f"{name} in Deploy.{what}"))
        for name, text in value.items()
    )


def _networks(value: object) -> tuple[FrozenDict, ...]:
    if isinstance(value, Sequence) and all(isinstance(item, Mapping) for item in value) and value != "":
        return tuple(_frozen(list(value), "Deploy.net"))
    raise BadCommand(f"Deploy.net is {short(value)}: give a list of networks, each a dict")


def _frozen(value: object, what: str) -> Any:
    try:
        return freeze(value)
    except TypeError as error:
        raise BadCommand(f"{what}: {error}") from error
