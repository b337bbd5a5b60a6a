"""Publishes files of this machine on the daemon's bus, and answers for all of them on one thread.

Each file is a service of its own on the bus, since a WebSocket of the daemon does not say which of several
was called; one thread serves the sockets of them all.
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

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import GolemError, NoDaemon
from ...yagna.client import Yagna
from ...yagna.service_bus.gsb_call import GsbRequest, SocketLost
from ...yagna.transport.retry import RESTART_SECONDS, Repeat
from .local_files import FileEnd, Refusal

if TYPE_CHECKING:
    from ...yagna.service_bus.gsb_socket import GsbSocket

logger = logging.getLogger(__name__)

_COMPONENTS = ("GetMetadata", "GetChunk", "UploadChunk", "UploadFinished")
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
# How long a thread that is busy with other files is waited for, and then the daemon.
_TAKE_SECONDS = 1.0
_WITHDRAW_SECONDS = 1.5
_REFUSE_SECONDS = 0.3
# A socket with so many bytes unsent is not asked for more.
_MOST_UNSENT = 4 * 1024 * 1024


class Publication:
    """One file on the bus.

    Attributes:
        url: what the provider is told.
        end: the file.
        lost: how often its WebSocket was lost.
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
        self.retry_at = 0.0
        self.given_up_at = 0.0
        self.pause = _FIRST_PAUSE


class FilePublisher:
    """Has files of this machine read and written by providers, as long as they are published."""

    def __init__(self, yagna: Yagna) -> None:
        self._yagna = yagna
        self._scope = Scope()
        self._lock = threading.Lock()
        self._node_id = ""
        self._thread: EngineThread | None = None
        self._orders: deque[Callable[[], None]] = deque()
        self._published: set[Publication] = set()

    def publish(self, end: FileEnd, scope: Scope) -> Publication:
        """Put a file on the bus; blocks for a moment.

        Raises:
            NoDaemon, YagnaError: the daemon does not answer, or refuses.
            ScopeEnded: `scope` was cancelled.
        """
        self._start()
        if not self._node_id:
            self._node_id = self._yagna.identity.me(scope=scope).node_id
        publication = Publication(end, self._node_id)
        publication.services_id = self._yagna.gsb.publish(publication.address, _COMPONENTS, scope=scope)
        try:
            publication.socket = self._yagna.gsb.connect(publication.services_id)
        except SocketLost as error:
            self.withdraw(publication)
            raise NoDaemon(f"files can't be transferred, and nothing was sent: {error}") from error
        self._order(lambda: self._serve(publication))
        return publication

    def withdraw(self, publication: Publication, *, ask: bool = True) -> bool:
        """Take a file off the bus: a provider that still asks for it gets an error. Never raises.

        Blocks for 2.5 seconds at most, where thread and daemon have stalled.

        Args:
            ask: whether to ask the daemon for it; without, the WebSocket is closed and that is all.

        Returns:
            Whether the daemon has done it; that it has not is logged.
        """
        publication.withdrawn = True
        publication.end.close()
        carrier = self._taken_from_thread(publication)
        try:
            if ask:
                return self._off_the_bus(publication)
            logger.warning("%s was not taken off the bus: the daemon has stalled", publication.address)
            return False
        finally:
            # After that, and not before: the daemon leaves who still calls waiting where the WebSocket had
            # ended before its service.
            if carrier is not None:
                carrier.close()

    def _off_the_bus(self, publication: Publication) -> bool:
        try:
            self._yagna.gsb.withdraw(publication.services_id, within=_WITHDRAW_SECONDS, scope=self._scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning("%s could not be taken off the bus: %s", publication.address, error)
            return False
        return True

    def refuse(self, publications: Sequence[Publication]) -> None:
        """Have providers that are in the middle of these files give up; blocks for 0.3 seconds.

        Each call is refused from now on, and who was refused calls no more. A call that nobody had
        answered when its service went would be waited for by the daemon for a minute (tried).
        """
        for publication in publications:
            publication.withdrawn = True
        if publications:
            Scope().wait(_REFUSE_SECONDS)

    def _taken_from_thread(self, publication: Publication) -> GsbSocket | None:
        taken: Future[GsbSocket | None] = Future()
        self._order(lambda: self._hand_over(publication, taken))
        try:
            return taken.result(_TAKE_SECONDS)
        except NotInTime:
            if not taken.cancel():
                return taken.result()  # it came this very moment
        thread = self._thread
        return publication.socket if thread is None or not thread.alive else None

    def close(self, timeout: float) -> bool:
        """End the thread, `timeout` seconds at most; False if it did not end."""
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
                self._woken.setblocking(False)
                self._waker.setblocking(False)
                self._selector.register(self._woken, selectors.EVENT_READ)
                self._thread = EngineThread("golem-files", self._run).start()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._wake()

    def _wake(self) -> None:
        # Full is as good as written; closed means that the thread has ended.
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"!")

    # --- what the thread does ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._scope.cancelled:
                for key, _mask in self._selector.select(self._patience()):
                    if key.data is None:
                        self._woken.recv(4096)
                    else:
                        self._turn(key.data)
                while self._orders:
                    self._orders.popleft()()
                self._reopen_lost()
        finally:
            while self._orders:
                self._orders.popleft()()
            for publication in list(self._published):
                self._forget(publication)
            self._selector.close()
            self._woken.close()
            self._waker.close()

    def _patience(self) -> float | None:
        due = [publication.retry_at for publication in self._published if publication.socket is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _serve(self, publication: Publication) -> None:
        if publication.withdrawn or publication.socket is None:
            return
        self._published.add(publication)
        try:
            self._selector.register(publication.socket, selectors.EVENT_READ, publication)
        except (OSError, ValueError, KeyError) as error:  # it was closed meanwhile
            self._lost(publication, error)

    def _taken(self, publication: Publication) -> GsbSocket | None:
        """Serve a file no longer; its WebSocket stays open."""
        self._published.discard(publication)
        carrier, publication.socket = publication.socket, None
        if carrier is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(carrier)
        return carrier

    def _hand_over(self, publication: Publication, taken: Future[GsbSocket | None]) -> None:
        if taken.set_running_or_notify_cancel():
            taken.set_result(self._taken(publication))
        else:  # nobody waits for it any more
            self._forget(publication)

    def _forget(self, publication: Publication) -> None:
        carrier = self._taken(publication)
        if carrier is not None:
            carrier.close()

    def _turn(self, publication: Publication) -> None:
        """Answer what has come for one file, and send what could not be sent before."""
        carrier = publication.socket
        if carrier is None:
            return
        try:
            carrier.flush()
            if carrier.unsent < _MOST_UNSENT:
                for request in carrier.receive():
                    self._answer(publication, carrier, request)
            if carrier.opened:
                publication.pause = _FIRST_PAUSE
                publication.given_up_at = 0.0
            interest = selectors.EVENT_READ if carrier.unsent < _MOST_UNSENT else 0
            interest |= selectors.EVENT_WRITE if carrier.unsent else 0
            self._selector.modify(carrier, interest, publication)
        except SocketLost as error:
            self._lost(publication, error)
        except Exception as error:  # one WebSocket's trouble must not end the others
            logger.warning("the WebSocket of %s is of no use", publication.address, exc_info=True)
            self._lost(publication, error)

    def _answer(self, publication: Publication, carrier: GsbSocket, request: GsbRequest) -> None:
        if publication.withdrawn:
            carrier.refuse(request.call_id, "InternalError", "the file was withdrawn")
            return
        try:
            carrier.answer(request.call_id, _asked(publication.end, request.component, request.payload))
        except Refusal as refusal:
            carrier.refuse(request.call_id, refusal.kind, str(refusal))

    def _lost(self, publication: Publication, error: Exception) -> None:
        """Have a lost WebSocket opened again soon."""
        now = time.monotonic()
        self._forget(publication)
        if publication.withdrawn:
            return
        logger.info("the WebSocket of %s was lost and is opened again: %s", publication.address, error)
        publication.lost += 1
        publication.given_up_at = publication.given_up_at or now + RESTART_SECONDS
        if now >= publication.given_up_at:
            logger.warning("the WebSocket of %s could not be opened again: %s", publication.address, error)
            return
        publication.retry_at = now + publication.pause
        publication.pause = min(2 * publication.pause, _LONGEST_PAUSE)
        self._published.add(publication)

    def _reopen_lost(self) -> None:
        now = time.monotonic()
        for publication in [one for one in self._published if one.socket is None and one.retry_at <= now]:
            try:
                self._reopen(publication)
            except (GolemError, ScopeEnded, SocketLost) as error:
                self._lost(publication, error)
            else:
                self._serve(publication)

    def _reopen(self, publication: Publication) -> None:
        # Calls that went into the lost one would be waited for without end. When their service goes they
        # fail, and an exe-unit tries again.
        self._yagna.gsb.withdraw(publication.services_id, scope=self._scope)
        publication.services_id = self._yagna.gsb.publish(
            publication.address, _COMPONENTS, scope=self._scope, repeat=Repeat.NEVER
        )
        if not publication.withdrawn:
            publication.socket = self._yagna.gsb.connect(publication.services_id)
        if publication.withdrawn:
            # Who withdrew it may wait no longer, and has then withdrawn what it was before.
            self._off_the_bus(publication)
            self._forget(publication)


def _asked(end: FileEnd, component: str, payload: Any) -> dict[str, Any] | None:
    try:
        return end.asked(component, payload)
    except Refusal:
        raise
    except Exception as error:
        # One provider's call must not end what serves all the others.
        logger.exception("a provider's %s could not be answered", component)
        raise Refusal("InternalError", f"{component} could not be answered: {error!r}") from error
