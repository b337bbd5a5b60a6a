"""Faults in front of any transport, in this process: nothing listens, and a refusal hits just one request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import IncompleteRead, MaxRetryError, NewConnectionError, ProtocolError

from tests.faults.plan import BEFORE, PAGE, SLOW_SECONDS, STATUSES, Fault, Plan


class FaultyAdapter(BaseAdapter):
    """Carries requests as another adapter does, but for the faults of a plan."""

    def __init__(self, inner: BaseAdapter, plan: Plan) -> None:
        super().__init__()
        self._inner = inner
        self._plan = plan

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        fault = self._plan.fault(str(request.method), urlsplit(str(request.url)).path)
        if fault is Fault.REFUSED:
            raise requests.exceptions.ConnectionError(_refusal(request), request=request)
        if fault is Fault.RESET:
            raise _reset(request)
        if fault in STATUSES and fault in BEFORE:
            return _error(request, fault)
        answer = self._inner.send(request, *args, **options)
        if fault is Fault.SLOW:
            time.sleep(SLOW_SECONDS)
        if fault in STATUSES:
            answer.close()
            return _error(request, fault)
        cuts = fault in (Fault.CUT, Fault.SHORT)
        if fault is Fault.LOST or (cuts and not answer.content):
            _ = answer.content
            raise _reset(request)
        if cuts:
            half = answer.content[: len(answer.content) // 2]
            answer = _copy_without_body(answer)
            answer.raw = _CutBody(half)
        return answer

    def close(self) -> None:
        self._inner.close()


class _CutBody:
    def __init__(self, half: bytes) -> None:
        self._half = half

    def stream(self, amount: int, decode_content: bool = False) -> Iterator[bytes]:
        yield self._half
        raise ProtocolError("Connection broken", IncompleteRead(len(self._half), len(self._half)))

    def release_conn(self) -> None: ...
    def close(self) -> None: ...


def _copy_without_body(answer: requests.Response) -> requests.Response:
    copy = requests.Response()
    copy.status_code, copy.reason = answer.status_code, answer.reason
    copy.headers, copy.request, copy.url = answer.headers, answer.request, answer.url
    return copy


def _refusal(request: requests.PreparedRequest) -> MaxRetryError:
    reason = NewConnectionError(None, "Connection refused, as the test wants it")  # type: ignore[arg-type]
    return MaxRetryError(None, request.url or "", reason)  # type: ignore[arg-type]


def _reset(request: requests.PreparedRequest) -> requests.exceptions.ConnectionError:
    cause = ConnectionResetError(104, "Connection reset by peer")
    return requests.exceptions.ConnectionError(ProtocolError("Connection aborted.", cause), request=request)


def _error(request: requests.PreparedRequest, fault: Fault) -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer.reason, answer.request = STATUSES[fault], "Not Now", request
    answer.url = request.url or ""
    answer._content_consumed = True
    answer._content = PAGE if fault is Fault.PAGE else b"it does not work at present"
    if fault is Fault.PAGE:
        answer.headers["Content-Type"] = "text/html"
    return answer
