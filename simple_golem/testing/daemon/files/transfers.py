"""The `transfer` command of a fake exe-unit: files of the requestor to and from a container in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from ...request import Call, ConnectionDropped
from ..activity.exe_unit import CommandFailure
from ..world import World
from .bus import Bus, BusError

CHUNK_BYTES = 40 * 1024
_RETRY_SECONDS = (2.0, 4.0)
Report = Callable[[int, "int | None"], object]


class Transfers:
    """Moves files between the bus and containers, which are dicts of bytes by path."""

    def __init__(self, world: World, bus: Bus) -> None:
        self._world = world
        self._bus = bus

    def transfer(self, details: dict[str, Any], files: dict[str, bytes], report: Report, call: Call) -> None:
        """Block until a file has been moved; like the real exe-unit, try three times if nobody answers.

        Raises:
            CommandFailure: it could not be moved.
        """
        for pause in (*_RETRY_SECONDS, None):
            try:
                self._try(details["from"], details["to"], files, report, call)
                return
            except ConnectionDropped as error:
                raise CommandFailure(_failed("operation interrupted")) from error
            except BusError as error:
                if error.lasting or pause is None:
                    raise CommandFailure(_failed(str(error))) from error
                self._pause(pause, call)

    def _pause(self, seconds: float, call: Call) -> None:
        try:
            with self._world.lock:
                self._world.wait(call, self._world.condition(), lambda: False, seconds)
        except ConnectionDropped as error:
            raise CommandFailure(_failed("operation interrupted")) from error

    def _try(self, source: str, target: str, files: dict[str, bytes], report: Report, call: Call) -> None:
        content = self._read(source, files, report, call)
        scheme, _, _ = target.partition(":")
        if scheme == "container":
            files[_path_of(target)] = content
        elif scheme == "gftp":
            self._upload(_address_of(target), content, report, call)
        else:
            raise CommandFailure(_failed(f"Unsupported scheme: {scheme}"))

    def _read(self, source: str, files: dict[str, bytes], report: Report, call: Call) -> bytes:
        scheme, _, _ = source.partition(":")
        if scheme == "container":
            content = files.get(_path_of(source))
            if content is None:
                raise CommandFailure(_failed("IO error: No such file or directory (os error 2)"))
            return content
        if scheme == "gftp":
            return self._download(_address_of(source), report, call)
        if scheme in ("http", "https"):
            return b""  # nothing here reaches out into the network
        raise CommandFailure(_failed(f"Unsupported scheme: {scheme}"))

    def _download(self, address: str, report: Report, call: Call) -> bytes:
        size = int(self._bus.call(address, "GetMetadata", {}, call)["fileSize"])
        content = bytearray()
        while len(content) < size:
            wanted = {"offset": len(content), "size": CHUNK_BYTES}
            content += bytes(self._bus.call(address, "GetChunk", wanted, call)["content"])
            report(len(content), size)
        return bytes(content)

    def _upload(self, address: str, content: bytes, report: Report, call: Call) -> None:
        for offset in range(0, len(content), CHUNK_BYTES):
            chunk = {"offset": offset, "content": content[offset : offset + CHUNK_BYTES]}
            self._bus.call(address, "UploadChunk", {"chunk": chunk}, call)
            report(min(len(content), offset + CHUNK_BYTES), len(content))
        digest = hashlib.sha3_256(content).hexdigest()
        self._bus.call(address, "UploadFinished", {"hash": digest}, call)


def _path_of(url: str) -> str:
    return url.partition(":")[2]


def _address_of(url: str) -> str:
    return f"/public/gftp/{url.rpartition('/')[2]}"


def _failed(what: str) -> str:
    return f"Local service error: Transfer error: {what}"
