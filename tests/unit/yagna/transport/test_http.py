"""The transport: which key, which way, and what becomes of every kind of answer."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.errors import BadAppKey, GolemError, NoDaemon, YagnaError
from simple_golem.yagna.transport.http import Http
from simple_golem.yagna.transport.retry import Repeat
from tests.helpers.loopback import Loopback, answer, hang_up

Serve = Callable[..., Loopback]
Connect = Callable[[Loopback], Http]


def test_the_app_key_goes_with_every_request(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, {"identity": "0x1"}))
    assert connect(server).request("GET", "/me") == {"identity": "0x1"}
    assert server.received[0].headers["Authorization"] == "Bearer the-key"


def test_netrc_does_not_replace_the_app_key(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(answer())
    connect(server).request("GET", "/me")
    assert server.received[0].headers.get_all("Authorization") == ["Bearer the-key"]


def test_a_proxy_of_the_environment_is_not_used(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer(200, "from the proxy"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = serve(answer(200, "from the daemon"))
    assert connect(server).request("GET", "/me") == "from the daemon"
    assert proxy.received == []


def test_cookies_are_not_kept(serve: Serve, connect: Connect) -> None:
    server = serve(answer(extra="Set-Cookie: track=me; Path=/\r\n"))
    http = connect(server)
    http.request("GET", "/me")
    http.request("GET", "/me")
    assert [request.headers["Cookie"] for request in server.received] == [None, None]


def test_a_redirect_is_not_followed(serve: Serve, connect: Connect) -> None:
    elsewhere = serve(answer(200, "elsewhere"))
    server = serve(answer(302, extra=f"Location: {elsewhere.url}/me\r\n"))
    with pytest.raises(YagnaError) as caught:
        connect(server).request("GET", "/me")
    assert caught.value.status == 302
    assert elsewhere.received == []


def test_a_connection_is_used_again(serve: Serve, connect: Connect) -> None:
    server = serve(answer())
    http = connect(server)
    for _ in range(3):
        http.request("GET", "/me")
    assert [request.connection for request in server.received] == [1, 1, 1]


def test_parameters_that_are_none_are_left_out_and_the_rest_is_escaped(
    serve: Serve, connect: Connect
) -> None:
    server = serve(answer())
    connect(server).request("GET", "/x", params={"a": "1+1 &", "b": None, "c": 0})
    assert server.received[0].target == "/x?a=1%2B1+%26&c=0"


def test_invalid_characters_in_a_url_are_escaped(serve: Serve, connect: Connect) -> None:
    server = serve(answer(200, "fine"))
    connect(server).request("GET", "/agreements/a b\r\nX: ü#?q=1")
    assert server.received[0].target == "/agreements/a%20b%0D%0AX:%20%C3%BC%23?q=1"
    assert "X" not in server.received[0].headers


def test_a_body_is_json_also_where_it_is_null(serve: Serve, connect: Connect) -> None:
    server = serve(answer())
    http = connect(server)
    http.request("POST", "/x", body={"a": [1]})
    http.request("POST", "/x", body=None)
    http.request("POST", "/x")
    assert [request.body for request in server.received] == [b'{"a": [1]}', b"null", b""]
    assert [request.headers["Content-Type"] for request in server.received] == [
        "application/json",
        "application/json",
        None,
    ]


def test_a_whole_url_is_used_as_it_is(serve: Serve, connect: Connect) -> None:
    other = serve(answer(200, "other"))
    assert connect(serve(answer())).request("GET", f"{other.url}/market-api/v1/demands") == "other"
    assert other.received[0].target == "/market-api/v1/demands"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'"text"', "text"),
        (b"null", None),
        (b"", None),
    ],
)
def test_an_answer_is_decoded(serve: Serve, connect: Connect, sent: bytes, read: object) -> None:
    assert connect(serve(answer(200, sent))).request("GET", "/x") == read


def test_plain_text_is_an_answer_as_it_is(serve: Serve, connect: Connect) -> None:
    assert connect(serve(answer(200, b"plain words", "text/plain"))).request("GET", "/x") == "plain words"


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b'{"a": [1, 2', "application/json"),
        (b'"tex', "application/json"),
        (b"<html>wait</html>", "text/html"),
    ],
)
def test_an_answer_that_was_cut_or_is_none_of_the_daemons_is_no_answer(
    serve: Serve, connect: Connect, sent: bytes, kind: str
) -> None:
    broken = answer(200, sent, kind)
    assert connect(serve(broken, answer(200, "whole"))).request("GET", "/x") == "whole"
    with pytest.raises(YagnaError) as caught:
        connect(serve(broken)).request("GET", "/x", repeat=Repeat.NEVER)
    assert caught.value.status is None


def test_a_status_that_means_done_is_success(serve: Serve, connect: Connect) -> None:
    server = serve(answer(410, {"message": "gone"}))
    assert connect(server).request("DELETE", "/x", done=(404, 410)) == {"message": "gone"}


@pytest.mark.parametrize("words", ["Invalid application key", "Missing application key"])
def test_a_key_the_daemon_does_not_know_is_an_error_of_its_own(
    serve: Serve, connect: Connect, words: str
) -> None:
    server = serve(answer(401, words.encode(), "text/plain"))
    with pytest.raises(BadAppKey) as caught:
        connect(server).request("GET", "/me")
    assert isinstance(caught.value, PermissionError)
    assert words in str(caught.value)
    assert "YAGNA_APPKEY" in str(caught.value)
    assert "the-key" not in str(caught.value)
    assert len(server.received) == 1


def test_the_error_for_a_refused_connection_says_what_to_do(serve: Serve, connect: Connect) -> None:
    server = serve(listening=False)
    with pytest.raises(NoDaemon) as caught:
        connect(server).request("GET", "/me", repeat=Repeat.NEVER)
    assert isinstance(caught.value, ConnectionError)
    for step in (server.url, "yagna service run", "YAGNA_API_URL", "simple-golem local run"):
        assert step in str(caught.value)


def test_a_host_that_has_no_address_is_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    http = Http("http://yagna.invalid:7465", "the-key")
    with pytest.raises(NoDaemon, match=r"yagna\.invalid"):
        http.request("GET", "/me", repeat=Repeat.NEVER)
    http.close()


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b'{"message": "no such demand"}', "application/json", "no such demand"),
        (
            json.dumps({"title": "Bad", "status": 400, "detail": "insufficient funds"}).encode(),
            "application/problem+json",
            "insufficient funds",
        ),
        (b'{"title": "Only a title"}', "application/problem+json", "Only a title"),
        (b"Query deserialize error", "text/plain", "Query deserialize error"),
        (b'"a JSON string"', "application/json", "a JSON string"),
        (b'{"message": null, "x": 1}', "application/json", "x"),
        (b"", "text/plain", "Said"),
    ],
)
def test_any_other_status_is_an_error_with_the_daemons_own_words(
    serve: Serve, connect: Connect, body: bytes, content_type: str, words: str
) -> None:
    server = serve(answer(400, body, content_type))
    with pytest.raises(YagnaError) as caught:
        connect(server).request("POST", "/market-api/v1/demands", params={"q": 1}, body={})
    error = caught.value
    assert (error.method, error.path, error.status) == ("POST", "/market-api/v1/demands", 400)
    assert words in error.detail
    assert str(error).startswith("POST /market-api/v1/demands: status 400: ")
    assert isinstance(error, GolemError)


def test_a_lost_answer_is_an_error_without_a_status(serve: Serve, connect: Connect) -> None:
    with pytest.raises(YagnaError) as caught:
        connect(serve(hang_up)).request("GET", "/me", repeat=Repeat.NEVER)
    assert caught.value.status is None
    assert "GET /me: no answer" in str(caught.value)


def test_a_request_in_a_scope_that_has_ended_is_not_made(serve: Serve, connect: Connect) -> None:
    server = serve(answer())
    scope = Scope()
    scope.cancel("over")
    with pytest.raises(ScopeEnded, match="over"):
        connect(server).request("GET", "/me", scope=scope)
    assert server.received == []


def test_another_adapter_may_carry_the_requests() -> None:
    class Echo(BaseAdapter):
        closed = False

        def send(self, request: PreparedRequest, *args: object, **options: object) -> Response:
            response = Response()
            response.status_code, response.request = 200, request
            response.raw = io.BytesIO(json.dumps([request.method, request.url, request.body]).encode())
            response.headers["Content-Type"] = "text/plain"
            return response

        def close(self) -> None:
            self.closed = True

    adapter = Echo()
    http = Http("http://yagna.test:1/", "the-key", adapter)
    assert http.request("POST", "/x", body=[1]) == ["POST", "http://yagna.test:1/x", "[1]"]
    pieces = http.stream("/s", accept="text/plain", silence=1.0, scope=Scope())
    assert list(pieces) == [b'["GET", "http://yagna.test:1/s", null]']
    http.close()
    assert adapter.closed


def test_an_error_says_nothing_of_another_one_that_was_being_handled(serve: Serve, connect: Connect) -> None:
    http = connect(serve(hang_up))
    try:
        raise LookupError("an earlier error")
    except LookupError:
        with pytest.raises(YagnaError) as caught:
            http.request("GET", "/me", repeat=Repeat.NEVER)
    assert "an earlier error" not in str(caught.value)
    assert "GET /me: no answer" in str(caught.value)
