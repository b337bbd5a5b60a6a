"""The thread that passes on the bytes of all connections to instances."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ...background.threads import EngineThread
from .message_order import MessageOrder
from .tunnel import Tunnel

logger = logging.getLogger(__name__)

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
# Selectors take no wait of some weeks.
_LONGEST_WAIT_SECONDS = 3600.0


class Pump:
    """Serves any number of tunnels with one thread, from the first one to `close`."""

    def __init__(self, new_order: Callable[[], MessageOrder]) -> None:
        """Args: new_order: makes what has the daemon keep the order of messages; called by the thread."""
        self._lock = threading.Lock()
        self._orders: deque[Callable[[], object]] = deque()
        self._tunnels: set[Tunnel] = set()
        # Those that wait for a moment.
        self._timed: set[Tunnel] = set()
        self._thread: EngineThread | None = None
        self._closed = False
        self._wake: socket.socket | None = None
        self._selector: selectors.BaseSelector | None = None
        self._registered: dict[int, int] = {}
        self._new_order = new_order
        self._order: MessageOrder | None = None

    def add(self, tunnel: Tunnel) -> bool:
        """Serve a tunnel; does not block. False, and the tunnel is ended, if the pump was closed."""
        with self._lock:
            is_open = not self._closed
            if is_open:
                if self._thread is None:
                    reader, self._wake = socket.socketpair()
                    reader.setblocking(False)
                    self._wake.setblocking(False)
                    self._thread = EngineThread("golem-connections", self._run, reader).start()
                self._tunnels.add(tunnel)
                self._order_locked(lambda: self._guarded(tunnel, tunnel.write_local))
        if not is_open:
            tunnel.end(broken=True)
        return is_open

    def end(self, tunnel: Tunnel, *, broken: bool) -> None:
        """End a tunnel soon; does not block.

        Args:
            tunnel: one that was added.
            broken: whether the local side gets an error; else it gets an end of the data.
        """
        with self._lock:
            if not self._closed:
                self._order_locked(lambda: self._end(tunnel, broken))

    def close(self, timeout: float) -> bool:
        """End all tunnels and the thread; returns whether it has ended within `timeout` seconds."""
        with self._lock:
            self._closed = True
            thread = self._thread
            if thread is not None:
                self._order_locked(lambda: None)
        return thread is None or thread.join(timeout)

    def _order_locked(self, order: Callable[[], object]) -> None:
        self._orders.append(order)
        if self._wake is not None:
            with contextlib.suppress(BlockingIOError):  # what is there wakes the thread
                self._wake.send(b"w")

    # --- on the thread ---------------------------------------------------------------------------------

    def _run(self, reader: socket.socket) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                self._selector = selector
                self._order = self._new_order()
                selector.register(reader, _READ, None)
                self._serve_all(selector, reader)
        finally:
            self._end_all(reader)

    def _serve_all(self, selector: selectors.BaseSelector, reader: socket.socket) -> None:
        while True:
            for key, events in selector.select(self._time_left()):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        reader.recv(4096)
                elif key.data is self._order:
                    self._serve_order(events)
                else:
                    self._serve(key.data, events)
            self._look()
            if self._carry_out_orders():
                return

    def _end_all(self, reader: socket.socket) -> None:
        """End all tunnels. This may be because of a defect: then the next tunnel has a new thread."""
        with self._lock:
            tunnels, self._tunnels = self._tunnels, set()
            wake, self._wake = self._wake, None
            order, self._order = self._order, None
            self._thread = None
            self._orders.clear()
            self._timed.clear()
            self._registered.clear()
        for tunnel in tunnels:
            try:
                tunnel.end(broken=True)
            except Exception:
                logger.exception("a connection to an instance could not be ended")
        if order is not None:
            order.close()
        for one in (reader, wake):
            if one is not None:
                one.close()

    def _carry_out_orders(self) -> bool:
        """Carry out all orders; whether the thread is to end."""
        while True:
            with self._lock:
                if not self._orders:
                    return self._closed
                order = self._orders.popleft()
            order()

    def _time_left(self) -> float | None:
        moments = [moment for one in self._timed if (moment := one.next_look) is not None]
        if not moments:
            return None
        return max(0.0, min(min(moments) - time.monotonic(), _LONGEST_WAIT_SECONDS))

    def _look(self) -> None:
        now = time.monotonic()
        for tunnel in [one for one in self._timed if (moment := one.next_look) is not None and moment <= now]:
            self._guarded(tunnel, tunnel.look)

    def _serve(self, task: tuple[Tunnel, bool], events: int) -> None:
        tunnel, is_channel = task
        if events & _READ and not tunnel.over:
            self._guarded(tunnel, tunnel.receive if is_channel else tunnel.read_local)
        if events & _WRITE and not tunnel.over:
            self._guarded(tunnel, tunnel.flush if is_channel else tunnel.write_local)

    def _guarded(self, tunnel: Tunnel, act: Callable[[], Any]) -> None:
        descriptors = tunnel.channel.fileno(), tunnel.local.fileno()
        try:
            act()
        except Exception:
            # A defect must end this connection only.
            logger.exception("a connection to an instance failed")
            tunnel.end(broken=True)
        self._update(tunnel, descriptors)

    def _end(self, tunnel: Tunnel, broken: bool) -> None:
        if tunnel in self._tunnels:
            self._guarded(tunnel, lambda: tunnel.end(broken=broken))

    def confirm_order(self, tunnel: Tunnel, network_id: str, ip: str) -> None:
        """Have a tunnel send on when the daemon keeps the order; end it if that can't be known."""
        order = self._order
        assert order is not None
        self._with_order(
            lambda: order.confirm(network_id, ip, lambda is_known: self._order_confirmed(tunnel, is_known))
        )

    def _serve_order(self, events: int) -> None:
        order = self._order
        assert order is not None
        if events & _READ:
            self._with_order(order.receive)
        if events & _WRITE:
            self._with_order(order.flush)

    def _with_order(self, act: Callable[[], object]) -> None:
        """Act, which may close the connection to the daemon and make another one with the same descriptor."""
        order = self._order
        assert order is not None
        self._wait_for(order.fileno(), 0, None)
        act()
        self._wait_for(order.fileno(), _READ | (_WRITE if order.unsent else 0), order)

    def _order_confirmed(self, tunnel: Tunnel, is_known: bool) -> None:
        if tunnel in self._tunnels:
            self._guarded(tunnel, tunnel.order_confirmed if is_known else lambda: tunnel.end(broken=True))

    def _update(self, tunnel: Tunnel, descriptors: tuple[int, int]) -> None:
        """Wait for what the tunnel waits for now."""
        channel, local = descriptors
        if tunnel.over:
            self._wait_for(channel, 0, None)
            self._wait_for(local, 0, None)
            self._tunnels.discard(tunnel)
            self._timed.discard(tunnel)
            return
        if tunnel.next_look is None:
            self._timed.discard(tunnel)
        else:
            self._timed.add(tunnel)
        on_channel = (_READ if tunnel.reads_channel else 0) | (_WRITE if tunnel.channel.unsent else 0)
        on_local = (_READ if tunnel.reads_local else 0) | (_WRITE if tunnel.writes_local else 0)
        self._wait_for(channel, on_channel, (tunnel, True))
        self._wait_for(local, on_local, (tunnel, False))

    def _wait_for(
        self, descriptor: int, events: int, task: tuple[Tunnel, bool] | MessageOrder | None
    ) -> None:
        assert self._selector is not None
        if descriptor < 0:
            return
        before = self._registered.get(descriptor, 0)
        if events == before:
            return
        if not events:
            del self._registered[descriptor]
            self._selector.unregister(descriptor)
            return
        self._registered[descriptor] = events
        if before:
            self._selector.modify(descriptor, events, task)
        else:
            self._selector.register(descriptor, events, task)
