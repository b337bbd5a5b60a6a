"""One HTTP session to one daemon: requests in, JSON out, every failure a typed error."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import NewConnectionError

from ..._version import __version__
from ...background.cancellation import Scope, ScopeEnded
from ...background.forks import current_process, refuse_in_child
from ...errors import BadAppKey, NoDaemon, YagnaError
from ...model.base.printable import printable
from .abandonable import AbandonableAdapter, abandonable
from .daemon_clock import DaemonClock
from .retry import RESTART_SECONDS, Repeat, repeated

CONNECT_SECONDS = 3.0
# The daemon may answer later than its `timeout`: one second later for activities, more under load.
_ANSWER_MARGIN_SECONDS = 15.0
_MOST_IDLE_CONNECTIONS = 512
_STREAM_PIECE_BYTES = 65536
# The output of all commands of a batch may be in it.
MOST_ANSWER_BYTES = 256 * 1024 * 1024
_LONGEST_MESSAGE = 2000
_ALLOWED_IN_URLS = "%/:?&=[]@!$'()*+,;~"
_PLAIN_URL = re.compile(r"[\w./:-]*", re.ASCII)
NO_BODY: Any = object()


class Http:
    """The daemon's REST API as a transport; any number of threads may share it.

    A request is prepared here once and handed to the adapter of requests. A `requests.Session` would take as
    much processor time again (390 against 200 microseconds for a small request), for what is not wanted here:
    it reads proxies and `~/.netrc` (which replaces the app key), collects cookies and follows redirects.
    """

    def __init__(self, api_url: str, app_key: str, adapter: BaseAdapter | None = None) -> None:
        """Connect to nothing yet.

        Args:
            api_url: where the REST API listens, such as `http://127.0.0.1:7465`.
            app_key: sent with each request.
            adapter: carries the requests; the network unless a test hands in another one.
        """
        self.api_url = api_url.rstrip("/")
        self.clock = DaemonClock()
        self._made_in = current_process()
        self._headers = {"Authorization": f"Bearer {app_key}", "User-Agent": f"simple_golem/{__version__}"}
        self._adapter = adapter or AbandonableAdapter(_MOST_IDLE_CONNECTIONS)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, object] | None = None,
        body: Any = NO_BODY,
        timeout: float = 5.0,
        margin: float = _ANSWER_MARGIN_SECONDS,
        scope: Scope | None = None,
        repeat: Repeat = Repeat.SAFE,
        within: float = RESTART_SECONDS,
        done: tuple[int, ...] = (),
    ) -> Any:
        """Make one request, repeated as `repeat` allows, and return what the daemon answered.

        Args:
            method: the HTTP method.
            url: a path under the API's URL (`/me`), or a whole URL.
            params: the query; entries that are None are left out.
            body: sent as JSON, if given.
            timeout: seconds that the daemon itself may take to answer.
            margin: seconds after that until the request fails.
            scope: cancelling it abandons the request at once.
            repeat: which errors lead to a repetition.
            within: seconds after which a failed request is not repeated any more.
            done: further statuses that mean success, such as 410 for a DELETE.

        Returns:
            The decoded JSON; text that is not JSON as it is; None for an empty answer.

        Raises:
            NoDaemon: nothing listens there.
            BadAppKey: the daemon does not know the app key.
            YagnaError: any other status, or no answer.
            ScopeEnded: `scope` was cancelled.
        """
        prepared = self._prepare(method, self._full_url(url, params), body)

        def send() -> Any:
            if scope is not None:
                scope.check()
            return self._send_once(prepared, timeout + margin, scope, done)

        return repeated(send, repeat, scope, within)

    def _full_url(self, url: str, params: Mapping[str, object] | None = None) -> str:
        # An id that a user gave may contain any character.
        full_url = url if "://" in url else self.api_url + url
        if not _PLAIN_URL.fullmatch(full_url):
            full_url = quote(full_url, safe=_ALLOWED_IN_URLS)
        if params:
            full_url += "?" + urlencode({key: value for key, value in params.items() if value is not None})
        return full_url

    def _prepare(
        self, method: str, url: str, body: Any = NO_BODY, **headers: str
    ) -> requests.PreparedRequest:
        """A request as the adapter needs it."""
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = method, url
        joined: Any = {**self._headers, **headers}
        prepared.headers = (
            joined  # a plain dict is enough for the adapter; mypy knows the class that `prepare` makes
        )
        if body is not NO_BODY:
            prepared.body = json.dumps(body)
            joined["Content-Type"] = "application/json"
        if method != "GET":
            joined["Content-Length"] = str(len(prepared.body or ""))
        return prepared

    def _send_once(
        self, prepared: requests.PreparedRequest, timeout: float, scope: Scope | None, done: tuple[int, ...]
    ) -> Any:
        with self._answer(prepared, timeout, scope, stream=False) as answer:
            if not self.clock.is_measured:
                self.clock.measure(answer.headers.get("Date"))
            self._load(answer)
            return self._read(answer, done)

    def _load(self, answer: requests.Response) -> None:
        """Read the body of an answer, up to a bound: nothing that the daemon says fills the memory."""
        length = answer.headers.get("Content-Length", "")
        is_packed = "Content-Encoding" in answer.headers
        if length.isdigit() and int(length) <= MOST_ANSWER_BYTES and not is_packed:
            return  # no more of it is read
        pieces: list[bytes] = []
        count = 0
        for piece in answer.iter_content(_STREAM_PIECE_BYTES):
            pieces.append(piece)
            count += len(piece)
            if count > MOST_ANSWER_BYTES:
                method, path = str(answer.request.method), self._path(answer.request)
                what = f"the answer has more than {MOST_ANSWER_BYTES >> 20} MiB, and is not read"
                raise YagnaError(method, path, answer.status_code, what)
        answer._content = b"".join(pieces)

    def stream(self, url: str, *, accept: str, silence: float, scope: Scope) -> Iterator[bytes]:
        """Make a GET, once, and yield its answer piece by piece as it comes, until the daemon ends it.

        Args:
            url: a path under the API's URL, or a whole URL.
            accept: the one kind of content that is wanted.
            silence: seconds without a piece after which the connection counts as broken.
            scope: cancelling it ends the answer at once.

        Raises:
            NoDaemon, BadAppKey, YagnaError, ScopeEnded: as those of `request`; also in the middle.
        """
        prepared = self._prepare("GET", self._full_url(url), Accept=accept)
        with self._answer(prepared, silence, scope, stream=True) as answer:
            if answer.status_code != 200:
                self._read(answer, ())
            kind = answer.headers.get("Content-Type", "")
            if not kind.startswith(accept):
                what = f"{kind or 'nothing'}, not {accept}"
                raise YagnaError("GET", self._path(answer.request), answer.status_code, what)
            yield from answer.iter_content(_STREAM_PIECE_BYTES)

    @contextmanager
    def _answer(
        self, prepared: requests.PreparedRequest, timeout: float, scope: Scope | None, *, stream: bool
    ) -> Iterator[requests.Response]:
        """Send a request and have its answer; where none comes, the error says why.

        While this is open, cancelling `scope` abandons the request.
        """
        refuse_in_child(self._made_in)
        handled_before = sys.exc_info()[1]
        try:
            with (
                abandonable(scope),
                self._adapter.send(prepared, stream=stream, timeout=_limits(timeout)) as answer,
            ):
                yield answer
        except requests.exceptions.RequestException as error:
            if scope is not None and scope.cancelled:
                raise ScopeEnded(scope.reason) from error
            no_answer = self._no_answer(prepared, error, handled_before)
            # What three libraries say of a refused connection does not help a user who must start the daemon.
            raise no_answer from (None if isinstance(no_answer, NoDaemon) else error)

    def _no_answer(
        self,
        prepared: requests.PreparedRequest,
        error: requests.exceptions.RequestException,
        handled_before: BaseException | None,
    ) -> Exception:
        if isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error):
            return NoDaemon(
                f"no yagna daemon answers at {self.api_url}: start it (`yagna service run`), set "
                "YAGNA_API_URL to where it listens, or run `simple-golem local run SCRIPT` to try without one"
            )
        return YagnaError(str(prepared.method), self._path(prepared), None, _in_words(error, handled_before))

    def _read(self, answer: requests.Response, done: tuple[int, ...]) -> Any:
        """The JSON of an answer; each status that means no success is an error."""
        status = answer.status_code
        if 200 <= status < 300 or status in done:
            try:
                return _value_of(answer)
            except (ValueError, RecursionError) as error:
                path = self._path(answer.request)
                raise YagnaError(str(answer.request.method), path, None, str(error)) from error
        if status == 401:
            raise BadAppKey(
                f"the daemon at {self.api_url} does not know this app key ({_message(answer)}): "
                "set YAGNA_APPKEY to a key that `yagna app-key list` shows"
            )
        raise YagnaError(str(answer.request.method), self._path(answer.request), status, _message(answer))

    def _path(self, prepared: requests.PreparedRequest) -> str:
        return str(prepared.url).removeprefix(self.api_url).partition("?")[0]

    def close(self) -> None:
        """Close the idle connections; a request under way is not interrupted."""
        self._adapter.close()


def _limits(timeout: float) -> tuple[float, float] | tuple[float, None]:
    """Seconds to connect, and then without a byte."""
    if math.isfinite(timeout):
        return CONNECT_SECONDS, timeout
    return CONNECT_SECONDS, None


def _in_words(error: BaseException, handled_before: BaseException | None) -> str:
    """Return what the innermost cause says, which is free of the names of other packages' classes.

    Args:
        error: what the request has raised.
        handled_before: what was being handled when it was made: Python takes it for a cause, too.
    """
    while (cause := error.__cause__ or error.__context__) not in (None, handled_before):
        error = cause
    return str(error).strip() or type(error).__name__


def _never_connected(error: requests.exceptions.RequestException) -> bool:
    """Whether the connection was refused, or the host has no address at all."""
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _decoded(answer: requests.Response) -> Any:
    """The JSON of a body; other text as it is, and None for an empty body."""
    if not answer.content:
        return None
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return answer.text


def _value_of(answer: requests.Response) -> Any:
    """The same of a success; raises ValueError where JSON was cut off, or a page came in its place."""
    kind = answer.headers.get("Content-Type", "")
    if "html" in kind:
        raise ValueError(f"a page came in place of the daemon's answer: {answer.text[:100]}")
    if "json" in kind and answer.content:
        return json.loads(answer.content)
    return _decoded(answer)


# Fields of a problem description that its text does not mention.
_PROBLEM_FIELDS = {
    "requestedFunds": "requested",
    "availableFunds": "available",
    "reservedFunds": "in other allocations",
    "internalError": "in the daemon",
}


def _message(answer: requests.Response) -> str:
    """The daemon's own words: JSON with a message, a problem description, or plain text."""
    body = _decoded(answer)
    if isinstance(body, dict):
        words = str(body.get("message") or body.get("detail") or body.get("title") or body)
        more = ", ".join(f"{name}: {body[key]}" for key, name in _PROBLEM_FIELDS.items() if body.get(key))
        return printable(f"{words} ({more})" if more else words, _LONGEST_MESSAGE)
    return printable(body if body is not None else answer.reason, _LONGEST_MESSAGE)
