"""A fake daemon as an adapter of `requests`: no socket, no thread, no port."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, ReadTimeoutError

from ...yagna.transport.abandonable import attach_carrier
from ..request import (
    Call,
    ConnectionDropped,
    ConnectionRefused,
    FakeAnswer,
    FakeRequest,
    ReadTimedOut,
)
from ..request import Stream as AnswerStream

AnswerFunction = Callable[[FakeRequest, Call], FakeAnswer]


def _real_time() -> datetime:
    return datetime.now(timezone.utc)


class FakeYagnaAdapter(BaseAdapter):
    """Brings the requests of a `requests.Session` to a fake daemon, in the thread that makes them.

    Mounted with `session.mount("http://", fake.adapter())`; the host in the URLs is of no importance.

    Args:
        answer: answers a request.
        attach: called with each request when it begins. What it is given can be shut down like a socket, by
            any thread, which abandons the request. By default the library's own requests are attached, and so
            are abandoned with their scope.
        now: returns the date of each answer; by default the real time.
    """

    def __init__(
        self,
        answer: AnswerFunction,
        attach: Callable[[Call], object] | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__()
        self._answer = answer
        self._attach = attach or attach_carrier
        self._now = now or _real_time
        self._calls: set[Call] = set()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Answer a request; blocks like the daemon.

        Raises:
            requests.exceptions.RequestException: as for a daemon that is down, or lets the request drop.
        """
        fake_request = _as_fake(request)
        call = Call(_read_timeout(timeout))
        self._calls.add(call)
        self._attach(call)
        try:
            answer = self._answer(fake_request, call)
        except ConnectionRefused as error:
            raise requests.exceptions.ConnectionError(_refused(request, error), request=request) from error
        except ConnectionDropped as error:
            raise requests.exceptions.ConnectionError(
                ProtocolError("Connection aborted.", error), request=request
            ) from error
        except ReadTimedOut as error:
            raise requests.exceptions.ReadTimeout(str(error), request=request) from error
        finally:
            self._calls.discard(call)
        response = _as_response(answer, request, call)
        response.headers["date"] = format_datetime(self._now(), usegmt=True)
        if not stream:
            _ = response.content
        return response

    def abandon_all(self) -> None:
        """Abandon every request under way."""
        for call in list(self._calls):
            call.abandon()

    def close(self) -> None:
        """Abandon every request under way."""
        self.abandon_all()


class _Body(io.RawIOBase):
    """The body of a stream, as `requests` reads it."""

    def __init__(self, stream: AnswerStream, call: Call) -> None:
        super().__init__()
        self._stream = stream
        self._call = call

    def stream(self, amount: int, decode_content: bool = False) -> Iterator[bytes]:
        try:
            yield from self._stream
        except ConnectionDropped as error:
            raise ProtocolError("Connection broken", error) from error
        except ReadTimedOut as error:
            raise ReadTimeoutError(None, None, str(error)) from error  # type: ignore[arg-type]

    def shutdown(self) -> None:
        self._call.abandon()

    def close(self) -> None:
        self._stream.close()
        super().close()

    def release_conn(self) -> None:
        self.close()


def _as_fake(request: requests.PreparedRequest) -> FakeRequest:
    parts = urlsplit(request.url or "")
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    headers: Mapping[str, Any] = request.headers or {}
    body = request.body
    return FakeRequest(
        request.method or "GET",
        str(target),
        {name.lower(): _text(value) for name, value in headers.items() if value is not None},
        body.encode() if isinstance(body, str) else bytes(body or b""),
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _as_response(answer: FakeAnswer, request: requests.PreparedRequest, call: Call) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.url, response.request = request.url or "", request
    headers = {} if answer.content_type is None else {"content-type": answer.content_type}
    response.headers = CaseInsensitiveDict(headers)
    response.raw = io.BytesIO(answer.body) if answer.stream is None else _Body(answer.stream, call)
    response.encoding = "utf-8"
    return response


def _read_timeout(timeout: Any) -> float:
    read = timeout[1] if isinstance(timeout, tuple) else timeout
    return math.inf if read is None else float(read)


def _refused(request: requests.PreparedRequest, error: Exception) -> MaxRetryError:
    reason = NewConnectionError(None, f"Connection refused: {error}")  # type: ignore[arg-type]
    return MaxRetryError(None, request.url or "", reason)  # type: ignore[arg-type]
