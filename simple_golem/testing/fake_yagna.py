"""A yagna daemon in memory, with providers that do what a test says."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType

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
_WAIT_SECONDS = 5.0


class FakeYagna:
    """A yagna daemon in memory; may be used by any number of threads.

    In a `with` statement it listens on loopback, at `url`. Without, its requests come through `adapter()`, or
    through `answer`; then it is to be closed by `close`.

    Args:
        providers: those that are there from the beginning, or how many honest ones.
        clock: the real one, or a `HandClock`.
        app_key: the one key that it knows.
        funds: GLM that the requestor has; None: nobody looks.
        pays: whether what was accepted is paid when the requestor asks for it.
        port: where it listens; 0: any that is free.
        seed: what all ids are made of, that of the requestor included; None: something that nobody else has.
            With one seed twice, a session would look for what a killed one of the other has left behind.

    Attributes:
        clock, app_key: as given.
        requests: the latest requests, oldest first.
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
        self.clock = clock or Clock()
        self.app_key = app_key
        self.requests: deque[FakeRequest] = deque(maxlen=_MOST_REQUESTS)
        self._daemon = Daemon(
            made, self.clock, app_key, funds=funds, pays=pays, seed=seed or secrets.token_hex(8)
        )
        self._providers = list(made)
        self._interceptors: list[Interceptor] = []
        self._answered = threading.Condition()
        self._down = False
        self._port = port
        self._server: LoopbackServer | None = None

    # --- the one way in ---------------------------------------------------------------------------------

    def answer(self, request: FakeRequest, call: Call | None = None) -> FakeAnswer:
        """Answer a request; blocks as long as it asks for, by the clock.

        Args:
            call: by which the request can be abandoned.

        Raises:
            ConnectionRefused: the daemon is down.
            ConnectionDropped: the request was abandoned, or the connection broke.
            ReadTimedOut: its client waits no longer.
        """
        call = call or Call()
        self.requests.append(request)
        try:
            return self._intercepted(request, call)
        finally:
            with self._answered:
                self._answered.notify_all()

    def _intercepted(self, request: FakeRequest, call: Call) -> FakeAnswer:
        if self._down:
            raise ConnectionRefused("the fake daemon is down")
        fault = None
        for interceptor in reversed(self._interceptors):
            if (fault := interceptor(request)) is not None:
                break
        if isinstance(fault, FakeAnswer):
            return fault
        if fault is Fault.REFUSED:
            raise ConnectionRefused("as the test wants it")
        if fault is Fault.DROPPED:
            raise ConnectionDropped("as the test wants it")
        answer = self._daemon.answer(request, call)
        if fault is Fault.UNANSWERED:
            if answer.stream is not None:
                answer.stream.close()
            raise ConnectionDropped("as the test wants it")
        return answer

    def intercept(self, interceptor: Interceptor) -> Callable[[], None]:
        """Have each request shown to `interceptor` first, on its own thread; returns what ends that.

        It returns None to have the request answered as usual, an answer to give instead, or a `Fault`. It may
        block, and it may raise: a `ConnectionDropped`, for instance. The last one that was added comes first.
        """
        self._interceptors.append(interceptor)

        def end() -> None:
            if interceptor in self._interceptors:
                self._interceptors.remove(interceptor)

        return end

    # --- its fronts -------------------------------------------------------------------------------------

    def adapter(self) -> FakeYagnaAdapter:
        """An adapter to be mounted on a `requests.Session`, or given to the library's own client."""
        return FakeYagnaAdapter(self.answer)

    def serve(self) -> str:
        """Listen on loopback; returns the URL. A second call does nothing more."""
        if self._server is None:
            self._server = LoopbackServer(self.answer, self._port)
            if self._down:
                self._server.refuse()
        return self.url

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError(
                "this fake daemon does not listen: use it in a `with` statement, or call serve()"
            )
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables by which `Golem` finds it, and its registry of images."""
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
        """End it, every request under way and every thread; a second call does nothing.

        Blocks until functions of a test that answer commands have returned, 5 seconds for each at most.
        """
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
        """Have another provider take part from now on; returns it."""
        self._daemon.add(provider)
        self._providers.append(provider)
        return provider

    @property
    def unknown_images(self) -> set[str]:
        """Tags and hashes that the registry does not know; it knows all others."""
        return self._daemon.unknown_images

    def leftovers(self) -> list[str]:
        """What a requestor has left behind; empty is as it should be.

        Demands, agreements in force, living activities, allocations, unanswered debit notes and invoices, and
        services on the bus.
        """
        return self._daemon.leftovers()

    @property
    def requests_under_way(self) -> int:
        """How many requests wait, streams included."""
        return self._daemon.world.calls_under_way

    def wait_for(self, fulfilled: Callable[[], object], timeout: float = _WAIT_SECONDS) -> None:
        """Block until `fulfilled()` holds, which is looked at after each request; real seconds.

        Raises:
            TimeoutError: it did not.
        """
        deadline = time.monotonic() + timeout
        with self._answered:
            while not fulfilled():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"what was waited for did not come in {timeout:g} s")
                # Some things happen without a request, such as the end of a command.
                self._answered.wait(min(left, 0.02))

    # --- what a test does with it -----------------------------------------------------------------------

    def go_down(self) -> None:
        """Break off every request and refuse new ones, until `come_up`; it forgets nothing."""
        self._down = True
        if self._server is not None:
            self._server.refuse()
        self._daemon.world.drop_all("the fake daemon went down")

    def come_up(self) -> None:
        """Answer again."""
        self._down = False
        if self._server is not None:
            self._server.listen()

    def restart(self) -> None:
        """Break off every request, and forget what a daemon keeps in its memory: demands, proposals, and the
        services on its bus. Agreements, activities, allocations, debit notes and invoices stay."""
        self.go_down()
        self._daemon.restart()
        self.come_up()

    def settle(self) -> None:
        """Pay all that was accepted."""
        with self._daemon.world.lock:
            self._daemon.payments.settle()
