"""The service bus of a yagna daemon, as an exe-unit uses it: serve calls, make calls, survive restarts."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...background.cancellation import Deadline, Scope, wait_until
from ...background.threads import EngineThread, WorkerPool
from ...errors import BusError
from ...yagna.service_bus.flexbuffers import BadFlexBuffer
from .connection import Link
from .protocol import (
    CallReply,
    CallRequest,
    Hello,
    Packet,
    Ping,
    Pong,
    RegisterReply,
    RegisterRequest,
    UnregisterReply,
    UnregisterRequest,
    from_payload,
    to_payload,
)

logger = logging.getLogger(__name__)

Handler = Callable[[str, str, object], object]
RawHandler = Callable[[str, str, bytes], bytes]

_BAD_REQUEST, _CONFLICT, _FAILURE = 400, 409, 500
_MOST_CALLS_AT_ONCE = 1024
_RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)
_CLOSE_SECONDS = 2.0


class PendingCall:
    """A call that is under way; its answer is to be asked for, or it is to be abandoned."""

    def __init__(self, bus: Bus, address: str, request_id: str, deadline: Deadline, timeout: float) -> None:
        self._bus = bus
        self._address = address
        self._request_id = request_id
        self._deadline = deadline
        self._timeout = timeout
        self.answer: Future[bytes] = Future()

    def data(self) -> bytes:
        """Block for the bytes of the answer, in which nothing is decoded yet; empty if nobody was there.

        Raises:
            BusError: the bus is not there, nobody serves the address, or no answer came in time.
        """
        try:
            return self.answer.result(self._deadline.remaining())
        except FutureTimeout as error:
            raise BusError(f"{self._address}: no answer within {self._timeout:g} s") from error
        finally:
            self._bus._forget(self._request_id)

    def abandon(self, reason: str) -> None:
        """Have whoever waits for the answer get a BusError instead, at once."""
        if self._bus._forget(self._request_id) is not None:
            self.answer.set_exception(BusError(f"{self._address}: {reason}"))


@dataclass(eq=False)
class _Service:
    handler: Handler | None
    raw_handler: RawHandler | None
    # None until the bus has answered, then its error text, '' for "registered".
    answer: str | None = None
    once_registered: bool = False


class Bus:
    """One connection to a service bus; serves any number of services, and comes back after a restart.

    Each call that comes in is served on a thread of a pool, so handlers may block.
    """

    def __init__(self, gsb_url: str, name: str) -> None:
        """Begin to connect; does not block.

        Args:
            gsb_url: `tcp://host:port`.
            name: who this is, for the bus and for the names of threads.

        Raises:
            BusError: the URL is not of that form.
        """
        url = urlsplit(gsb_url)
        if url.scheme != "tcp" or not url.hostname or not url.port:
            raise BusError(f"the address of a service bus is tcp://HOST:PORT, not {gsb_url!r}")
        self._host, self._port, self._name = url.hostname, url.port, name
        self._scope = Scope()
        self._changed = threading.Condition()
        self._link: Link | None = None
        self._services: dict[str, _Service] = {}
        # The bus answers registrations in the order they were sent.
        self._awaited: deque[_Service] = deque()
        self._calls: dict[str, PendingCall] = {}
        self._workers = WorkerPool(f"{name}-call", _MOST_CALLS_AT_ONCE)
        self._reader = EngineThread(f"{name}-reader", self._run)
        self._reader.start()

    def register(self, service_id: str, handler: Handler, *, timeout: float = 10.0) -> None:
        """Serve the calls to addresses under `service_id`, from now on until `unregister` or `close`.

        Blocks until the bus has confirmed it, so that no call made afterwards can miss it.

        Args:
            service_id: such as `/public/exeunit/<activity id>`.
            handler: called with caller, address and payload; returns the reply (`{"Ok": …}` or `{"Err": …}`),
                or an iterator whose values are sent as they come. What it raises is the caller's error: a
                BusError that the request was bad, anything else that the service broke.
            timeout: seconds.

        Raises:
            BusError: the bus refused, or did not answer in time.
        """
        self._register(service_id, _Service(handler, None), timeout)

    def register_raw(self, service_id: str, handler: RawHandler, *, timeout: float = 10.0) -> None:
        """Like `register`, for calls whose data is no flexbuffers; `handler` returns the reply's bytes.

        It is called on the reading thread, which keeps the calls in their order: it must not block.
        """
        self._register(service_id, _Service(None, handler), timeout)

    def _register(self, service_id: str, service: _Service, timeout: float) -> None:
        with self._changed:
            if service_id in self._services:
                raise BusError(f"{service_id} is registered already")
            self._services[service_id] = service
            if self._link is not None:
                self._announce(self._link, service_id, service)
            wait_until(self._changed, lambda: service.answer is not None or self._scope.cancelled, timeout)
            if service.answer == "":
                return
            # Was it refused, the bus has no such service; else it may yet confirm it.
            if self._services.pop(service_id, None) is not None and service.answer is None:
                self._renounce(service_id)
            raise BusError(f"{service_id} was not registered: {service.answer or 'no answer from the bus'}")

    def _announce(self, link: Link, service_id: str, service: _Service) -> None:
        service.answer = None
        self._awaited.append(service)
        link.send(RegisterRequest(service_id))

    def unregister(self, service_id: str) -> None:
        """Serve `service_id` no longer; does not block, and does nothing if it is not registered."""
        with self._changed:
            if self._services.pop(service_id, None) is not None:
                self._renounce(service_id)

    def _renounce(self, service_id: str) -> None:
        if self._link is not None:
            self._link.send(UnregisterRequest(service_id))

    def call(self, address: str, payload: object, *, caller: str = "", timeout: float = 60.0) -> object:
        """Call a service and block for what it answers with Ok.

        Args:
            address: such as `/local/activity/SetActivityUsage`.
            caller: whose call it is, a node id where one is asked for.
            timeout: seconds, for the connection and the answer together.

        Raises:
            BusError: the bus is not there, nobody serves the address, or the answer is an Err.
        """
        data = self.begin_call(address, to_payload(payload), caller=caller, timeout=timeout).data()
        # Decoded here, where what can't be is the error of this call and of nothing else.
        try:
            reply = from_payload(data)
        except BadFlexBuffer as error:
            raise BusError(f"{address}: {error}") from error
        if isinstance(reply, dict) and "Err" in reply:
            raise BusError(f"{address}: {reply['Err']}")
        return reply["Ok"] if isinstance(reply, dict) and "Ok" in reply else reply

    def begin_call(
        self, address: str, payload: bytes, *, caller: str = "", timeout: float = 60.0
    ) -> PendingCall:
        """Call a service, and go on: the answer is asked for later, so that several calls are under way.

        Args:
            payload: encoded.
            address, caller, timeout: as for `call`; blocks only for a connection that is not there.

        Raises:
            BusError: there is no connection to the bus.
        """
        pending = PendingCall(self, address, secrets.token_hex(16), Deadline(timeout), timeout)
        with self._changed:
            wait_until(self._changed, lambda: self._link is not None or self._scope.cancelled, timeout)
            if self._link is None or self._scope.cancelled:
                raise BusError(f"{address}: no connection to the service bus")
            self._calls[pending._request_id] = pending
            self._link.send(CallRequest(caller, address, pending._request_id, payload))
        return pending

    def _forget(self, request_id: str) -> PendingCall | None:
        """The call of this id, if it was still under way; whoever gets it is the one to answer it."""
        with self._changed:
            return self._calls.pop(request_id, None)

    def cut(self) -> None:
        """Drop the connection with nothing more said, and do not come back; `close` is still due."""
        with self._changed:
            self._scope.cancel("the bus was cut")
            link = self._link
            self._changed.notify_all()
        if link is not None:
            link.cut()

    def close(self) -> None:
        """End the connection and the threads; blocks a few seconds at most, if handlers do not return."""
        with self._changed:
            self._scope.cancel("the bus was closed")
            link = self._link
            self._changed.notify_all()
        if link is not None:
            link.close()
        self._reader.join(_CLOSE_SECONDS)
        for stuck in self._workers.close(_CLOSE_SECONDS):
            logger.warning("%s still serves a call and is abandoned", stuck)

    # --- the reading thread ------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._scope.cancelled:
            try:
                link = Link(self._host, self._port, self._name)
            except OSError as error:
                logger.debug("%s: no service bus at %s:%s: %s", self._name, self._host, self._port, error)
            else:
                failures = 0 if self._serve(link) else failures
            self._scope.wait(_RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)])
            failures += 1

    def _serve(self, link: Link) -> bool:
        """Serve one connection to its end; returns whether it was of any use."""
        received = False
        try:
            self._connected(link)
            while not self._scope.cancelled:
                self._handle(link, link.receive())
                received = True
        except (OSError, ValueError) as error:
            if not self._scope.cancelled:
                logger.warning("%s: the connection to the service bus was lost: %s", self._name, error)
        finally:
            self._lost()
            link.close()
            link.dispose()
        return received

    def _connected(self, link: Link) -> None:
        with self._changed:
            link.send(Hello(self._name, "1", secrets.token_bytes(16)))
            for service_id, service in self._services.items():
                self._announce(link, service_id, service)
            self._link = link
            self._changed.notify_all()

    def _lost(self) -> None:
        with self._changed:
            self._link = None
            self._awaited.clear()
            calls, self._calls = self._calls, {}
        for pending in calls.values():
            pending.answer.set_exception(BusError("the connection to the service bus was lost"))

    def _handle(self, link: Link, packet: Packet | None) -> None:
        if isinstance(packet, CallRequest):
            self._called(link, packet)
        elif isinstance(packet, CallReply):
            self._answered(packet)
        elif isinstance(packet, RegisterReply):
            self._registered(packet)
        elif isinstance(packet, Ping):
            link.send(Pong())
        elif isinstance(packet, UnregisterReply) and packet.code:
            logger.debug("%s: the bus did not know a service that was given up", self._name)

    def _registered(self, reply: RegisterReply) -> None:
        with self._changed:
            service = self._awaited.popleft() if self._awaited else None
            if service is None:
                return
            service.answer = _refusal(reply) if reply.code else ""
            self._changed.notify_all()
            if service.answer and service.once_registered:
                # The bus still holds our last connection: come again when it has let go of that.
                raise ConnectionResetError(f"a service was not registered again: {service.answer}")
            service.once_registered = service.once_registered or not service.answer

    def _answered(self, reply: CallReply) -> None:
        if reply.partial:
            return  # nothing that is called from here answers in parts
        pending = self._forget(reply.request_id)
        if pending is None:
            return
        if reply.code:
            pending.answer.set_exception(
                BusError(reply.data.decode(errors="replace") or f"code {reply.code}")
            )
        else:
            pending.answer.set_result(reply.data)

    def _called(self, link: Link, request: CallRequest) -> None:
        service = self._service_of(request.address)
        if service is None:
            self._refuse(link, request, _BAD_REQUEST, f"nobody serves {request.address}")
        elif service.raw_handler is not None:
            self._answer_raw(link, request, service.raw_handler)
        elif service.handler is not None:
            self._workers.submit(self._answer, link, request, service.handler)

    def _answer_raw(self, link: Link, request: CallRequest, handler: RawHandler) -> None:
        try:
            self._reply(link, request, handler(request.caller, request.address, request.data))
        except Exception as error:
            logger.exception("%s: the call of %s failed", self._name, request.address)
            self._refuse(link, request, _FAILURE, f"{type(error).__name__}: {error}")

    def _service_of(self, address: str) -> _Service | None:
        with self._changed:
            prefix = address
            while prefix:
                if prefix in self._services:
                    return self._services[prefix]
                prefix = prefix.rpartition("/")[0]
        return None

    # --- the threads of the pool -------------------------------------------------------------------

    def _answer(self, link: Link, request: CallRequest, handler: Handler) -> None:
        try:
            answer = handler(request.caller, request.address, from_payload(request.data))
            if not isinstance(answer, Iterator):
                self._reply(link, request, to_payload(answer))
                return
            for part in answer:
                self._reply(link, request, to_payload(part), partial=True)
            self._reply(link, request, b"")
        except BusError as error:
            self._refuse(link, request, _BAD_REQUEST, str(error))
        except Exception as error:
            logger.exception("%s: the call of %s failed", self._name, request.address)
            self._refuse(link, request, _FAILURE, f"{type(error).__name__}: {error}")

    def _reply(self, link: Link, request: CallRequest, data: bytes, *, partial: bool = False) -> None:
        if not request.no_reply:
            link.send(CallReply(request.request_id, 0, partial, data))

    def _refuse(self, link: Link, request: CallRequest, code: int, message: str) -> None:
        if not request.no_reply:
            link.send(CallReply(request.request_id, code, data=message.encode()))


def _refusal(reply: RegisterReply) -> str:
    """Why the bus refused, for which the daemon's own has a code only."""
    reason = "somebody serves it already" if reply.code == _CONFLICT else f"code {reply.code}"
    return f"{reason}: {reply.message}" if reply.message else reason
