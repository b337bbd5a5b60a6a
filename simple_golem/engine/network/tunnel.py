"""One connection to an instance: a local socket, and the daemon's WebSocket to the port."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ...background.forks import leave_socket_to_parent
from ...yagna.api.network import MOST_MESSAGE_BYTES
from ...yagna.transport.socket_lost import SocketLost
from ...yagna.transport.tcp_pair import reset_on_close

# No more than that waits in this process, in each direction.
_MOST_WAITING_BYTES = 256 * 1024
# After the end of what the local side sends, the instance may still answer. If it is silent for so long, and
# what was sent has arrived even on a slow way, the local side is taken to be closed: that can't be seen.
_LINGER_SECONDS = 5.0
_SLOWEST_BYTES_PER_SECOND = 100_000
# The daemon shows an end (FIN) of the instance by dropping the connection, 60 to 90 seconds later. A drop
# that comes sooner after the last data is a reset.
_SHORTEST_FIN_SECONDS = 45.0
# The daemon drops a connection that has not answered its pings for 15 seconds.
_KEEP_ALIVE_SECONDS = 4.0


class LastMessage(Enum):
    """Where the message is that was sent last: the next one may be sent when it is in its queue.

    The daemon may put the next one first else; see `message_order`.
    """

    on_its_way = "on its way"  # to the daemon
    taken = "taken"  # by the daemon: its pong has come
    being_confirmed = "being confirmed"  # the daemon is asked whether it is in its queue
    in_queue = "in its queue"


class Channel(Protocol):
    """The WebSocket, as a tunnel uses it."""

    def fileno(self) -> int: ...
    @property
    def unsent(self) -> int: ...
    @property
    def unanswered_pings(self) -> int: ...
    @property
    def has_data_since_pong(self) -> bool: ...
    def receive(self) -> list[bytes]: ...
    def send(self, message: bytes, *, with_ping: bool) -> None: ...
    def ping(self) -> None: ...
    def keep_alive(self) -> None: ...
    def flush(self) -> None: ...
    def close(self, *, reset: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a connection.

    Attributes:
        idle_timeout: seconds without data from the instance after which it counts as ended; None: never.
        max_bytes_per_second: how fast data goes to the instance; None: as the daemon takes it.
    """

    idle_timeout: float | None = None
    max_bytes_per_second: float | None = None


class Tunnel:
    """Passes bytes on in both directions; nothing blocks, and only the thread of the pump calls it.

    Attributes:
        sent, received: how many bytes have gone to the instance and come from it.
        over: whether it has ended.
    """

    def __init__(
        self,
        channel: Channel,
        local: socket.socket,
        first: Sequence[bytes],
        limits: Limits,
        on_end: Callable[[Tunnel], object],
        confirm_order: Callable[[Tunnel], object],
    ) -> None:
        """Args:
        channel: the open WebSocket.
        local: the local socket; both belong to the tunnel from now on.
        first: what has come from the instance already.
        limits: of this connection.
        on_end: called once, when it has ended.
        confirm_order: called when the daemon has taken a message, and there is more to send;
            `order_confirmed` is to be called when it is in its queue.
        """
        self.channel = channel
        self.local = local
        self.sent = self.received = 0
        self.over = False
        self._limits = limits
        self._on_end = on_end
        self._confirm_order = confirm_order
        self._message = LastMessage.in_queue
        self._sent_since_data = 0
        self._to_local = bytearray()
        self._local_ended = False
        self._last_data = self._last_alive = time.monotonic()
        # None: more may be sent now.
        self._paced_until: float | None = None
        # A whole message is to be ready when the next one may go: a short one takes the daemon as long.
        local.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MOST_WAITING_BYTES)
        local.setblocking(False)
        leave_socket_to_parent(local)
        for message in first:
            self._take(message)

    # --- what it waits for -----------------------------------------------------------------------------

    @property
    def reads_channel(self) -> bool:
        return len(self._to_local) < _MOST_WAITING_BYTES

    @property
    def reads_local(self) -> bool:
        return (
            not self._local_ended
            and self.channel.unsent < _MOST_WAITING_BYTES
            and self._paced_until is None
            and self._message in (LastMessage.in_queue, LastMessage.taken)
        )

    @property
    def writes_local(self) -> bool:
        return bool(self._to_local)

    @property
    def next_look(self) -> float | None:
        """When `look` is to be called, on the monotonic clock; None: not because of time."""
        moments = []
        if self._paced_until is not None:
            moments.append(self._paced_until)
        if self._limits.idle_timeout is not None and not self._to_local:
            moments.append(self._last_data + self._limits.idle_timeout)
        if self._local_ended and not self.channel.unsent:
            moments.append(self._silent_until)
        if not self.reads_channel:
            moments.append(self._last_alive + _KEEP_ALIVE_SECONDS)
        return min(moments) if moments else None

    def look(self) -> None:
        """Do what its time has come for."""
        now = time.monotonic()
        if self._paced_until is not None and now >= self._paced_until:
            self._paced_until = None
        idle = self._limits.idle_timeout
        if (self._local_ended and now >= self._silent_until and not self.channel.unsent) or (
            idle is not None and now >= self._last_data + idle and not self._to_local
        ):
            self.end()
        elif not self.reads_channel and now >= self._last_alive + _KEEP_ALIVE_SECONDS:
            self._last_alive = now
            self._with_channel(self.channel.keep_alive)

    @property
    def _silent_until(self) -> float:
        return self._last_data + _LINGER_SECONDS + self._sent_since_data / _SLOWEST_BYTES_PER_SECOND

    # --- what it does ----------------------------------------------------------------------------------

    def receive(self) -> None:
        """Take what has come from the instance."""
        try:
            messages = self.channel.receive()
        except SocketLost:
            self._lost()
            return
        for message in messages:
            self._take(message)
        if not self.channel.unanswered_pings:
            self._pong()
        self.write_local()

    def _pong(self) -> None:
        if self._message is LastMessage.on_its_way:
            self._message = LastMessage.taken
            self._with_channel(self.channel.ping)
        elif self._message is LastMessage.taken and self.channel.has_data_since_pong:
            # Data passes through all queues of the daemon. What comes after the answer to a second ping has
            # done so after the message was taken, so that is in its queue.
            self._message = LastMessage.in_queue

    def order_confirmed(self) -> None:
        """The message that was sent last is in its queue."""
        if self._message is LastMessage.being_confirmed:
            self._message = LastMessage.in_queue

    def _take(self, message: bytes) -> None:
        if message:
            self._last_data = time.monotonic()
            self._sent_since_data = 0
            self.received += len(message)
            self._to_local += message

    def write_local(self) -> None:
        """Pass on what the local socket takes."""
        try:
            while self._to_local:
                sent = self.local.send(self._to_local)
                del self._to_local[:sent]
                self._last_data = time.monotonic()
        except BlockingIOError:
            return
        except OSError:
            self.end()

    def flush(self) -> None:
        """Send what waits for the daemon."""
        self._with_channel(self.channel.flush)

    def read_local(self) -> None:
        """Pass on what the local side has sent, as soon as that may be."""
        if self._message is LastMessage.taken:
            self._message = LastMessage.being_confirmed
            self._confirm_order(self)
            return
        try:
            data = self.local.recv(self._most_now())
        except BlockingIOError:
            return
        except OSError:
            self.end()
            return
        if not data:
            self._local_ended = True
            self._last_data = time.monotonic()
            return
        self.sent += len(data)
        self._pace(len(data))
        self._sent_since_data += len(data)
        self._message = LastMessage.on_its_way
        self._with_channel(lambda: self.channel.send(data, with_ping=True))

    def _most_now(self) -> int:
        speed = self._limits.max_bytes_per_second
        return MOST_MESSAGE_BYTES if speed is None else max(1, min(MOST_MESSAGE_BYTES, int(speed / 10)))

    def _pace(self, count: int) -> None:
        if self._limits.max_bytes_per_second is not None:
            self._paced_until = time.monotonic() + count / self._limits.max_bytes_per_second

    def _with_channel(self, act: Callable[[], object]) -> None:
        try:
            act()
        except SocketLost:
            self._lost()

    # --- the end ---------------------------------------------------------------------------------------

    def _lost(self) -> None:
        """The daemon has dropped the connection."""
        self.end(broken=time.monotonic() - self._last_data < _SHORTEST_FIN_SECONDS)

    def end(self, *, broken: bool = False) -> None:
        """End it; what has come is still passed on, as far as the local socket takes it.

        Args:
            broken: whether the local side gets an error; else it gets an end of the data.
        """
        if self.over:
            return
        self.over = True
        with contextlib.suppress(OSError):
            while self._to_local:
                sent = self.local.send(self._to_local)
                del self._to_local[:sent]
        if broken or self._to_local:
            reset_on_close(self.local)
        self.local.close()
        self.channel.close()
        self._on_end(self)
