"""The ends of a transfer inside an activity: a file, or a folder that is transferred as an archive."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..sandbox.sandbox import PYTHON, Sandbox, SandboxProcess
from . import archiver
from .gftp import CHUNK_BYTES
from .transfer_url import Unsupported

_PROGRAM = Path(archiver.__file__).read_text(encoding="utf-8")


class ContainerSource:
    """Reads a file of the activity."""

    def __init__(self, sandbox: Sandbox, path: str, volume: str) -> None:
        """Open the file, which is in a volume; raises OSError if there is no such file."""
        self._file = sandbox.open_file(path, "r", volume)
        self.size: int | None = os.fstat(self._file).st_size

    def chunks(self) -> Iterator[bytes]:
        while data := os.read(self._file, CHUNK_BYTES):
            yield data

    def close(self) -> None:
        os.close(self._file)


class ContainerSink:
    """Writes a file of the activity; replaces an existing one."""

    def __init__(self, sandbox: Sandbox, path: str, volume: str) -> None:
        """Open the file, which is in a volume; raises OSError if it can't be written."""
        self._file = sandbox.open_file(path, "w", volume)

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]

    def finish(self) -> None:
        """Nothing to do: the root of an activity is in memory."""

    def close(self) -> None:
        os.close(self._file)


class ArchiveSource:
    """Packs a folder of the activity, or selected files of it, into an archive."""

    size: int | None = None  # not known before all is packed

    def __init__(self, sandbox: Sandbox, path: str, details: Mapping[str, Any]) -> None:
        """Start to pack.

        Args:
            sandbox: the activity's root.
            path: the folder.
            details: the fields of the transfer; format, depth and fileset are used.

        Raises:
            Unsupported: the format or the fileset is not valid.
        """
        includes, excludes = _patterns(details.get("fileset"))
        request = {
            "pack": True,
            "path": path,
            "format": _format(details),
            "depth": details.get("depth"),
            "includes": includes,
            "excludes": excludes,
        }
        self._process = sandbox.popen(_command(request))

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive; raises OSError if the folder does not exist or can't be packed."""
        while data := self._process.read(CHUNK_BYTES):
            yield data
        _check(self._process)

    def close(self) -> None:
        self._process.close()


class ArchiveSink:
    """Unpacks an archive into a folder of the activity; makes the folder if it is missing."""

    def __init__(self, sandbox: Sandbox, path: str, details: Mapping[str, Any]) -> None:
        """Start to unpack.

        Args:
            sandbox: the activity's root.
            path: the folder.
            details: the fields of the transfer; only format is used.

        Raises:
            Unsupported: the format is not valid.
        """
        request = {"pack": False, "path": path, "format": _format(details)}
        reader, self._writer = os.pipe()
        try:
            self._process = sandbox.popen(_command(request), stdin=reader)
        except BaseException:
            os.close(self._writer)
            raise
        finally:
            os.close(reader)

    def write(self, data: bytes) -> None:
        """Write the next bytes of the archive; raises OSError if it can't be unpacked."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._writer, left) :]
            except BrokenPipeError:
                self.finish()  # raises the error of the archiver
                raise

    def finish(self) -> None:
        """Block until the archive is unpacked; raises OSError if it can't be unpacked."""
        self._close_writer()
        _check(self._process)

    def close(self) -> None:
        self._close_writer()
        self._process.close()

    def _close_writer(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1


def _command(request: Mapping[str, Any]) -> list[str]:
    return [PYTHON, "-I", "-S", "-c", _PROGRAM, json.dumps(request)]


def _check(process: SandboxProcess) -> None:
    stderr = bytearray()
    code = process.wait(lambda data: None, stderr.extend)
    if code == 0:
        return
    try:
        failure = json.loads(stderr)
    except ValueError:
        raise OSError(f"the archiver ended with {code}: {stderr.decode(errors='replace')[-500:]}") from None
    if failure["errno"] is None:
        raise OSError(failure["error"])
    raise OSError(failure["errno"], failure["error"])


def _format(details: Mapping[str, Any]) -> str:
    named = str(details["format"])
    if named.lower() not in archiver.FORMATS:
        raise Unsupported(f"Invalid output format: {named}")
    return named.lower()


def _patterns(fileset: object) -> tuple[list[str], list[str]]:
    """The globs of a fileset: those to include, and those to exclude."""
    if fileset is None:
        return [], []
    if isinstance(fileset, str):
        return [fileset], []
    if isinstance(fileset, Mapping):
        return _list(fileset.get("includes")), _list(fileset.get("excludes"))
    if isinstance(fileset, (list, tuple)):
        pairs = [_patterns(entry) for entry in fileset]
        return [glob for pair in pairs for glob in pair[0]], [glob for pair in pairs for glob in pair[1]]
    raise Unsupported(f"Glob error: {fileset!r} is not a fileset")


def _list(globs: object) -> list[str]:
    if globs is None:
        return []
    return [str(glob) for glob in globs] if isinstance(globs, (list, tuple)) else [str(globs)]
