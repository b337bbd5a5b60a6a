"""The files of one batch: published before it is sent, and withdrawn when it ends, in whatever way."""

from __future__ import annotations

import io
import logging
import math
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NoReturn, TypeAlias

from ...background.cancellation import Scope, ScopeEnded
from ...errors import BadLocalFile, CommandFailed, GolemError, TransferFailed
from ...model.commands import whole_output
from ...model.commands.commands import Command, Run, Transfer
from ...model.commands.failure import command_failed
from ...model.commands.file_commands import DownloadCommand, FileCommand
from ...model.commands.results import Result, Results, results_so_far
from ...model.commands.transfers import (
    Download,
    Upload,
    UploadBytes,
    UploadFromUrl,
    UploadJson,
    container_url,
)
from ...model.events.batches import TransferProgress
from ..event_dispatcher import Emit
from . import folders as file_folders
from . import web_files
from .download_target import PartialFile, StreamTarget, check_target, open_target
from .local_files import (
    FileEnd,
    Memory,
    Progress,
    SinkEnd,
    SourceEnd,
    found,
    open_to_send,
)
from .publisher import FilePublisher, Publication

logger = logging.getLogger(__name__)

_PROGRESS_SECONDS = 0.2
# How often a batch is sent at most, if WebSockets of its transfers are lost.
_MOST_ATTEMPTS = 3


# Runs steps as a batch, and returns their results; also gets the user's command that each step belongs to.
Send: TypeAlias = Callable[[tuple[Command, ...], tuple[Command, ...]], Results]


@dataclass(eq=False)
class _Part:
    """Steps that belong to one command of the user, and their file, if there is one.

    Attributes:
        command: what the user wrote.
        index: its place in the batch.
        is_folder: whether a whole folder is transferred.
        output: the file of the provider that this part brings, with the whole output of a command.
        steps: the commands that are sent.
        undo: what removes on the provider's side what a transfer that failed has left there.
        publication: its file on the bus.
        sink: receives a download.
        target: where a downloaded file goes.
        memory: where a download into memory goes.
        lost_before: how often its WebSocket was lost before the present try.
    """

    command: Command
    index: int
    is_folder: bool = False
    output: str = ""
    steps: list[Command] = field(default_factory=list)
    undo: Command | None = None
    publication: Publication | None = None
    sink: SinkEnd | None = None
    target: PartialFile | StreamTarget | None = None
    memory: Memory | None = None
    lost_before: int = 0


class FileBatch:
    """One batch and its files, in a `with` statement.

    Attributes:
        steps: what is sent in place of the commands: transfers that name the files' URLs.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        publisher: FilePublisher,
        instance: str,
        emit: Emit,
        scope: Scope,
        unsent: Scope,
        folders: Sequence[str | None] = (),
        has_shell: bool = True,
    ) -> None:
        """Open and publish the files that the commands need; blocks until folders are packed.

        Args:
            commands: what the user wrote.
            publisher: puts files on the bus.
            instance: the name of the instance, for events and the log.
            emit: receives the events of the transfers.
            scope: cancelling it stops the work on files after the batch was sent.
            unsent: cancelling it stops the work before that.
            folders: for each command the provider's folder for its whole output; None: it is not kept.
            has_shell: whether `/bin/sh` may be run there.

        Raises:
            BadLocalFile: a file of this machine can't be read, or can't be written.
            NoDaemon, YagnaError, ScopeEnded: the daemon gave no answer.
        """
        self._commands = tuple(commands)
        self._publisher = publisher
        self._instance = instance
        self._emit = emit
        self._scope = scope
        self._unsent = unsent
        self._has_shell = has_shell
        self._open = ExitStack()
        self._parts: list[_Part] = []
        self._done: list[Result] = []
        self._attempts = 0
        self._answered = True
        with ExitStack() as undo:
            undo.callback(self._open.close)
            # Errors of this machine come before the first request to the daemon.
            ends = [
                one
                for index, (command, folder) in enumerate(zip_longest(self._commands, folders))
                for one in self._prepare(index, command, folder)
            ]
            self._parts = [part for part, _end in ends]
            for part, end in ends:
                self._publish(part, end)
            undo.pop_all()
        self._owners = [part for part in self._parts for _step in part.steps]
        self.steps = tuple(step for part in self._parts for step in part.steps)

    @property
    def removals(self) -> Sequence[Command]:
        """What removes the batch's own files from the provider's side, if it is given up."""
        parts = [part for part in self._parts if part.publication is not None]
        return list(dict.fromkeys(part.undo for part in parts if part.undo is not None))

    def __enter__(self) -> FileBatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, (CommandFailed, TransferFailed, BadLocalFile)):
            # The batch was abandoned, and providers may be in the middle of a file.
            self._publisher.refuse([part.publication for part in self._parts if part.publication])
        self._open.close()

    # --- before it is sent ------------------------------------------------------------------------------

    def _prepare(
        self, index: int, command: Command, folder: str | None
    ) -> Sequence[tuple[_Part, FileEnd | None]]:
        """The parts that a command consists of, each with this machine's end of its transfer."""
        part = _Part(command, index)
        if isinstance(command, Run) and folder is not None:
            return self._whole_output(index, command, folder)
        if isinstance(command, UploadFromUrl) and self._has_shell:
            part.steps, part.undo = web_files.steps(command), web_files.remove(command)
            return [(part, None)]
        if not isinstance(command, FileCommand):
            part.steps = [command]
            return [(part, None)]
        progress = self._progress(command)
        if isinstance(command, DownloadCommand):
            return [(part, self._sink(part, command, progress))]
        return [(part, self._source(part, command, progress))]

    def _whole_output(self, index: int, command: Run, folder: str) -> Sequence[tuple[_Part, FileEnd | None]]:
        """A command that writes into files, the transfers of both, and its end."""
        parts: list[tuple[_Part, FileEnd | None]] = []
        parts.append((_Part(command, index, steps=[whole_output.begin(command, folder)]), None))
        for stream in whole_output.STREAMS:
            memory = Memory()
            sink = SinkEnd(memory, "memory", lambda _transferred, _total: None)
            output = _Part(command, index, output=f"{folder}/{stream}", memory=memory, sink=sink)
            output.undo = whole_output.remove(folder)
            parts.append((output, sink))
        parts.append((_Part(command, index, steps=[whole_output.end(folder)]), None))
        return parts

    def _source(self, part: _Part, command: FileCommand, progress: Progress) -> FileEnd:
        file: BinaryIO
        name = repr(command)
        if isinstance(command, (UploadBytes, UploadJson)):
            data = command.data
            file, size = io.BytesIO(data), len(data)
        elif isinstance(command, Upload):
            path = found(command.local, repr(command))
            name = str(path)
            part.is_folder = path.is_dir()
            if part.is_folder:
                file, size = file_folders.packed(path, repr(command), self._unsent)
            else:
                _not_a_folder(command, path)
                file, size = open_to_send(path, repr(command))
        else:
            raise TypeError(f"{command!r} is not an upload")
        self._open.callback(file.close)
        return SourceEnd(file, name, size, progress)

    def _sink(self, part: _Part, command: DownloadCommand, progress: Progress) -> FileEnd:
        if not isinstance(command, Download):
            part.memory = Memory()
            part.sink = SinkEnd(part.memory, "memory", progress)
            return part.sink
        path = found(command.local, repr(command))
        part.is_folder = command.is_folder
        part.target = self._folder(path, command) if part.is_folder else open_target(path, repr(command))
        self._open.callback(part.target.discard)
        part.sink = SinkEnd(part.target.file, str(path), progress)
        return part.sink

    def _folder(self, path: Path, command: Download) -> PartialFile:
        """The file for the archive of a downloaded folder."""
        check_target(path, repr(command), is_folder=True)
        # A folder that exists may be the only place that can be written to, or be on another disk.
        return PartialFile(path, repr(command), path if path.is_dir() else None)

    def _publish(self, part: _Part, end: FileEnd | None) -> None:
        if end is None:
            return
        part.publication = self._publisher.publish(end, self._unsent)
        self._open.callback(self._withdraw, part.publication)
        url = part.publication.url
        if part.output:
            part.steps = [Transfer(container_url(part.output), url)]
        elif isinstance(part.command, FileCommand):
            part.steps, part.undo = _steps(part.command, url, part.is_folder)

    def _withdraw(self, publication: Publication) -> None:
        # A daemon that did not answer once is not waited for again, for each of many files.
        self._answered = self._publisher.withdraw(publication, ask=self._answered)

    def _progress(self, command: Command) -> Progress:
        """The function that emits the events of a transfer: five a second at most, and one for its end."""
        last_event = -math.inf

        def progress(transferred: int, total: int | None) -> None:
            nonlocal last_event
            now = time.monotonic()
            if transferred == total or now - last_event >= _PROGRESS_SECONDS:
                last_event = now
                self._emit(TransferProgress(self._instance, command, transferred, total))

        return progress

    # --- while it is sent -------------------------------------------------------------------------------

    def run(self, send: Send) -> Results:
        """Send the batch, and return the results of the user's commands; blocks until it has ended.

        A transfer that failed because its WebSocket was lost is sent again, with the steps after it.

        Args:
            send: runs steps as a batch and returns their results. Its second argument is the user's command
                that each step belongs to.

        Raises:
            CommandFailed: one of the user's commands failed.
            BadLocalFile: a file of this machine could not be read or written during the transfer.
            TransferFailed: the provider reports success, but a file did not arrive.
        """
        while True:
            steps = self.steps[len(self._done) :]
            known_as = tuple(part.command for part in self._owners[len(self._done) :])
            for part in self._parts:
                part.lost_before = part.publication.lost if part.publication else 0
            try:
                self._done += send(steps, known_as)
                break
            except CommandFailed as error:
                self._done += results_so_far(error)[:-1]
                if not self._may_be_repeated():
                    self._raise_for_command(error, send)
                logger.info("%s: sent again after its connection was lost: %s", self._instance, error)
        return Results(self._store(self._per_command(self._done)))

    def _may_be_repeated(self) -> bool:
        part, step = self._owners[len(self._done)], self.steps[len(self._done)]
        self._attempts += 1
        if part.publication is None or not isinstance(step, Transfer) or self._attempts == _MOST_ATTEMPTS:
            return False
        return part.publication.lost > part.lost_before and part.publication.end.trouble is None

    def _raise_for_command(
        self,
        error: CommandFailed,
        send: Send,
    ) -> NoReturn:
        """Raise the failure of the user's command, not of one of its steps."""
        part, step = self._owners[len(self._done)], self.steps[len(self._done)]
        if part.undo is not None and isinstance(step, (Transfer, UploadFromUrl)):
            self._undo(part.undo, part.command, send)
        results = self._per_command([*self._done, results_so_far(error)[-1]])
        results = [*self._store(results[:-1]), self._with_output(results[-1])]
        trouble = part.publication.end.trouble if part.publication else None
        if trouble is not None:
            raise trouble from error
        raise command_failed(results, self._commands, error.provider) from None

    def _undo(
        self,
        undo: Command,
        command: Command,
        send: Send,
    ) -> None:
        try:
            send((undo,), (command,))
        except (GolemError, ScopeEnded) as error:
            logger.debug("%s: %r could not be undone: %s", self._instance, command, error)

    # --- when it has ended ------------------------------------------------------------------------------

    def _per_command(self, results: Sequence[Result]) -> list[Result]:
        """One result for each command: the result of its last step."""
        found: list[Result] = []
        for result, owner in zip(results, self._owners, strict=False):
            one = replace(result, index=owner.index, command=owner.command)
            if found and found[-1].index == owner.index:
                found[-1] = one
            else:
                found.append(one)
        return found

    def _store(self, results: Sequence[Result]) -> list[Result]:
        """Give each downloaded file its name, or put its content into the result."""
        return [self._with_downloads(self._with_output(result)) for result in results]

    def _with_downloads(self, result: Result) -> Result:
        for part in self._parts:
            if part.index == result.index and result.success and not part.output:
                result = self._with_download(result, part)
        return result

    def _with_download(self, result: Result, part: _Part) -> Result:
        if part.sink is None:
            return result
        part.sink.close()
        if part.sink.trouble is not None:
            raise part.sink.trouble
        if not part.sink.finished:
            raise TransferFailed(f"{part.command!r}: the provider did not send the end of the file")
        if part.memory is not None:
            return replace(result, downloaded=part.memory.content)
        if isinstance(part.target, PartialFile) and part.is_folder:
            file_folders.unpack_here(part.target.path, part.target.target, self._scope)
        elif part.target is not None:
            part.target.keep(self._scope)
        return result

    def _with_output(self, result: Result) -> Result:
        """Put the whole output of a command into its result, if it was brought."""
        parts = [part for part in self._parts if part.output and part.index == result.index]
        brought = []
        for part in parts:
            if part.sink is not None and part.memory is not None and part.sink.finished:
                part.sink.close()
                brought.append(part.memory.content)
        if len(brought) == len(whole_output.STREAMS):
            return result.with_output(*brought)
        if parts and result.success:
            raise TransferFailed(f"{result.command!r}: the provider did not send the end of its output")
        return result


def has_files(commands: Sequence[Command]) -> bool:
    """Whether some of the commands need files of this machine, or consist of several steps."""
    return any(isinstance(command, (FileCommand, UploadFromUrl)) for command in commands)


def _steps(command: FileCommand, url: str, is_folder: bool) -> tuple[list[Command], Command | None]:
    """What is sent for a command, and what removes the rest of a transfer that failed."""
    if not is_folder:
        there = container_url(command.remote)
        is_download = isinstance(command, DownloadCommand)
        return [Transfer(there, url) if is_download else Transfer(url, there)], None
    folder = command.remote.removesuffix("/")
    archive = f"{folder}/.simple-golem-{secrets.token_hex(4)}.tar"
    there, remove = container_url(archive), file_folders.remove(archive)
    if isinstance(command, DownloadCommand):
        return [file_folders.pack(archive, folder), Transfer(there, url), remove], remove
    return [Transfer(url, there), file_folders.unpack(archive, folder)], remove


def _not_a_folder(command: Upload, path: Path) -> None:
    if command.remote.endswith("/"):
        raise BadLocalFile(
            f"{command!r}: {path} is a file, so its target can't be a folder; "
            f"write {command.remote + path.name!r}"
        )
