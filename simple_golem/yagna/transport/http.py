"""One HTTP session to one daemon: requests in, JSON out, every failure a typed error."""

from __future__ import annotations

import http.cookiejar
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import requests
from urllib3.exceptions import NewConnectionError

from ...background.cancellation import Scope, ScopeEnded
from ...errors import BadAppKey, NoDaemon, YagnaError
from .abandonable import AbandonableAdapter, WholeAnswers, abandonable
from .connections import NeverConnected
from .retry import Repeat, retrying

CONNECT_SECONDS = 3.0
# The daemon may answer later than the `timeout` it was given: a second for activities, more under load.
_MARGIN_SECONDS = 15.0
_CONNECTIONS = 512
_PIECE_BYTES = 65536
_OF_URLS = "%/:?&=[]@!$'()*+,;~"
NO_BODY: Any = object()


class Http:
    """The daemon's REST API as a transport; may be used by any number of threads."""

    def __init__(self, api_url: str, app_key: str) -> None:
        self.api_url = api_url.rstrip("/")
        self._session = requests.Session()
        # A line in ~/.netrc would replace the app key, and HTTP_PROXY would take the loopback address too.
        self._session.trust_env = False
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers["Authorization"] = f"Bearer {app_key}"
        # What HTTP/1.1 takes for granted is not said with each request; nor is anything to be compressed.
        granted = ("Accept", "Accept-Encoding", "Connection")
        self._headers = {
            name: str(value) for name, value in self._session.headers.items() if name not in granted
        }
        self._adapter = WholeAnswers(_CONNECTIONS)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, AbandonableAdapter(_CONNECTIONS))

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, object] | None = None,
        body: Any = NO_BODY,
        timeout: float = 5.0,
        margin: float = _MARGIN_SECONDS,
        scope: Scope | None = None,
        repeat: Repeat = Repeat.SAFE,
        done: tuple[int, ...] = (),
    ) -> Any:
        """Make one request, repeated as `repeat` allows, and return what the daemon answered.

        Args:
            method: the HTTP method.
            url: a path under the API's URL (`/me`), or a whole URL.
            params: the query; entries that are None are left out.
            body: sent as JSON where given.
            timeout: seconds that the daemon itself may take to answer.
            margin: seconds more for which the answer is awaited.
            scope: cancelling it abandons the request at once.
            repeat: what a repetition could do.
            done: further statuses that mean success, such as 410 for a DELETE of what is gone.

        Returns:
            The decoded JSON, None where there is none.

        Raises:
            NoDaemon: nothing listens there.
            BadAppKey: the daemon does not know the app key.
            YagnaError: any other status, or an answer that never came.
            ScopeEnded: `scope` was cancelled.
        """
        # An id that a user gave may have anything in it.
        full_url = quote(url if "://" in url else self.api_url + url, safe=_OF_URLS)
        if params:
            full_url += "?" + urlencode({key: value for key, value in params.items() if value is not None})
        for attempt in retrying(repeat, scope):
            with attempt:
                if scope is not None:
                    scope.check()
                return self._once(method, full_url, body, timeout + margin, scope, done)
        raise AssertionError("tenacity re-raises the last error")  # pragma: no cover

    def _once(
        self, method: str, url: str, body: Any, timeout: float, scope: Scope | None, done: tuple[int, ...]
    ) -> Any:
        path = url.removeprefix(self.api_url).partition("?")[0]
        prepared = self._prepared(method, url, body)
        try:
            with abandonable(scope):
                answer = self._adapter.send(prepared, timeout=_limits(timeout))
                # Read while it can be abandoned.
                _ = answer.content
        except requests.exceptions.RequestException as error:
            if scope is not None and scope.cancelled:
                raise ScopeEnded(scope.reason) from error
            refusal = self._no_answer(method, path, error)
            # What three libraries have to say of a refused connection helps nobody who reads "start it".
            raise refusal from (None if isinstance(refusal, NoDaemon) else error)
        return self._understood(answer, method, path, done)

    def _prepared(self, method: str, url: str, body: Any) -> requests.PreparedRequest:
        """The request as the adapter takes it: `Session.request` needs as long as all the rest for that.

        It merges settings, cookies and redirects, of which there are none here, and checks the URL again.
        """
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = method, url
        # A plain dict is all that is needed below; mypy knows it as what `prepare` makes.
        headers: Any = dict(self._headers)
        prepared.headers = headers
        if body is not NO_BODY:
            prepared.body = json.dumps(body)
            prepared.headers["Content-Type"] = "application/json"
        if method != "GET":
            prepared.headers["Content-Length"] = str(len(prepared.body or ""))
        return prepared

    def stream(self, url: str, *, accept: str, silence: float, scope: Scope) -> Iterator[bytes]:
        """Make a GET, once, and yield its answer piece by piece as it comes, until the daemon ends it.

        Args:
            url: a path under the API's URL, or a whole URL.
            accept: the one kind of content that is wanted.
            silence: seconds without a piece after which the connection is taken for broken.
            scope: cancelling it ends the answer at once.

        Raises:
            NoDaemon, BadAppKey, YagnaError, ScopeEnded: as those of `request`; also in the middle.
        """
        path = url.removeprefix(self.api_url)
        try:
            with (
                abandonable(scope),
                self._session.get(
                    url if "://" in url else self.api_url + url,
                    headers={"Accept": accept},
                    timeout=(CONNECT_SECONDS, silence),
                    allow_redirects=False,
                    stream=True,
                ) as answer,
            ):
                if answer.status_code != 200:
                    self._understood(answer, "GET", path, ())
                kind = answer.headers.get("Content-Type", "")
                if not kind.startswith(accept):
                    raise YagnaError("GET", path, answer.status_code, f"{kind or 'nothing'}, not {accept}")
                yield from answer.iter_content(_PIECE_BYTES)
        except requests.exceptions.RequestException as error:
            if scope.cancelled:
                raise ScopeEnded(scope.reason) from error
            raise self._no_answer("GET", path, error) from error

    def _no_answer(self, method: str, path: str, error: requests.exceptions.RequestException) -> Exception:
        if isinstance(error, requests.exceptions.ConnectTimeout) or _never_connected(error):
            return NoDaemon(
                f"no yagna daemon answers at {self.api_url}: start it (`yagna service run`), set "
                "YAGNA_API_URL to where it listens, or run `simple-golem local run SCRIPT` to try without one"
            )
        return YagnaError(method, path, None, str(error))

    def _understood(self, answer: requests.Response, method: str, path: str, done: tuple[int, ...]) -> Any:
        status = answer.status_code
        if 200 <= status < 300 or status in done:
            return _decoded(answer)
        if status == 401:
            raise BadAppKey(
                f"the daemon at {self.api_url} does not know this app key ({_message(answer)}): "
                "set YAGNA_APPKEY to a key that `yagna app-key list` shows"
            )
        raise YagnaError(method, path, status, _message(answer))

    def close(self) -> None:
        self._adapter.close()
        self._session.close()


def _limits(timeout: float) -> tuple[float, float] | tuple[float, None]:
    """Seconds to connect, and then without a byte."""
    if math.isfinite(timeout):
        return CONNECT_SECONDS, timeout
    return CONNECT_SECONDS, None


def _never_connected(error: requests.exceptions.RequestException) -> bool:
    """Whether the connection was refused, or the host has no address at all."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, NeverConnected) or isinstance(getattr(cause, "reason", None), NewConnectionError)


def _decoded(answer: requests.Response) -> Any:
    if not answer.content:
        return None
    try:
        return json.loads(answer.content)
    except ValueError:
        return answer.text


# What the description of a problem leaves out of its words.
_MORE = {
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
        more = ", ".join(f"{name}: {body[key]}" for key, name in _MORE.items() if body.get(key))
        return f"{words} ({more})" if more else words
    return str(body if body is not None else answer.reason)
