"""A request to a fake daemon, its answer, and the ways in which it can fail."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote


@dataclass(frozen=True)
class FakeRequest:
    """A request to the daemon.

    Args:
        method: the HTTP method.
        target: path and query as sent, such as `/market-api/v1/demands?x=1`.
        headers: the headers, with names in lower case.
        body: the body as sent.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.target.partition("?")[0])

    @cached_property
    def raw_query(self) -> str:
        """The query as sent."""
        return self.target.partition("?")[2]

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The query, decoded; the last value of each name."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))


class Stream(Protocol):
    """The pieces of a body, as they come."""

    def __iter__(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class FakeAnswer:
    """The daemon's answer to a request.

    Attributes:
        status: the HTTP status.
        body: the whole body, unless there is a `stream`.
        content_type: the type of the body; None if there is no body.
        stream: the pieces of the body; iterating blocks and ends with `ConnectionDropped`. Must be closed.
        service: the bus service, or the connection to a port, for which the connection becomes a WebSocket,
            with status 101.
    """

    status: int
    body: bytes = b""
    content_type: str | None = None
    stream: Stream | None = None
    service: Any = None

    @classmethod
    def of_json(cls, value: object, status: int = 200) -> FakeAnswer:
        """Make an answer with a JSON body."""
        return cls(status, json.dumps(value, separators=(",", ":")).encode(), "application/json")

    @classmethod
    def of_text(cls, text: str, status: int) -> FakeAnswer:
        """Make an answer in plain text."""
        return cls(status, text.encode(), "text/plain; charset=utf-8")

    @classmethod
    def of_message(cls, text: str | None, status: int) -> FakeAnswer:
        """Make an error as most APIs of the daemon write it."""
        return cls.of_json({"message": text}, status)


class Fault(Enum):
    """What an interceptor can return instead of an answer."""

    REFUSED = "the connection is refused; the request is not carried out"
    DROPPED = "the connection breaks before the request is carried out"
    UNANSWERED = "the request is carried out, then the connection breaks before the answer"


Interceptor = Callable[[FakeRequest], "FakeAnswer | Fault | None"]


class ConnectionRefused(Exception):
    """The daemon does not listen; the request was not carried out."""


class ConnectionDropped(Exception):
    """The connection broke; whether the request was carried out is unknown."""


class ReadTimedOut(Exception):
    """The read timeout of the client has passed."""


class Refused(Exception):
    """The daemon answers with an error; used inside the fake daemon only.

    Attributes:
        answer: the error.
    """

    def __init__(self, answer: FakeAnswer) -> None:
        super().__init__(answer.status, answer.body)
        self.answer = answer


class Call:
    """A request under way, which any thread can abandon.

    Args:
        patience: the read timeout of the client, in seconds.
        on_wait: called once, when the request begins to wait; it must not block.
    """

    def __init__(self, patience: float = math.inf, on_wait: Callable[[Call], object] | None = None) -> None:
        self.patience = patience
        self.condition: threading.Condition | None = None
        self._on_wait = on_wait
        self._abandoned: str | None = None

    @property
    def abandoned(self) -> bool:
        return self._abandoned is not None

    def abandon(self, why: str = "the request was abandoned") -> None:
        """End the request: its wait ends at once with `ConnectionDropped`."""
        self._abandoned = self._abandoned or why
        condition = self.condition
        if condition is not None:
            with condition:
                condition.notify_all()

    def shutdown(self, how: int) -> None:
        """Abandon the request; named like the method of a socket, for code that shuts sockets down."""
        self.abandon()

    def waits(self, condition: threading.Condition | None) -> None:
        """Remember the condition that the request waits for; the caller holds it."""
        self.condition = condition
        if condition is not None and self._on_wait is not None:
            on_wait, self._on_wait = self._on_wait, None
            on_wait(self)

    def check(self) -> None:
        """Raise `ConnectionDropped` if it was abandoned."""
        if self._abandoned is not None:
            raise ConnectionDropped(self._abandoned)
