"""Passes bytes on between two sockets, in both directions at once."""

from __future__ import annotations

import selectors
import socket

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_PIECE_BYTES = 65536
# No more than that waits in each direction: a slow reader slows its sender.
_MOST_WAITING_BYTES = 256 * 1024


def pass_both_ways(one: socket.socket, other: socket.socket, to_one: bytes, to_other: bytes) -> None:
    """Pass on all bytes; blocks until one side has ended, and the other has got what came before.

    Args:
        one, other: the sockets; they do not block after that.
        to_one, to_other: what has come already for each.

    Raises:
        OSError: one connection broke.
    """
    ways = _Way(other, one, to_one), _Way(one, other, to_other)
    for end in (one, other):
        end.setblocking(False)
    with selectors.DefaultSelector() as selector:
        while not any(way.over for way in ways):
            for end in (one, other):
                _wait_for(selector, end, ways)
            for key, events in selector.select():
                for way in ways:
                    if way.source is key.fileobj and events & _READ:
                        way.read()
                        way.write()
                    if way.sink is key.fileobj and events & _WRITE:
                        way.write()


class _Way:
    """One direction."""

    def __init__(self, source: socket.socket, sink: socket.socket, first: bytes) -> None:
        self.source = source
        self.sink = sink
        self.waiting = bytearray(first)
        self.ended = False

    @property
    def over(self) -> bool:
        return self.ended and not self.waiting

    @property
    def reads(self) -> bool:
        return not self.ended and len(self.waiting) < _MOST_WAITING_BYTES

    def read(self) -> None:
        try:
            data = self.source.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        self.ended = not data
        self.waiting += data

    def write(self) -> None:
        try:
            while self.waiting:
                del self.waiting[: self.sink.send(self.waiting)]
        except BlockingIOError:
            return


def _wait_for(selector: selectors.BaseSelector, end: socket.socket, ways: tuple[_Way, ...]) -> None:
    """Have the selector wait for what can be done with a socket now."""
    events = 0
    for way in ways:
        events |= _READ if way.source is end and way.reads else 0
        events |= _WRITE if way.sink is end and way.waiting else 0
    known = selector.get_map().get(end)
    if known is None and events:
        selector.register(end, events)
    elif known is not None and not events:
        selector.unregister(end)
    elif known is not None and known.events != events:
        selector.modify(end, events)
