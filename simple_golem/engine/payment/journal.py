"""What a session has open, in a locked file, so that a later session can clean up after a kill.

Each session has one file, with a line of JSON for each thing that happens. Before a call to the daemon, a
line says what is intended, with a mark by which the daemon lists the thing. After the call, a line has its
id. The process that writes a journal holds its lock: a journal whose lock is free belongs to a dead session.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...background.file_lock import FileLock
from .journal_record import JournalOwner, Kind, Record

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "SIMPLE_GOLEM_STATE"
UNREADABLE_STEP = "run it as the user who ran the scripts, or make the folder and its files yours (chown)"
_SUFFIX = ".jsonl"
_LOCK_SUFFIX = ".lock"
_VERSION = 1
# What could not be written is kept up to this size; it is some thousands of lines.
_MOST_UNWRITTEN_BYTES = 1 << 20


class Journal:
    """One journal, open and locked.

    Writing never raises: a session does not fail because its journal can't be written. What a full disk did
    not take is written with a later line, when there is room again.

    Attributes:
        path: the file.
        record: its content.
    """

    def __init__(self, path: Path, lock: FileLock, record: Record) -> None:
        self.path = path
        self.record = record
        self._lock = lock
        # Guards the record and the file: lines are applied in the order in which they are written.
        self._writing = threading.Lock()
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        # It may begin in the middle of a line, whose first part is in the file.
        self._unwritten = b""
        self._has_warned = False

    @classmethod
    def create(cls, owner: JournalOwner, session_id: str) -> Journal | None:
        """Make the journal of a new session; return None, and log a warning, if no file can be written."""
        try:
            folder = state_folder()
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = journal_path(session_id)
            journal = cls(path, FileLock(lock_path(path), wait=False), Record(owner, session_id))
        except OSError as error:
            logger.warning(
                "no journal can be kept (%s): if this script is killed, nothing can clean up after it; "
                "set %s to a folder that can be written to",
                error,
                FOLDER_VARIABLE,
            )
            return None
        first_line = {
            "is": "session",
            "version": _VERSION,
            "id": session_id,
            "api_url": owner.api_url,
            "node_id": owner.node_id,
            "platform": owner.platform,
        }
        with journal._writing:
            journal._append_locked(_encode(first_line))
        return journal

    @classmethod
    def open_dead(cls, path: Path) -> Journal | None:
        """Open the journal of a dead session.

        Returns:
            None if the session is alive, if another process holds the journal, or if it is no journal.

        Raises:
            OSError: it can't be written.
        """
        if not path.exists():  # locking it would create a file
            return None
        try:
            lock = FileLock(lock_path(path), wait=False)
        except BlockingIOError:
            return None
        record = read_journal(path)
        if record is None:
            if not path.exists():  # its session has ended meanwhile, and has removed the lock
                lock_path(path).unlink(missing_ok=True)
            lock.release()
            return None
        try:
            journal = cls(path, lock, record)
        except OSError:
            lock.release()
            raise
        if not _ends_with_newline(path):
            with journal._writing:
                journal._append_locked(b"\n")
        return journal

    def write(self, kind: Kind, **what: Any) -> None:
        """Add a line to the record and to the file.

        Args:
            kind: what has happened.
            what: the details, as JSON values.
        """
        line = {"is": kind, **what}
        with self._writing:
            self.record.apply(line)
            self._append_locked(_encode(line))

    def _append_locked(self, data: bytes) -> None:
        if self._file is None:
            return
        self._unwritten += data
        try:
            while self._unwritten:  # a disk that is almost full accepts a part of it
                self._unwritten = self._unwritten[os.write(self._file, self._unwritten) :]
        except OSError as error:
            self._could_not_write_locked(self._file, error)

    def _could_not_write_locked(self, file: int, error: OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "the journal %s can't be written: %s; each later line tries it again, and until one succeeds "
                "nothing can clean up what this script begins, if it is killed",
                self.path,
                error,
            )
        if len(self._unwritten) > _MOST_UNWRITTEN_BYTES:
            logger.warning("the journal %s is given up: too much of it could not be written", self.path)
            os.close(file)
            self._file, self._unwritten = None, b""

    def close(self) -> None:
        """Release the lock. Delete the file if nothing is open or owed, else leave it to a later session."""
        with self._writing:
            self._append_locked(b"")
            if self._file is not None:
                os.close(self._file)
                self._file = None
        try:
            if self.record.is_settled:
                self.path.unlink(missing_ok=True)
                lock_path(self.path).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the journal %s can't be deleted: %s", self.path, error)
        self._lock.release()


def state_folder() -> Path:
    """Return the folder of the journals: in the user's state folder, or `SIMPLE_GOLEM_STATE`."""
    chosen = os.environ.get(FOLDER_VARIABLE, "").strip()
    if chosen:
        return Path(chosen)
    # Imported late: only a session that is opened needs it, and `import simple_golem` has to be quick.
    import platformdirs

    return Path(platformdirs.user_state_dir("simple_golem")) / "sessions"


def journal_path(session_id: str) -> Path:
    """Return the path of a session's journal, which need not exist."""
    return state_folder() / f"{session_id}{_SUFFIX}"


def journals() -> list[Path]:
    """Return the paths of all journals, of any owner, those of living sessions included."""
    folder = state_folder()
    try:
        # Not `glob`, which hides that a folder may not be read.
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(_SUFFIX))
    except FileNotFoundError:
        return []
    except OSError as error:
        # A session warns that it can keep no journal; the tools ask `unreadable_journals`.
        logger.debug("the journals of earlier sessions can't be listed: %s", error)
        return []


def unreadable_journals() -> str:
    """Say which journals can't be read, as those of a script that ran by sudo; empty if all can."""
    folder = state_folder()
    try:
        for name in os.listdir(folder):
            if name.endswith(_SUFFIX):
                with suppress(FileNotFoundError):  # its session has ended meanwhile
                    os.close(os.open(folder / name, os.O_RDONLY))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"what earlier sessions have left is not known: {error.filename}: {error.strerror}"
    return ""


def journals_of(owner: JournalOwner) -> Iterator[Path]:
    """Yield the paths of all journals of an owner, those of living sessions included."""
    for path in journals():
        record = read_journal(path)
        if record is not None and record.owner == owner:
            yield path


def read_journal(path: Path) -> Record | None:
    """Return the content of a journal, without the lines that are damaged; None if it is no journal."""
    record: Record | None = None
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return None
    for data in lines:
        try:
            line = json.loads(data)
            if record is None:
                owner = JournalOwner(line["api_url"], line["node_id"], line["platform"])
                record = Record(owner, line["id"])
            else:
                record.apply(line)
        except (ValueError, ArithmeticError, KeyError, TypeError):
            # A kill may have cut the last line off.
            if data:
                logger.debug("%s: a damaged line is ignored: %r", path, data)
    return record


def _encode(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=True).encode() + b"\n"


def _ends_with_newline(path: Path) -> bool:
    try:
        return path.read_bytes().endswith(b"\n")
    except OSError:
        return True


def lock_path(path: Path) -> Path:
    """Return the path of the lock of a journal; the process that writes the journal holds it."""
    return path.with_suffix(_LOCK_SUFFIX)
