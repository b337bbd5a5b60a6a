"""What a session has open, on disk and under a lock, so that a later one can clean up after a kill.

One file for each session, a line of JSON for each thing that happens. First the intent, with a mark by which
the daemon lists the thing; after the call its id. A file whose lock nobody holds belongs to a dead session.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ...background.file_lock import FileLock
from ...model.offers.prices import EXACT
from ...model.service.suspended import SuspendedInstance
from .account import Account, ActivityAccount

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "SIMPLE_GOLEM_STATE"
_SUFFIX = ".jsonl"
_LOCK_SUFFIX = ".lock"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class JournalOwner:
    """To whom a journal belongs: only a session with the same daemon and identity can clean up after it."""

    api_url: str
    node_id: str
    platform: str


@dataclass
class Record:
    """What a journal says.

    Attributes:
        whose: daemon, identity and payment platform.
        sessions: under which the daemon lists its agreements, notes and invoices.
        allocations: ids of those that were not released.
        planned: ends (as the daemon has them) of allocations that may have been made, with no id known.
        accounts: agreements, by id, with what is known of them.
        open: ids of agreements that may not have ended.
        owed: ids of agreements for which an invoice is to come.
        suspended: what was left alive, by agreement id.
        budget: GLM that the session may spend.
        paid: GLM of the invoices that were accepted.
    """

    whose: JournalOwner
    sessions: list[str] = field(default_factory=list)
    allocations: list[str] = field(default_factory=list)
    planned: list[datetime] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    owed: set[str] = field(default_factory=set)
    suspended: dict[str, SuspendedInstance] = field(default_factory=dict)
    budget: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)

    def take(self, entry: Mapping[str, Any]) -> None:
        """One line of the journal."""
        kind = entry["is"]
        if kind == "allocation planned":
            self.planned.append(datetime.fromisoformat(entry["until"]))
        elif kind == "budget":
            self.budget = Decimal(entry["amount"])
        elif kind == "allocation not made":
            self.planned.clear()
        elif kind == "allocation":
            self.planned.clear()
            self.allocations.append(entry["id"])
        elif kind == "allocation released":
            self.allocations = [one for one in self.allocations if one != entry["id"]]
        elif kind == "agreement":
            account = Account.from_json(entry)
            self.accounts[account.agreement_id] = account
            self.open.add(account.agreement_id)
        elif kind == "agreement ended":
            self.open.discard(entry["id"])
            self.suspended.pop(entry["id"], None)
        elif kind == "activity" and entry["agreement"] in self.accounts:
            activities = self.accounts[entry["agreement"]].activities
            activities[entry["id"]] = ActivityAccount(datetime.fromisoformat(entry["began"]))
            self.owed.add(entry["agreement"])
        elif kind == "activity ended" and entry["agreement"] in self.accounts:
            activity = self.accounts[entry["agreement"]].activity(entry["id"])
            activity.ended = datetime.fromisoformat(entry["at"])
        elif kind == "invoice answered":
            self.owed.discard(entry["agreement"])
            self.paid = EXACT.add(self.paid, Decimal(entry["paid"]))
        elif kind == "suspended":
            self.suspended[entry["agreement_id"]] = SuspendedInstance(
                **{name: entry[name] for name in SuspendedInstance.__dataclass_fields__}
            )
        elif kind == "resumed":
            self.suspended.pop(entry["id"], None)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.allocations or self.planned or self.open or self.owed or self.suspended)


class Journal:
    """One journal, open and locked. Writing never raises: a session does not fail for want of a journal."""

    def __init__(self, path: Path, lock: FileLock, record: Record) -> None:
        self.path = path
        self.record = record
        self._lock = lock
        self._writing = threading.Lock()
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @classmethod
    def begin(cls, whose: JournalOwner, session_id: str) -> Journal | None:
        """Begin the journal of a new session; None, and a warning, where no file can be written."""
        try:
            folder = state_folder()
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"{session_id}{_SUFFIX}"
            journal = cls(path, FileLock(_lock_of(path), wait=False), Record(whose, [session_id]))
        except OSError as error:
            logger.warning(
                "no journal can be kept (%s): what this script leaves open if it is killed can't be cleaned "
                "up later; set %s to a folder that can be written to",
                error,
                FOLDER_VARIABLE,
            )
            return None
        journal._write(
            {
                "is": "session",
                "version": _VERSION,
                "id": session_id,
                "api_url": whose.api_url,
                "node_id": whose.node_id,
                "platform": whose.platform,
            }
        )
        return journal

    @classmethod
    def take_over(cls, path: Path) -> Journal | None:
        """Open the journal of a session that is no more; None if it still is, or the file can't be read."""
        if not path.exists():  # taking its lock would leave a file behind
            return None
        try:
            lock = FileLock(_lock_of(path), wait=False)
        except OSError:
            return None
        record = read(path)
        if record is None:
            lock.release()
            return None
        try:
            journal = cls(path, lock, record)
        except OSError:
            lock.release()
            return None
        if not _ends_a_line(path):
            journal._append(b"\n")
        return journal

    def write(self, kind: str, **what: Any) -> None:
        """Have one more thing known."""
        entry = {"is": kind, **what}
        with self._writing:
            self.record.take(entry)
        self._write(entry)

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._append(json.dumps(entry, ensure_ascii=True).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        with self._writing:
            if self._file is None:
                return
            try:
                while line:  # a disk that is almost full takes a part of it
                    line = line[os.write(self._file, line) :]
            except OSError as error:
                logger.warning("the journal %s can't be written any more: %s", self.path, error)
                os.close(self._file)
                self._file = None

    def close(self) -> None:
        """Delete it if nothing is left to do, else leave it to a later session; let go of the lock."""
        with self._writing:
            if self._file is not None:
                os.close(self._file)
                self._file = None
        try:
            if self.record.is_settled:
                self.path.unlink(missing_ok=True)
                _lock_of(self.path).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the journal %s can't be deleted: %s", self.path, error)
        self._lock.release()


def state_folder() -> Path:
    """Where journals are: the user's state folder, or what `SIMPLE_GOLEM_STATE` says."""
    chosen = os.environ.get(FOLDER_VARIABLE, "").strip()
    if chosen:
        return Path(chosen)
    # Not what `import simple_golem` should take time for.
    import platformdirs

    return Path(platformdirs.user_state_dir("simple_golem")) / "sessions"


def dead_journals(whose: JournalOwner) -> Iterator[Path]:
    """The journals of sessions with the same daemon and identity that are no more."""
    try:
        paths = sorted(state_folder().glob(f"*{_SUFFIX}"))
    except OSError as error:
        logger.warning("the journals of earlier sessions can't be listed: %s", error)
        return
    for path in paths:
        record = read(path)
        if record is not None and record.whose == whose:
            yield path


def journal_of(session_id: str) -> Path:
    """Where the journal of a session is, if it has one."""
    return state_folder() / f"{session_id}{_SUFFIX}"


def read(path: Path) -> Record | None:
    """What a journal says; None if it is none. A last line that was cut off by a kill is left out."""
    record: Record | None = None
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return None
    for line in lines:
        try:
            entry = json.loads(line)
            if record is None:
                whose = JournalOwner(entry["api_url"], entry["node_id"], entry["platform"])
                record = Record(whose, [entry["id"]])
            else:
                record.take(entry)
        except (ValueError, ArithmeticError, KeyError, TypeError):
            if line:
                logger.debug("%s: a line that can't be read is passed over: %r", path, line)
    return record


def _ends_a_line(path: Path) -> bool:
    """Whether its last line is whole, and was not cut off by a kill."""
    try:
        return path.read_bytes().endswith(b"\n")
    except OSError:
        return True


def _lock_of(path: Path) -> Path:
    return path.with_suffix(_LOCK_SUFFIX)
