"""The `transfer` command of an exe-unit: bytes from one URL to another, a chunk at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any, Protocol

from ...background.cancellation import Scope
from ..bus.bus import Bus
from ..sandbox.sandbox import Sandbox
from .container_files import ArchiveSink, ArchiveSource, ContainerSink, ContainerSource
from .gftp import GftpError, GftpFile
from .progress import Report, Reporter
from .transfer_url import TransferUrl, Unsupported
from .web_files import WebError, WebSink, WebSource

logger = logging.getLogger(__name__)
Passed = Callable[[int, float], object]

# As the real exe-unit: what failed because somebody was not to be reached is tried again, twice.
_RETRY_SECONDS = (2.0, 4.0)


class TransferFailed(Exception):
    """A transfer failed; the message is what a requestor is told of it."""


class Source(Protocol):
    """Where bytes come from."""

    size: int | None

    def chunks(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class Sink(Protocol):
    """Where bytes go to; it is whole only once it is finished."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


class Transfers:
    """Executes the transfers of one activity."""

    def __init__(self, bus: Bus, node_id: str, scope: Scope, on_passed: Passed | None = None) -> None:
        """Args:
        node_id: the provider's, whose calls those over the bus are.
        scope: of the activity; cancelling it ends every transfer.
        on_passed: called with the bytes of a transfer that have passed, and the seconds that took; may
            wait, or break the transfer off with an OSError.
        """
        self._bus = bus
        self._node_id = node_id
        self._scope = scope
        self._on_passed = on_passed

    def transfer(self, sandbox: Sandbox, details: Mapping[str, Any], on_progress: Report) -> None:
        """Block until all has been transferred.

        Args:
            sandbox: where `container:` is.
            details: as in the ExeScript: from, to, format, depth, fileset, progress.
            on_progress: called with what the requestor asked to be told meanwhile.

        Raises:
            TransferFailed: it failed, for good.
        """
        reporter = Reporter(details.get("progress"), on_progress)
        for seconds in (*_RETRY_SECONDS, None):
            try:
                self._try(sandbox, details, reporter)
                return
            except GftpError as error:
                if error.lasting or seconds is None or self._scope.cancelled:
                    raise TransferFailed(str(error)) from error
                logger.warning("a transfer is tried again in %g s: %s", seconds, error)
                self._scope.wait(seconds)
            except (WebError, Unsupported) as error:
                raise TransferFailed(str(error)) from error
            except OSError as error:
                raise TransferFailed(f"IO error: {told(error)}") from error

    def _try(self, sandbox: Sandbox, details: Mapping[str, Any], reporter: Reporter) -> None:
        with ExitStack() as open_ends:
            source_url, sink_url = TransferUrl.parse(details["from"]), TransferUrl.parse(details["to"])
            source = open_ends.enter_context(closing(self._source(sandbox, source_url, details)))
            sink = open_ends.enter_context(closing(self._sink(sandbox, sink_url, details)))
            self._pump(source, sink, reporter)

    def _pump(self, source: Source, sink: Sink, reporter: Reporter) -> None:
        passed, begun = 0, time.monotonic()
        for data in source.chunks():
            if self._scope.cancelled:
                raise InterruptedError("operation interrupted")
            sink.write(data)
            passed += len(data)
            reporter.passed(passed, source.size)
            if self._on_passed is not None:
                self._on_passed(passed, time.monotonic() - begun)
        sink.finish()

    def _source(self, sandbox: Sandbox, url: TransferUrl, details: Mapping[str, Any]) -> Source:
        if url.scheme == "container" and details.get("format") is not None:
            return ArchiveSource(sandbox, url.path, details)
        if url.scheme == "container":
            return ContainerSource(sandbox, url.path)
        if url.scheme == "gftp":
            return _GftpSource(self._gftp(url))
        return WebSource(url.text, self._scope)

    def _sink(self, sandbox: Sandbox, url: TransferUrl, details: Mapping[str, Any]) -> Sink:
        if url.scheme == "container" and details.get("format") is not None:
            return ArchiveSink(sandbox, url.path, details)
        if url.scheme == "container":
            return ContainerSink(sandbox, url.path)
        if url.scheme == "gftp":
            return _GftpSink(self._gftp(url))
        return WebSink(url.text, self._scope)

    def _gftp(self, url: TransferUrl) -> GftpFile:
        return GftpFile(self._bus, self._node_id, url.text, self._scope)


class _GftpSource:
    def __init__(self, file: GftpFile) -> None:
        self._file = file
        self.size: int | None = file.size()

    def chunks(self) -> Iterator[bytes]:
        return self._file.chunks(self.size or 0)

    def close(self) -> None:
        self._file.abandon()


class _GftpSink:
    def __init__(self, file: GftpFile) -> None:
        self.write: Callable[[bytes], None] = file.write
        self.finish: Callable[[], None] = file.finish
        self.close: Callable[[], None] = file.abandon


def told(error: OSError) -> str:
    """An error of the operating system as the real exe-unit writes it."""
    if error.errno is None or error.strerror is None:
        return str(error)
    return f"{error.strerror} (os error {error.errno})"
