"""Answers that nobody honest gives: no thread ends by them, and no memory is filled."""

from __future__ import annotations

import contextlib
import itertools
import json
import socketserver
import threading
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import tenacity

from simple_golem import Golem, Service
from simple_golem.errors import GolemError, RegistryError, YagnaError
from simple_golem.testing import FakeAnswer, FakeProvider, FakeRequest, FakeYagna
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.transport import event_stream, http
from simple_golem.yagna.transport.event_stream import runtime_events
from simple_golem.yagna.values import DebitNote
from tests.faults.plan import endpoint_of
from tests.faults.small_run import run_once
from tests.helpers.side_by_side import side_by_side
from tests.unit.faults.test_single_faults import AT_ONCE, ENDPOINTS

DEEP = "[" * 100_000 + "]" * 100_000
BODIES = {"null": "null", "an object": '{"a": 1}', "deep": DEEP}


def with_two_providers() -> FakeYagna:
    return FakeYagna([FakeProvider(answers=lambda _: "hello\n", debit_note_interval=0.03) for _ in range(2)])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeYagna]:
    with with_two_providers() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield fake


@pytest.fixture
def dead_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that an error has ended."""
    dead: list[str] = []
    monkeypatch.setattr(
        "simple_golem.background.threads.logger.error", lambda text, *args, **_: dead.append(str(args))
    )
    return dead


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_answer_that_makes_no_sense_once_ends_no_thread(
    body: str, dead_threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where an agreement was not ended there is nothing to wait for.
    monkeypatch.setattr("simple_golem.engine.shutdown_times._INVOICE_SECONDS", 3.0)
    # Invoices are heard of by their events: a list of them is not asked for a moment later.
    monkeypatch.setattr("simple_golem.engine.payment.expected_invoices._PAUSES", tenacity.wait_fixed(5.0))

    def case(endpoint: str) -> None:
        left = [FakeAnswer(200, body.encode(), "application/json")]

        def answer(request: FakeRequest) -> FakeAnswer | None:
            return left.pop() if left and endpoint_of(request.method, request.path) == endpoint else None

        with with_two_providers() as daemon:
            daemon.intercept(answer)
            golem = Golem(1, api_url=daemon.url, app_key=daemon.app_key)
            # What is asked for beside the run is asked for before its end.
            is_beside = "Events" in endpoint or "debitNote" in endpoint
            outcome = run_once(
                20.0,
                golem=golem,
                until=lambda: not (is_beside and left),
                respawn_wait=tenacity.wait_none(),
            )
        assert left == []
        assert not isinstance(outcome.error, TimeoutError)
        assert outcome.error is None or isinstance(outcome.error, GolemError), repr(outcome.error)

    side_by_side({endpoint: partial(case, endpoint) for endpoint in ENDPOINTS}, AT_ONCE)
    assert dead_threads == []


# --- what is read ---------------------------------------------------------------------------------------


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> int:
    """The bounds are small."""
    monkeypatch.setattr(http, "MOST_ANSWER_BYTES", 100_000)
    monkeypatch.setattr(event_stream, "MOST_LINE_BYTES", 100_000)
    return 100_000


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[str, list[int]]]]:
    """Serve an answer on loopback; returns the URL, and a list of how many bytes were sent of each answer."""
    with contextlib.ExitStack() as ends:

        def start(head: str, piece: bytes, most: int) -> tuple[str, list[int]]:
            sent: list[int] = []

            class Handler(socketserver.StreamRequestHandler):
                def handle(self) -> None:
                    while self.rfile.readline().strip():
                        pass
                    self.wfile.write(f"HTTP/1.1 {head}\r\n\r\n".encode())
                    sent.append(0)
                    with contextlib.suppress(OSError):
                        while sent[-1] < most:
                            self.wfile.write(piece)
                            sent[-1] += len(piece)

            server = ends.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler))
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            ends.callback(thread.join)
            ends.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}", sent

        yield start


def test_an_answer_without_end_is_not_read_to_its_end(
    serve: Callable[..., tuple[str, list[int]]], bounded: int
) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    packed = zlib.compress(b" " * 100_000_000)
    for head, piece, most in (
        ("200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked", chunk, 1 << 30),
        ("200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000", b" " * 65536, 1 << 30),
        (f"200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {len(packed)}", packed, len(packed)),
    ):
        url, sent = serve(head, piece, most)
        yagna = Yagna(url, "the-key")
        with pytest.raises(YagnaError, match="the answer has more than 0 MiB, and is not read"):
            yagna.payment.allocations()
        yagna.close()
        # What both systems keep in between is some MiB.
        assert len(sent) == 1
        assert sent[0] < 50_000_000


def test_an_event_without_end_ends_the_stream(bounded: int) -> None:
    pieces = itertools.chain([b'data: {"index":0,"kind":{"stdout":"x"}}\n\n'], itertools.repeat(b"x" * 1000))
    assert [event.kind for event in runtime_events(pieces)] == ["stdout"]


def test_redirects_without_end_are_an_error(
    serve: Callable[..., tuple[str, list[int]]], fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, sent = serve("302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close", b"", 0)
    monkeypatch.setenv("GOLEM_REGISTRY_URL", url)
    with Golem(1) as golem, pytest.raises(RegistryError):
        golem.run_service(Service)
    assert 1 < len(sent) < 200


def test_the_daemon_is_not_followed_to_another_address(
    serve: Callable[..., tuple[str, list[int]]],
) -> None:
    other, asked = serve("200 OK\r\nContent-Length: 2", b"[]", 2)
    url, _ = serve(f"302 Found\r\nLocation: {other}\r\nContent-Length: 0", b"", 0)
    yagna = Yagna(url, "the-key")
    with pytest.raises(YagnaError, match="status 302"):
        yagna.payment.allocations()
    yagna.close()
    assert asked == []


# --- money ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "sNaN", "1e999999999", "1e-999999999", "x", {}])
def test_a_document_over_no_amount_of_money_hides_no_other_one(fake: FakeYagna, amount: object) -> None:
    note = {
        "debitNoteId": "n1",
        "agreementId": "a1",
        "activityId": "act1",
        "issuerId": "0xprov",
        "totalAmountDue": amount,
        "status": "RECEIVED",
        "timestamp": "2026-01-31T12:00:00Z",
    }
    body = json.dumps([note, {**note, "totalAmountDue": "0.25"}]).encode()
    fake.intercept(lambda request: FakeAnswer(200, body, "application/json"))
    yagna = Yagna(fake.url, fake.app_key)
    assert [one.amount for one in yagna.payment.debit_notes()] == [Decimal("0.25")]
    yagna.close()
    with pytest.raises(YagnaError, match="no amount of GLM"):
        DebitNote.from_wire(note)
