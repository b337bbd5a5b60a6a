"""A request to a fake daemon, its answer, and what may become of it on the way."""

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
    """One request.

    Args:
        method: such as `GET`.
        target: path and query as they are sent, such as `/market-api/v1/demands?x=1`.
        headers: their names in lower case.
        body: as it is sent.
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
        """The query, as it was sent."""
        return self.target.partition("?")[2]

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The query, decoded; of two values with one name the last."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))


class Stream(Protocol):
    """A body that comes piece by piece."""

    def __iter__(self) -> Iterator[bytes]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class FakeAnswer:
    """What a request is answered.

    Attributes:
        status: of HTTP.
        body: whole, unless there is a `stream`.
        content_type: None where there is no body.
        stream: the body piece by piece, as it comes; it blocks, ends with a `ConnectionDropped`, and is to be
            closed.
        service: the bus service whose WebSocket the connection becomes; the status is then 101.
    """

    status: int
    body: bytes = b""
    content_type: str | None = None
    stream: Stream | None = None
    service: Any = None

    @classmethod
    def of_json(cls, value: object, status: int = 200) -> FakeAnswer:
        """An answer with a JSON body."""
        return cls(status, json.dumps(value, separators=(",", ":")).encode(), "application/json")

    @classmethod
    def of_text(cls, text: str, status: int) -> FakeAnswer:
        """An answer in plain text."""
        return cls(status, text.encode(), "text/plain; charset=utf-8")

    @classmethod
    def of_message(cls, text: str | None, status: int) -> FakeAnswer:
        """An error as most of the daemon's APIs tell it."""
        return cls.of_json({"message": text}, status)


class Fault(Enum):
    """What an interceptor can make of a request, instead of an answer."""

    REFUSED = "the connection is refused, and nothing is done"
    DROPPED = "the connection breaks before anything is done"
    UNANSWERED = "what was asked for is done, and the connection breaks before the answer"


Interceptor = Callable[[FakeRequest], "FakeAnswer | Fault | None"]


class ConnectionRefused(Exception):
    """Nobody listens: what was asked for is not done."""


class ConnectionDropped(Exception):
    """The connection broke; nobody knows what was done."""


class ReadTimedOut(Exception):
    """The client has waited for the answer as long as it wanted to."""


class Refused(Exception):
    """The daemon answers with an error; for the daemon's own use.

    Attributes:
        answer: the error.
    """

    def __init__(self, answer: FakeAnswer) -> None:
        super().__init__(answer.status, answer.body)
        self.answer = answer


class Call:
    """One request under way, which may be abandoned by any thread.

    Args:
        patience: seconds that its client waits for the answer.
        on_wait: called, once, when the request begins to wait; it must not block.
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
        """End the request; a wait in it ends at once, with a `ConnectionDropped`."""
        self._abandoned = self._abandoned or why
        condition = self.condition
        if condition is not None:
            with condition:
                condition.notify_all()

    def shutdown(self, how: int) -> None:
        """The same, in the words of a socket, so that it can take one's place."""
        self.abandon()

    def waits(self, condition: threading.Condition | None) -> None:
        """It waits for this condition from now on, which the caller holds; None: it waits no longer."""
        self.condition = condition
        if condition is not None and self._on_wait is not None:
            on_wait, self._on_wait = self._on_wait, None
            on_wait(self)

    def check(self) -> None:
        """Raise `ConnectionDropped` if it was abandoned."""
        if self._abandoned is not None:
            raise ConnectionDropped(self._abandoned)
