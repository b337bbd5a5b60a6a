"""A yagna daemon in memory, with providers that a test controls."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType

from ..background.forks import current_process
from .clock import Clock
from .daemon.daemon import Daemon
from .fake_provider import FakeProvider
from .fronts.adapter import FakeYagnaAdapter
from .fronts.server import LoopbackServer
from .request import (
    Call,
    ConnectionDropped,
    ConnectionRefused,
    FakeAnswer,
    FakeRequest,
    Fault,
    Interceptor,
)

_MOST_REQUESTS = 10_000
_WAIT_SECONDS = 20.0


class FakeYagna:
    """A yagna daemon in memory; may be used by any number of threads.

    In a `with` statement it listens on loopback, at `url`. Without one, use `adapter()` or `answer`, and call
    `close` at the end.

    Args:
        providers: the first providers, or the number of honest ones.
        clock: the real clock, or a `HandClock`.
        app_key: the only app key that it knows.
        funds: the requestor's GLM, which bound its allocations; None: no bound.
        pays: whether it pays what was accepted when the requestor sends `POST /batchCycle/…/now`.
        port: the port to listen on; 0: any free port.
        seed: all ids are made of it, the requestor's too; None: a random one. Two daemons with the same seed
            look like one to the library, which cleans up after the killed sessions of a requestor.

    Attributes:
        clock, app_key: as given.
    """

    def __init__(
        self,
        providers: Sequence[FakeProvider] | int = 1,
        *,
        clock: Clock | None = None,
        app_key: str = "fake-app-key",
        funds: Decimal | None = None,
        pays: bool = False,
        port: int = 0,
        seed: str | None = None,
    ) -> None:
        made = [FakeProvider() for _ in range(providers)] if isinstance(providers, int) else providers
        self._made_in = current_process()
        self.clock = clock or Clock()
        self.app_key = app_key
        self._requests: deque[FakeRequest] = deque(maxlen=_MOST_REQUESTS)
        self._daemon = Daemon(
            made, self.clock, app_key, funds=funds, pays=pays, seed=seed or secrets.token_hex(8)
        )
        self._providers = list(made)
        self._interceptors: list[Interceptor] = []
        self._answered = threading.Condition()
        self._down = False
        self._port = port
        self._server: LoopbackServer | None = None

    # --- from a request to its answer -------------------------------------------------------------------

    def answer(self, request: FakeRequest, call: Call | None = None) -> FakeAnswer:
        """Answer a request; blocks for the timeout of the request at most, on the clock.

        Args:
            call: lets another thread abandon the request.

        Raises:
            ConnectionRefused: the daemon is down.
            ConnectionDropped: the request was abandoned, or the connection broke.
            ReadTimedOut: the patience of `call` is over.
        """
        call = call or Call()
        with self._answered:
            self._requests.append(request)
        try:
            return self._intercepted(request, call)
        finally:
            with self._answered:
                self._answered.notify_all()

    def _intercepted(self, request: FakeRequest, call: Call) -> FakeAnswer:
        drops = self._daemon.world.drops
        if self._down:
            raise ConnectionRefused("the fake daemon is down")
        fault = None
        for interceptor in reversed(list(self._interceptors)):
            if (fault := interceptor(request)) is not None:
                break
        if isinstance(fault, FakeAnswer):
            return fault
        if fault is Fault.REFUSED:
            raise ConnectionRefused("as the test wants it")
        if fault is Fault.DROPPED:
            raise ConnectionDropped("as the test wants it")
        with self._daemon.world.under_way(call):
            # Looked at again: what `go_down` breaks off is only what is under way at that moment.
            if self._down or self._daemon.world.drops != drops:
                raise ConnectionDropped("the fake daemon went down")
            answer = self._daemon.answer(request, call)
        if fault is Fault.UNANSWERED:
            if answer.stream is not None:
                answer.stream.close()
            raise ConnectionDropped("as the test wants it")
        return answer

    def intercept(self, interceptor: Interceptor) -> Callable[[], None]:
        """Call `interceptor` with each request before it is answered; returns a function that ends this.

        The interceptor returns None for the usual answer, another answer, or a `Fault`. It is called on the
        thread of the request, may block, and may raise `ConnectionDropped`. The newest one comes first.
        """
        self._interceptors.append(interceptor)

        def end() -> None:
            with contextlib.suppress(ValueError):  # a second call
                self._interceptors.remove(interceptor)

        return end

    # --- its fronts -------------------------------------------------------------------------------------

    def adapter(self) -> FakeYagnaAdapter:
        """Return an adapter for `requests.Session.mount`, or for the client of this library."""
        return FakeYagnaAdapter(self.answer, now=self.clock.now)

    def serve(self) -> str:
        """Listen on loopback and return the URL; a second call changes nothing."""
        if self._server is None:
            self._server = LoopbackServer(self.answer, self.clock.now, self._port)
            if self._down:
                self._server.refuse()
        return self.url

    @property
    def url(self) -> str:
        """The URL that it listens on."""
        if self._server is None:
            raise RuntimeError(
                "this fake daemon does not listen: use it in a `with` statement, or call serve()"
            )
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that let `Golem` find it and its image registry."""
        return {
            "YAGNA_APPKEY": self.app_key,
            "YAGNA_API_URL": self.url,
            "GOLEM_REGISTRY_URL": f"{self.url}/registry",
        }

    def __enter__(self) -> FakeYagna:
        self.serve()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all requests and threads; a second call changes nothing, and so does a forked child's.

        Blocks until the functions that answer commands have returned, at most 5 seconds for each.
        """
        if self._made_in is not current_process():
            return
        self._down = True
        if self._server is not None:
            self._server.refuse()
        self._daemon.close()
        if self._server is not None:
            self._server.close()

    # --- what is there ----------------------------------------------------------------------------------

    @property
    def node_id(self) -> str:
        """The requestor's id on the network."""
        return self._daemon.node_id

    @property
    def providers(self) -> list[FakeProvider]:
        """Its providers."""
        return list(self._providers)

    @property
    def provider(self) -> FakeProvider:
        """Its first provider."""
        return self._providers[0]

    def add(self, provider: FakeProvider) -> FakeProvider:
        """Add a provider, which offers to all demands; returns it."""
        self._daemon.add(provider)
        self._providers.append(provider)
        return provider

    @property
    def unknown_images(self) -> set[str]:
        """The tags and hashes that the image registry does not know; it knows all others."""
        return self._daemon.unknown_images

    def leftovers(self) -> list[str]:
        """List what a requestor has not ended; an empty list is as it should be.

        These are demands, agreements that were confirmed, activities, allocations, unanswered debit notes and
        invoices, services on the bus, and private networks.
        """
        return self._daemon.leftovers()

    @property
    def requests(self) -> list[FakeRequest]:
        """The latest 10,000 requests, oldest first; later requests do not change the list."""
        with self._answered:
            return list(self._requests)

    @property
    def requests_under_way(self) -> int:
        """The number of requests that have not been answered."""
        return self._daemon.world.calls_under_way

    def wait_for(self, fulfilled: Callable[[], object], timeout: float = _WAIT_SECONDS) -> None:
        """Block until `fulfilled()` is true, for `timeout` real seconds at most.

        Raises:
            TimeoutError: it was not true in time.
        """
        deadline = time.monotonic() + timeout
        # Called without the lock, which each answer needs: it may make requests itself.
        while not fulfilled():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"what was waited for did not come in {timeout:g} s")
            with self._answered:
                # Some things happen without a request, such as the end of a command.
                self._answered.wait(min(left, 0.02))

    # --- orders of a test -------------------------------------------------------------------------------

    def go_down(self) -> None:
        """Break off all requests and refuse new ones until `come_up`; nothing is forgotten."""
        self._down = True
        if self._server is not None:
            self._server.refuse()
        self._daemon.world.drop_all("the fake daemon went down")

    def come_up(self) -> None:
        """Answer requests again."""
        self._down = False
        if self._server is not None:
            self._server.listen()

    def restart(self) -> None:
        """Restart the daemon: all requests break off, and what the real daemon keeps in memory is lost.

        Demands, proposals, services on the bus and private networks are lost. Agreements, activities,
        allocations, debit notes and invoices stay.
        """
        self.go_down()
        self._daemon.restart()
        self.come_up()

    def settle(self) -> None:
        """Pay all that was accepted."""
        with self._daemon.world.lock:
            self._daemon.payments.settle()
