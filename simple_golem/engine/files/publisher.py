"""Publishes files of this machine on the daemon's bus; one thread answers the requests for all of them.

Each file is a service of its own on the bus, with a WebSocket of its own, since a request on a WebSocket does
not say which service it is for.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import TYPE_CHECKING, Any

import tenacity

from ...background.cancellation import Scope, ScopeEnded
from ...background.forks import leave_socket_to_parent
from ...background.threads import EngineThread
from ...errors import GolemError, NoDaemon, YagnaError
from ...yagna.api.gsb import service_id
from ...yagna.client import Yagna
from ...yagna.service_bus.gsb_call import GsbRequest
from ...yagna.transport.retry import RESTART_SECONDS, Repeat
from ...yagna.transport.socket_lost import SocketLost
from .local_files import FileEnd, Refusal

if TYPE_CHECKING:
    from ...yagna.service_bus.gsb_socket import GsbSocket

logger = logging.getLogger(__name__)

_COMPONENTS = ("GetMetadata", "GetChunk", "UploadChunk", "UploadFinished")
# When a lost WebSocket is opened again; the thread looks up the times here and never sleeps.
_REOPENING = tenacity.Retrying(
    wait=tenacity.wait_exponential(multiplier=0.05, max=1.0),
    stop=tenacity.stop_after_delay(RESTART_SECONDS),
)
# A WebSocket that is refused so is not tried again, or only a few times.
_FINAL_STATUSES = (400, 401, 403)
_FAILED_STATUS = 500
_TRIES_OF_FAILURES = 3
# How long the thread, which may be busy with other files, is waited for; and then the daemon.
_THREAD_ANSWER_SECONDS = 1.0
_WITHDRAW_SECONDS = 1.5
_REFUSE_CALLS_SECONDS = 0.3
# A request that was abandoned is carried out by then, if at all.
_REQUEST_UNDER_WAY_SECONDS = 0.2
# While so many bytes are unsent, no further requests are read from a WebSocket.
_MOST_UNSENT = 4 * 1024 * 1024


class Publication:
    """One file on the bus.

    Attributes:
        url: its address for the provider.
        address: its address on the bus.
        end: the file.
        lost: how often its WebSocket was lost.
        services_id: the daemon's id of the service.
        socket: its WebSocket; None while that is lost.
        withdrawn: whether requests are refused from now on.
        reopening: the tries to open a lost WebSocket again; None while it works.
        retry_at: the next try, on the monotonic clock.
    """

    def __init__(self, end: FileEnd, node_id: str) -> None:
        name = secrets.token_hex(32)
        self.url = f"gftp://{node_id}/{name}"
        self.address = f"/public/gftp/{name}"
        self.end = end
        self.lost = 0
        self.services_id = ""
        self.socket: GsbSocket | None = None
        self.withdrawn = False
        self.reopening: tenacity.RetryCallState | None = None
        self.retry_at = 0.0


class FilePublisher:
    """Lets providers read and write files of this machine, as long as they are published."""

    def __init__(self, yagna: Yagna) -> None:
        self._yagna = yagna
        self._scope = Scope()
        self._lock = threading.Lock()
        self._node_id = ""
        self._thread: EngineThread | None = None
        self._for_thread: deque[Callable[[], None]] = deque()
        self._published: set[Publication] = set()

    def publish(self, end: FileEnd, scope: Scope) -> Publication:
        """Put a file on the bus; blocks for two requests to the daemon, some milliseconds.

        A daemon that is restarted, or fails for a moment, is asked again: for 30 seconds at most.

        Raises:
            NoDaemon, YagnaError: the daemon does not answer, or refuses.
            ScopeEnded: `scope` was cancelled.
        """
        self._start()
        if not self._node_id:
            self._node_id = self._yagna.identity.me(scope=scope).node_id
        publication = Publication(end, self._node_id)
        try:
            self._connect(publication, scope)
        except (YagnaError, ScopeEnded):
            self._take_back(publication)
            raise
        except SocketLost as error:
            self.withdraw(publication)
            raise NoDaemon(f"files can't be transferred, and nothing was sent: {error}") from error
        self._do_on_thread(lambda: self._serve(publication))
        return publication

    def _connect(self, publication: Publication, scope: Scope) -> None:
        def try_once() -> None:
            # A daemon that was restarted has forgotten the service; otherwise this changes nothing.
            publication.services_id = self._yagna.gsb.publish(publication.address, _COMPONENTS, scope=scope)
            publication.socket = self._yagna.gsb.connect(publication.services_id)

        def sleep(seconds: float) -> None:
            scope.wait(seconds)
            scope.check()

        trying = tenacity.Retrying(
            retry=_may_pass, wait=_REOPENING.wait, stop=_REOPENING.stop, sleep=sleep, reraise=True
        )
        trying(try_once)

    def withdraw(self, publication: Publication, *, ask: bool = True) -> bool:
        """Take a file off the bus: a provider that still asks for it gets an error. Never raises.

        Blocks for 2.5 seconds at most, when neither the thread nor the daemon answers.

        Args:
            ask: whether the daemon is asked to remove the service; if not, only the WebSocket is closed.

        Returns:
            Whether the daemon has removed the service; if not, that is logged.
        """
        publication.withdrawn = True
        publication.end.close()
        carrier = self._withdraw_from_thread(publication)
        try:
            if ask:
                return self._remove_service(publication)
            logger.warning("%s was not taken off the bus: the daemon does not answer", publication.address)
            return False
        finally:
            # After that, and not before: if the WebSocket ends before its service, the daemon leaves calls
            # unanswered.
            if carrier is not None:
                carrier.close()

    def _remove_service(self, publication: Publication) -> bool:
        try:
            self._yagna.gsb.withdraw(publication.services_id, within=_WITHDRAW_SECONDS, scope=self._scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning("%s could not be taken off the bus: %s", publication.address, error)
            return False
        return True

    def _take_back(self, publication: Publication) -> None:
        """Remove a service that the daemon may have made, though it gave no answer."""
        publication.services_id = service_id(publication.address)
        # The daemon may still have the request before it when it gets the first of these.
        for pause in (_REQUEST_UNDER_WAY_SECONDS, 0.0):
            self._remove_service(publication)
            self._scope.wait(pause)

    def refuse(self, publications: Sequence[Publication]) -> None:
        """Make providers stop the transfers of these files; blocks for 0.3 seconds.

        Each call is refused from now on, and a provider that was refused makes no more calls. If a service is
        removed while a call is unanswered, the daemon waits for a minute (tried).
        """
        for publication in publications:
            publication.withdrawn = True
        if publications:
            Scope().wait(_REFUSE_CALLS_SECONDS)

    def _withdraw_from_thread(self, publication: Publication) -> GsbSocket | None:
        """Have the thread stop serving a file; returns the WebSocket, which is still open."""
        carrier: Future[GsbSocket | None] = Future()
        self._do_on_thread(lambda: self._hand_over(publication, carrier))
        try:
            return carrier.result(_THREAD_ANSWER_SECONDS)
        except NotInTime:
            if not carrier.cancel():
                return carrier.result()  # it came in this moment
        thread = self._thread
        return publication.socket if thread is None or not thread.alive else None

    def close(self, timeout: float) -> bool:
        """End the thread; blocks for `timeout` seconds at most, and returns whether it has ended."""
        self._scope.cancel("the files are closed")
        with self._lock:
            thread = self._thread
        if thread is None:
            return True
        self._wake()
        return thread.join(timeout)

    def _start(self) -> None:
        with self._lock:
            self._scope.check()
            if self._thread is None:
                self._selector = selectors.DefaultSelector()
                self._woken, self._waker = socket.socketpair()
                for end in (self._woken, self._waker):
                    end.setblocking(False)
                    leave_socket_to_parent(end)
                self._selector.register(self._woken, selectors.EVENT_READ)
                self._thread = EngineThread("golem-files", self._run).start()

    def _do_on_thread(self, work: Callable[[], None]) -> None:
        self._for_thread.append(work)
        self._wake()

    def _wake(self) -> None:
        # A full pipe wakes the thread as well; a closed one means that it has ended.
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"!")

    # --- on the thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._scope.cancelled:
                for key, _mask in self._selector.select(self._seconds_to_next_try()):
                    if key.data is None:
                        self._woken.recv(4096)
                    else:
                        self._exchange(key.data)
                self._do_what_was_asked()
                self._reopen_lost()
        finally:
            self._do_what_was_asked()
            for publication in list(self._published):
                self._drop(publication)
            self._selector.close()
            self._woken.close()
            self._waker.close()

    def _do_what_was_asked(self) -> None:
        while self._for_thread:
            self._for_thread.popleft()()

    def _seconds_to_next_try(self) -> float | None:
        due = [publication.retry_at for publication in self._published if publication.socket is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _serve(self, publication: Publication) -> None:
        if publication.withdrawn or publication.socket is None:
            return
        self._published.add(publication)
        try:
            self._selector.register(publication.socket, selectors.EVENT_READ, publication)
        except (OSError, ValueError, KeyError) as error:  # it was closed meanwhile
            self._plan_reopening(publication, error)

    def _stop_serving(self, publication: Publication) -> GsbSocket | None:
        """Serve a file no longer; returns its WebSocket, which stays open."""
        self._published.discard(publication)
        carrier, publication.socket = publication.socket, None
        if carrier is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(carrier)
        return carrier

    def _hand_over(self, publication: Publication, carrier: Future[GsbSocket | None]) -> None:
        if carrier.set_running_or_notify_cancel():
            carrier.set_result(self._stop_serving(publication))
        else:  # nobody waits for it any more
            self._drop(publication)

    def _drop(self, publication: Publication) -> None:
        """Serve a file no longer, and close its WebSocket."""
        carrier = self._stop_serving(publication)
        if carrier is not None:
            carrier.close()

    def _exchange(self, publication: Publication) -> None:
        """Answer the requests that have come for one file, and send what could not be sent before."""
        carrier = publication.socket
        if carrier is None:
            return
        try:
            carrier.flush()
            if carrier.unsent < _MOST_UNSENT:
                for request in carrier.receive():
                    self._answer(publication, carrier, request)
            if carrier.opened:
                publication.reopening = None
            interest = selectors.EVENT_READ if carrier.unsent < _MOST_UNSENT else 0
            interest |= selectors.EVENT_WRITE if carrier.unsent else 0
            self._selector.modify(carrier, interest, publication)
        except SocketLost as error:
            self._plan_reopening(publication, error)
        except Exception as error:  # an error of one WebSocket must not end the others
            logger.warning("the WebSocket of %s failed", publication.address, exc_info=True)
            self._plan_reopening(publication, error)

    def _answer(self, publication: Publication, carrier: GsbSocket, request: GsbRequest) -> None:
        if publication.withdrawn:
            carrier.refuse(request.call_id, "InternalError", "the file was withdrawn")
            return
        try:
            carrier.answer(request.call_id, _answer_of(publication.end, request))
        except Refusal as refusal:
            carrier.refuse(request.call_id, refusal.kind, str(refusal))

    def _plan_reopening(self, publication: Publication, error: Exception) -> None:
        """Set the time at which a lost WebSocket is opened again."""
        self._drop(publication)
        if publication.withdrawn:
            return
        logger.info("the WebSocket of %s was lost and is opened again: %s", publication.address, error)
        publication.lost += 1
        if publication.reopening is None:
            publication.reopening = tenacity.RetryCallState(_REOPENING, None, (), {})
        else:
            publication.reopening.prepare_for_next_attempt()
        publication.reopening.set_exception((type(error), error, error.__traceback__))
        if _REOPENING.stop(publication.reopening):
            logger.warning("the WebSocket of %s could not be opened again: %s", publication.address, error)
            return
        publication.retry_at = time.monotonic() + _REOPENING.wait(publication.reopening)
        self._published.add(publication)

    def _reopen_lost(self) -> None:
        now = time.monotonic()
        for publication in [one for one in self._published if one.socket is None and one.retry_at <= now]:
            try:
                self._reopen(publication)
            except (GolemError, ScopeEnded, SocketLost) as error:
                self._plan_reopening(publication, error)
            else:
                self._serve(publication)

    def _reopen(self, publication: Publication) -> None:
        # Calls that went to the lost WebSocket would be waited for without end. They fail when the service is
        # removed, and an exe-unit tries again.
        self._yagna.gsb.withdraw(publication.services_id, scope=self._scope)
        publication.services_id = self._yagna.gsb.publish(
            publication.address, _COMPONENTS, scope=self._scope, repeat=Repeat.NEVER
        )
        if not publication.withdrawn:
            publication.socket = self._yagna.gsb.connect(publication.services_id)
        if publication.withdrawn:
            # `withdraw` may have stopped waiting; then it has removed the old service, not this one.
            self._remove_service(publication)
            self._drop(publication)


def _may_pass(state: tenacity.RetryCallState) -> bool:
    """Whether a WebSocket that could not be opened is tried again, by the rules for requests."""
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, SocketLost) or error.status in _FINAL_STATUSES:
        return False
    return error.status != _FAILED_STATUS or state.attempt_number < _TRIES_OF_FAILURES


def _answer_of(end: FileEnd, request: GsbRequest) -> dict[str, Any] | None:
    try:
        return end.answer(request.component, request.payload)
    except Refusal:
        raise
    except Exception as error:
        # A fault in one answer must not end the thread that serves all files.
        logger.exception("a provider's %s could not be answered", request.component)
        raise Refusal("InternalError", f"{request.component} could not be answered: {error!r}") from error
