"""The file of a map's results: a run that was killed goes on where it stopped."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ...background.file_lock import FileLock
from ...errors import BadJson, BadResultsFile, NotRunning

_VERSION = 1
_MOST_SHOWN = 3


class ResultsFile:
    """One line of JSON for each answered item, behind a line that says which work it is; used by any thread.

    Only places in the file are kept in memory, not the results. The file is closed when `close` was called
    and all items that were begun are answered.

    Args:
        path: the file; it is made if it does not exist.
        work: the function whose results it has.
        key: returns what an item is known by in the file; two items never have the same.

    Raises:
        BadResultsFile: it has the results of another function, belongs to a run that goes on, or is damaged.
        OSError: it can't be read or written.
    """

    def __init__(self, path: str | os.PathLike[str], work: object, key: Callable[[Any], object]) -> None:
        self._path = Path(path)
        self._key = key
        self._lock = threading.Lock()
        self._offsets: dict[str, int] = {}
        self._seen: set[str] = set()
        self._under_way = 0
        self._is_closing = False
        try:
            self._file_lock = FileLock(self._path, wait=False)
        except BlockingIOError as error:
            raise BadResultsFile(
                f"{self._path} is in use by a run that goes on: take another file"
            ) from error
        try:
            self._file = open(self._path, "r+b")  # noqa: SIM115 - closed when the last item is answered
        except BaseException:
            self._file_lock.release()
            raise
        try:
            self._read({"simple_golem": _VERSION, "work": _name_of(work), "key": _name_of(key)})
        except BaseException:
            self._close_file()
            raise

    def _read(self, header: dict[str, object]) -> None:
        """Note where the answers are; a last line that was not written completely is dropped."""
        offset = number = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            number += 1
            if number == 1:
                self._check_header(line, header)
            else:
                self._offsets[self._parsed(line, number)["key"]] = offset
            offset += len(line)
        self._file.truncate(offset)
        self._file.seek(offset)
        if number == 0:
            self._append(header)

    def _check_header(self, line: bytes, wanted: dict[str, object]) -> None:
        found = self._parsed(line, 1, "simple_golem")
        for name, what in (("work", "function"), ("key", "key"), ("simple_golem", "version")):
            if found.get(name) != wanted[name]:
                raise BadResultsFile(
                    f"{self._path} has the results of the {what} {found.get(name)}, not of {wanted[name]}: "
                    "take another file"
                )

    def _parsed(self, line: bytes, number: int, needed: str = "key") -> dict[str, Any]:
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict) or needed not in value:
            raise BadResultsFile(
                f"{self._path}, line {number}: this is no file of results; take another file"
            )
        return value

    # --- what the map asks ------------------------------------------------------------------------------

    def check_items(self, items: Iterable[Any]) -> None:
        """Check that the file has no results of other items; for items that are all known in advance.

        Raises:
            BadResultsFile: it has some.
        """
        if not self._offsets:
            return
        strangers = set(self._offsets) - {self._text(item) for item in items}
        if strangers:
            some = ", ".join(map(repr, sorted(strangers)[:_MOST_SHOWN]))
            raise BadResultsFile(
                f"{self._path} has results of other items, such as {some}: take another file, or give all of "
                "the items that it was begun with"
            )

    def key_of(self, item: Any) -> str:
        """Return the key of the next item.

        Raises:
            BadResultsFile: an item before it has the same, or it is no text.
        """
        key = self._text(item)
        with self._lock:
            if key in self._seen:
                raise BadResultsFile(f"two items have the key {key!r}: give a `key` that tells them apart")
            self._seen.add(key)
        return key

    def _text(self, item: Any) -> str:
        key = self._key(item)
        if not isinstance(key, str):
            raise BadResultsFile(f"the key of {item!r} is {key!r}: `key` has to return a text, as str does")
        return key

    def answer_of(self, key: str) -> Future[Any] | None:
        """Return the answer of an item that an earlier run has answered, None if there is none.

        Raises:
            NotRunning: the file was closed.
        """
        with self._lock:
            if self._is_closing:
                raise NotRunning(f"the pool is closed, and {self._path} with it: read all results before")
            offset = self._offsets.get(key)
            if offset is None:
                return None
            self._file.seek(offset)
            line = self._file.readline()
        future: Future[Any] = Future()
        future.set_result(json.loads(line)["result"])
        return future

    def item_begins(self) -> None:
        """Keep the file open until `item_ends` is called for this item."""
        with self._lock:
            self._under_way += 1

    def keep(self, key: str, result: Any) -> Any:
        """Append an answer; returns it as the file has it, e.g. a list for a tuple.

        Raises:
            BadJson: it has no JSON form.
        """
        try:
            text = json.dumps(result)
        except (TypeError, ValueError) as error:
            raise BadJson(
                f"the result of {key!r} has no JSON form, which results_file needs: {error}"
            ) from error
        with self._lock:
            self._file.seek(0, os.SEEK_END)
            self._append({"key": key, "result": json.loads(text)})
        return json.loads(text)

    def _append(self, value: object) -> None:
        self._file.write(json.dumps(value).encode() + b"\n")
        self._file.flush()

    # --- the end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the file as soon as all items that were begun are answered; does not block."""
        with self._lock:
            self._is_closing = True
            if self._under_way == 0:
                self._close_file()

    def item_ends(self, _future: object = None) -> None:
        """Note that an item that was begun is answered, or was not begun after all."""
        with self._lock:
            self._under_way -= 1
            if self._is_closing and self._under_way == 0:
                self._close_file()

    def _close_file(self) -> None:
        self._file.close()
        self._file_lock.release()


class ResultsFiles:
    """The files of a pool; those that nobody has closed are closed with the pool. Used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[ResultsFile] = set()

    def open(self, path: str | os.PathLike[str], work: object, key: Callable[[Any], object]) -> ResultsFile:
        """Open one; arguments and errors are those of `ResultsFile`."""
        file = ResultsFile(path, work, key)
        with self._lock:
            self._open.add(file)
        return file

    def close(self, file: ResultsFile) -> None:
        """Close one as soon as its items are answered; does not block."""
        with self._lock:
            self._open.discard(file)
        file.close()

    def close_all(self) -> None:
        """Close all, each as soon as its items are answered; does not block."""
        with self._lock:
            files = list(self._open)
        for file in files:
            self.close(file)


def _name_of(function: object) -> str:
    if isinstance(function, functools.partial):
        options = {**{str(n): value for n, value in enumerate(function.args)}, **function.keywords}
        return (
            f"{_name_of(function.func)}({', '.join(f'{name}={value!r}' for name, value in options.items())})"
        )
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', '')}.{name}"
