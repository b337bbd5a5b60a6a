"""The ends of a transfer on a web server."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from urllib.parse import urljoin, urlsplit

import requests

from ...background.cancellation import Scope
from ...yagna.transport.abandonable import AbandonableAdapter, abandonable
from .gftp import CHUNK_BYTES

# As in the real exe-unit: a server must begin its answer within this time.
_ANSWER_SECONDS = 5.0
# Between two pieces of an answer that has begun.
_READ_TIMEOUT_SECONDS = 60.0
_REFUSED = 'HTTP error: io error: Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }'
_MOST_REDIRECTS = 10
_PORTS = {"http": 80, "https": 443}


class WebError(Exception):
    """A web server was not reachable, refused, or ended the connection; the requestor gets the message.

    Attributes:
        lasting: whether another try is in vain.
    """

    lasting = True


class WebTimeout(WebError):
    """A web server did not answer in time."""

    lasting = False

    def __init__(self) -> None:
        super().__init__("HTTP error: timeout: operation timed out")


class UnknownHost(WebError):
    """The name of a host has no address."""

    lasting = False


class OwnLoopback(WebError):
    """The address is that of the script's machine or its neighbours, which a provider does not reach."""

    def __init__(self) -> None:
        super().__init__(_REFUSED)


class Web:
    """The web as a provider reaches it: its loopback is its own, and private addresses are its neighbours'.

    Used by several threads.
    """

    def __init__(self) -> None:
        self._allowed: frozenset[tuple[str, int]] = frozenset()

    def allow(self, url: str) -> None:
        """Let providers reach a web server of this machine, as if it were on the internet."""
        self._allowed |= {_place(url)}

    def check(self, url: str) -> None:
        """Raise if a provider does not reach a URL; blocks for the look-up of its name.

        Raises:
            OwnLoopback: it is a server of this machine or of its neighbours.
            UnknownHost: its name has no address.
        """
        host, port = place = _place(url)
        if place in self._allowed:
            return
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            if requests.utils.get_environ_proxies(url):
                return  # the proxy looks it up
            # A UnicodeError: a part of the name is empty or too long.
            reason = error.strerror if isinstance(error, OSError) else "Name or service not known"
            raise UnknownHost(
                "HTTP error: connection error: Failed resolving hostname: "
                f"failed to lookup address information: {reason}"
            ) from error
        if not all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_global for one in found):
            raise OwnLoopback


def _place(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise WebError(f"HTTP error: {error}") from error


class WebSource:
    """Reads a file with HEAD and GET, and follows redirects.

    Like the real exe-unit it does not look at the status: the page of a 404 is the file. It resumes a
    download if it can.

    Attributes:
        size: the number of bytes that come; None: unknown.
        offset: where they belong in the target.
        status: of the answer.
    """

    def __init__(self, web: Web, url: str, scope: Scope, there: int = 0) -> None:
        """Send the requests; blocks for the headers of the answers.

        Args:
            web: the web as the provider reaches it.
            url: of the file.
            scope: of the activity.
            there: the length of the target, from which on the file is asked for if the server can do that.

        Raises:
            WebError: the server is not reachable.
        """
        self._web = web
        self._open = ExitStack()
        self._open.enter_context(abandonable(scope))
        try:
            self._begin(url, there)
        except BaseException:
            self._open.close()
            raise

    def _begin(self, url: str, there: int) -> None:
        head = self._ask("HEAD", url)
        head.close()
        resumes = there > 0 and head.headers.get("Accept-Ranges") == "bytes"
        self.offset, self.status, self.size = (there if resumes else 0), 200, None
        whole = _length(head)
        self._response: requests.Response | None = None
        if resumes and whole is not None and there >= whole:
            return  # as much is there as the server has: nothing is fetched
        self._response = self._ask("GET", url, {"Range": f"bytes={there}-"} if resumes else {})
        self._open.callback(self._response.close)
        self.status, self.size = self._response.status_code, _length(self._response)

    def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        for _ in range(_MOST_REDIRECTS):
            self._web.check(url)
            answer = self._send(method, url, headers)
            target = answer.headers.get("Location") if answer.is_redirect else None
            if target is None:
                return answer
            answer.close()
            url = urljoin(url, target)
        raise WebError("HTTP error: redirect error: too many redirects")

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None) -> requests.Response:
        # Each request has a connection of its own, which the server closes.
        session = self._open.enter_context(requests.Session())
        for scheme in ("http://", "https://"):
            session.mount(scheme, AbandonableAdapter(1))
        try:
            return session.request(
                method,
                url,
                stream=True,
                allow_redirects=False,
                timeout=(_ANSWER_SECONDS, _ANSWER_SECONDS),
                headers={"Accept-Encoding": "identity", "Connection": "close", **(headers or {})},
            )
        except requests.Timeout as error:
            raise WebTimeout from error
        except (requests.RequestException, OSError) as error:
            raise WebError(_text(error)) from error

    def chunks(self) -> Iterator[bytes]:
        if self._response is None:
            return
        _allow_pauses(self._response)
        try:
            yield from self._response.iter_content(CHUNK_BYTES)
        except (requests.RequestException, OSError) as error:
            raise WebError(f"HTTP error: {error}") from error

    def close(self) -> None:
        self._open.close()


class WebSink:
    """Writes a file with PUT, in chunks: the size is not known in advance."""

    def __init__(self, web: Web, url: str, scope: Scope) -> None:
        """Connect and send the headers; blocks for 5 seconds at most.

        Raises:
            WebError: the server is not reachable.
        """
        web.check(url)
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._forget = _nothing
        self._begun = time.monotonic()
        try:
            self._connection = kind(parts.hostname or "", parts.port, timeout=_ANSWER_SECONDS)
            self._connection.connect()
            # The connection forgets its socket when it is closed, or when the server announces its end.
            self._socket = self._connection.sock
            self._forget = scope.on_cancel(self._break_off)
            self._connection.putrequest(
                "PUT", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
            )
            self._connection.putheader("Transfer-Encoding", "chunked")
            self._connection.putheader("Content-Type", "application/octet-stream")
            self._connection.endheaders()
        except TimeoutError as error:
            raise WebTimeout from error
        except (http.client.HTTPException, ValueError, OSError) as error:
            raise WebError(_text(error)) from error

    def write(self, data: bytes) -> None:
        if data:
            self._send(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self) -> None:
        self._send(b"0\r\n\r\n")
        self._limit_time()
        try:
            response = self._connection.getresponse()
            response.read(CHUNK_BYTES)
        except TimeoutError as error:
            raise WebTimeout from error
        except (http.client.HTTPException, OSError) as error:
            raise WebError(f"HTTP error: {error}") from error
        if not 200 <= response.status < 300:
            raise _refused(response.status, response.reason)

    def close(self) -> None:
        self._forget()
        self._connection.close()

    def _send(self, data: bytes) -> None:
        self._limit_time()
        try:
            self._connection.send(data)
        except TimeoutError as error:
            raise WebTimeout from error
        except OSError as error:
            raise WebError(f"HTTP error: {error}") from error

    def _limit_time(self) -> None:
        """The time of the answer is also that of the whole file on its way."""
        left = self._begun + _ANSWER_SECONDS - time.monotonic()
        if left <= 0:
            raise WebTimeout
        self._connection.sock.settimeout(left)

    def _break_off(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the connection has ended already


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length")
    return int(length) if length is not None and length.isdigit() else None


def _allow_pauses(response: requests.Response) -> None:
    """Let the pieces of an answer that has begun come slowly."""
    reader = getattr(getattr(response.raw, "_fp", None), "fp", None)
    carrier = getattr(getattr(reader, "raw", None), "_sock", None)
    if carrier is not None:
        carrier.settimeout(_READ_TIMEOUT_SECONDS)


def _text(error: BaseException) -> str:
    return _REFUSED if _is_refused(error) else f"HTTP error: connection error: {error}"


def _is_refused(error: BaseException | None) -> bool:
    if error is None or isinstance(error, ConnectionRefusedError):
        return error is not None
    # urllib3 keeps the cause as an argument or as `reason`.
    inner = [getattr(error, "reason", None), *error.args, error.__cause__]
    return any(_is_refused(one) for one in inner if isinstance(one, BaseException))


def _refused(status: int, reason: str) -> WebError:
    side = "client" if status < 500 else "server"
    return WebError(f"HTTP error: {side} error: {status} {reason}")


def _nothing() -> None:
    return None
