"""The `transfer` command of an exe-unit: copies bytes from one URL to another, in chunks."""

from __future__ import annotations

import logging
import posixpath
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, Protocol

import tenacity

from ...background.cancellation import Scope
from ...model.base.printable import printable
from ..bus.bus import Bus
from ..control import rules
from ..control.rules import OnStrike, Rule
from ..sandbox.sandbox import LinkRefused
from .container_files import ActivityFiles, ContainerSink, ContainerSource, length_of
from .gftp import GftpError, GftpFile
from .progress import Report, Reporter
from .transfer_url import TransferUrl, Unsupported
from .web_files import OwnLoopback, Web, WebError, WebSink, WebSource, WebTimeout

logger = logging.getLogger(__name__)
Passed = Callable[[int, float], object]

# As the real exe-unit: it tries three times, with pauses of 2 and 4 seconds.
_TRIES = 3
_RETRY_WAIT = tenacity.wait_exponential(multiplier=2.0)


class TransferFailed(Exception):
    """A transfer failed; the requestor gets the message."""


class OutsideVolumes(Unsupported):
    """A path is in none of the activity's volumes."""


_RULES_OF_ERRORS: Sequence[tuple[type[Exception], Rule, str]] = (
    (OutsideVolumes, rules.VOLUMES_ONLY, ""),
    (WebTimeout, rules.WEB_TIMEOUT, ""),
    (OwnLoopback, rules.OWN_LOOPBACK, "; --web-server URL lets local providers reach that server"),
)


class Source(Protocol):
    """The end of a transfer that bytes are read from."""

    size: int | None

    def chunks(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class Sink(Protocol):
    """The end of a transfer that bytes are written to; it is complete only after `finish`."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


class Transfers:
    """Executes the transfers of one activity."""

    def __init__(
        self,
        bus: Bus,
        node_id: str,
        scope: Scope,
        on_strike: OnStrike,
        web: Web,
        on_passed: Passed | None = None,
    ) -> None:
        """Args:
        bus: the service bus, for gftp.
        node_id: the provider's node id, the caller of all calls over the bus.
        scope: the scope of the activity; cancelling it ends every transfer.
        on_strike: called when a rule refuses or changes something.
        web: the web as the provider reaches it.
        on_passed: called after each chunk with the bytes so far and the seconds so far. It may wait, or
            break off the transfer with an OSError.
        """
        self._bus = bus
        self._node_id = node_id
        self._scope = scope
        self._on_strike = on_strike
        self._web = web
        self._on_passed = on_passed

    def transfer(
        self, files: ActivityFiles, details: Mapping[str, Any], on_progress: Report, volumes: Sequence[str]
    ) -> None:
        """Carry out a transfer; blocks until it is complete.

        Args:
            files: those of the activity, for `container:` URLs.
            volumes: the folders of the activity that files can be transferred to and from.
            details: the command's fields in the ExeScript: from, to, progress. Others are ignored.
            on_progress: called with the progress reports that the requestor asked for.

        Raises:
            TransferFailed: it failed, after three tries if the publisher could not be reached.
        """
        reporter = Reporter(details.get("progress"), on_progress)
        if ignored := [name for name in ("format", "depth", "fileset") if details.get(name) is not None]:
            self._on_strike(rules.NO_ARCHIVES, _ends(details), f"{' and '.join(ignored)} ignored")
        try:
            self._retrying()(self._try, files, details, reporter, volumes)
        except (GftpError, WebError, Unsupported) as error:
            for kind, rule, advice in _RULES_OF_ERRORS:
                if isinstance(error, kind):
                    self._on_strike(rule, _ends(details), f"{error}{advice}")
            raise TransferFailed(str(error)) from error
        except OSError as error:
            message = f"IO error: {error_text(error)}"
            if isinstance(error, LinkRefused):
                self._on_strike(rules.LINKS, _ends(details), message)
            raise TransferFailed(message) from error

    def _retrying(self) -> tenacity.Retrying:
        def may_help(error: BaseException) -> bool:
            is_passing = isinstance(error, (GftpError, WebError)) and not error.lasting
            return is_passing and not self._scope.cancelled

        def log(state: tenacity.RetryCallState) -> None:
            logger.warning(
                "a transfer failed and is tried again: %s", state.outcome and state.outcome.exception()
            )

        def pause(seconds: float) -> None:
            self._scope.wait(seconds)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(may_help),
            stop=tenacity.stop_after_attempt(_TRIES),
            wait=_RETRY_WAIT,
            sleep=pause,
            before_sleep=log,
            reraise=True,
        )

    def _try(
        self, files: ActivityFiles, details: Mapping[str, Any], reporter: Reporter, volumes: Sequence[str]
    ) -> None:
        with ExitStack() as open_ends:
            source_url, sink_url = TransferUrl.parse(details["from"]), TransferUrl.parse(details["to"])
            source, offset = self._source(files, source_url, sink_url, details, volumes)
            open_ends.enter_context(closing(source))
            sink = open_ends.enter_context(closing(self._sink(files, sink_url, offset, volumes)))
            self._copy(source, sink, reporter)

    def _copy(self, source: Source, sink: Sink, reporter: Reporter) -> None:
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

    def _source(
        self,
        files: ActivityFiles,
        url: TransferUrl,
        sink: TransferUrl,
        details: Mapping[str, Any],
        volumes: Sequence[str],
    ) -> tuple[Source, int]:
        """Open the source; returns it, and where its bytes belong in the file that is the target."""
        if url.scheme == "container":
            return ContainerSource(files, url.path, _volume_of(url.path, volumes)), 0
        if url.scheme == "gftp":
            return _GftpSource(self._gftp(url)), 0
        there = 0
        if sink.scheme == "container":
            there = length_of(files, sink.path, _volume_of(sink.path, volumes))
        page = WebSource(self._web, url.text, self._scope, there)
        if page.offset:
            self._on_strike(rules.RESUMED, _ends(details), f"{page.offset} bytes of the old file stay")
        if page.status >= 400:
            stored = f"the page of status {page.status} is stored"
            self._on_strike(rules.STATUS_IGNORED, _ends(details), stored)
        return page, page.offset

    def _sink(self, files: ActivityFiles, url: TransferUrl, offset: int, volumes: Sequence[str]) -> Sink:
        if url.scheme == "container":
            return ContainerSink(files, url.path, _volume_of(url.path, volumes), offset)
        if url.scheme == "gftp":
            return _GftpSink(self._gftp(url))
        return WebSink(self._web, url.text, self._scope)

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


def _ends(details: Mapping[str, Any]) -> str:
    """The two ends as their user knows them, who does not see the URLs by which the daemon serves files."""
    source, sink = str(details["from"]), str(details["to"])
    if source.startswith("gftp:"):
        return f"upload to {_path_of(sink)}"
    if sink.startswith("gftp:"):
        return f"download of {_path_of(source)}"
    return f"{source} to {sink}"


def _path_of(url: str) -> str:
    """The path in the activity, in quotation marks if it has spaces."""
    try:
        return shlex.quote(printable(TransferUrl.parse(url).path))
    except Unsupported:
        return url


def _volume_of(path: str, volumes: Sequence[str]) -> str:
    """Return the volume that a path is in; the provider's host sees nothing else of an activity."""
    whole = posixpath.normpath(path)
    inside = [volume for volume in volumes if whole == volume or whole.startswith(f"{volume.rstrip('/')}/")]
    if not inside:
        raise OutsideVolumes(f"IO error: path not found in container: {path}")
    return max(inside, key=len)


def error_text(error: OSError) -> str:
    """The text of an operating system's error, as the real exe-unit writes it."""
    if error.errno is None or error.strerror is None:
        return str(error)
    return f"{error.strerror} (os error {error.errno})"
