"""The daemon's lists of events: each event once, in order, through all errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import EngineThread
from simple_golem.testing import FakeAnswer, FakeRequest, FakeYagna
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.daemon_events import DaemonEvents
from simple_golem.yagna.values import AgreementEvent, PaymentEvent
from tests.unit.conftest import eventually


class Lists:
    """Answers the three lists as a test says; an empty list takes a moment."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.pages: dict[str, list[Any]] = {"agreementEvents": [], "debitNoteEvents": [], "invoiceEvents": []}
        self.asked: list[FakeRequest] = []

    def add(self, name: str, *page: Any) -> None:
        with self.changed:
            self.pages[name].append(list(page))
            self.changed.notify_all()

    def answer(self, request: FakeRequest) -> FakeAnswer:
        name = request.path.rpartition("/")[2]
        with self.changed:
            self.asked.append(request)
            self.changed.wait_for(lambda: self.pages[name], 0.05)
            page = self.pages[name].pop(0) if self.pages[name] else []
        return page[0] if page and isinstance(page[0], FakeAnswer) else FakeAnswer.of_json(page)

    def asked_after(self, name: str) -> list[str]:
        return [one.query["afterTimestamp"] for one in self.asked if one.path.endswith(name)]


def note(name: str, second: str = "01") -> dict[str, str]:
    return {
        "eventType": "DebitNoteReceivedEvent",
        "debitNoteId": name,
        "eventDate": f"2026-11-25T00:00:{second}Z",
    }


@pytest.fixture
def lists() -> Lists:
    return Lists()


class Followed:
    """What was handled, by the name of the list."""

    def __init__(self, yagna: Yagna, stop: Scope) -> None:
        self.agreements: list[AgreementEvent] = []
        self.notes: list[str] = []
        self.invoices: list[str] = []
        self.events = DaemonEvents(
            yagna,
            stop,
            on_agreement=self.agreements.append,
            on_debit_note=self.handle_note,
            on_invoice=lambda event: self.invoices.append(event.document_id),
        )

    def handle_note(self, event: PaymentEvent) -> None:
        self.notes.append(event.document_id)
        if event.document_id == "bad":
            raise RuntimeError("a handler's own error")


@pytest.fixture
def followed(lists: Lists, scope: Scope) -> Iterator[Followed]:
    fake = FakeYagna(0)
    fake.intercept(lists.answer)
    yagna = Yagna("http://in-memory", fake.app_key, adapter=fake.adapter())
    followed = Followed(yagna, scope)
    followed.events.follow("s1")
    yield followed
    scope.cancel("the test is over")
    assert followed.events.join(20) == []
    yagna.close()
    fake.close()


def test_each_list_has_its_handler(lists: Lists, followed: Followed) -> None:
    ended = {
        "eventType": "AgreementTerminatedEvent",
        "agreementId": "a1",
        "eventDate": "2026-11-25T00:00:01Z",
        "terminator": "Provider",
        "reason": {"message": "busy"},
    }
    came = {"eventType": "InvoiceReceivedEvent", "invoiceId": "i1", "eventDate": "2026-11-25T00:00:01Z"}
    lists.add("agreementEvents", ended)
    lists.add("debitNoteEvents", note("n1"))
    lists.add("invoiceEvents", came)
    eventually(lambda: followed.agreements and followed.notes and followed.invoices)
    assert [(one.agreement_id, one.reason) for one in followed.agreements] == [("a1", "busy")]
    assert (followed.notes, followed.invoices) == (["n1"], ["i1"])
    assert {one.query["appSessionId"] for one in lists.asked} == {"s1"}


def test_an_event_that_the_daemon_repeats_is_handled_once(lists: Lists, followed: Followed) -> None:
    lists.add("debitNoteEvents", note("n1"), note("n2"), note("n1"))
    lists.add("debitNoteEvents", note("n1"), note("n2"))
    lists.add("debitNoteEvents")
    lists.add("debitNoteEvents", note("n2"), note("n3"))
    lists.add("debitNoteEvents", note("n4", "02"))
    eventually(lambda: "n4" in followed.notes)
    assert followed.notes == ["n1", "n2", "n3", "n4"]


def test_the_next_request_asks_for_what_is_later(lists: Lists, followed: Followed) -> None:
    lists.add("debitNoteEvents", note("n1", "05"), note("n2", "03"))
    eventually(lambda: len(set(lists.asked_after("debitNoteEvents"))) == 2)
    assert lists.asked_after("debitNoteEvents")[-1] == "2026-11-25T00:00:05Z"


def test_an_error_of_a_handler_is_logged_and_the_next_event_is_handled(
    lists: Lists, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    lists.add("debitNoteEvents", note("bad"), note("good"))
    eventually(lambda: "good" in followed.notes)
    assert "a handler's own error" in caplog.text
    assert "golem-debit-notes" in caplog.text


def test_following_twice_is_following_once_and_sessions_are_followed_side_by_side(
    lists: Lists, followed: Followed
) -> None:
    followed.events.follow("s1")
    followed.events.follow("s2")
    eventually(lambda: {one.query["appSessionId"] for one in lists.asked} == {"s1", "s2"})
    names = [one.name for one in threading.enumerate() if one.name == "golem-debit-notes"]
    assert len(names) == 2


def test_two_threads_that_follow_the_same_session_follow_it_once(followed: Followed) -> None:
    others: list[EngineThread] = []

    class AskedMeanwhile(dict[str, list[EngineThread]]):
        """Another thread follows the same session while this one looks."""

        def __contains__(self, key: object) -> bool:
            found = super().__contains__(key)
            if not others:
                others.append(EngineThread("other", followed.events.follow, "s2"))
                others[0].start().join(0.3)
            return found

    followed.events._threads = AskedMeanwhile(followed.events._threads)
    followed.events.follow("s2")
    assert others[0].join(5)
    names = [one.name for one in threading.enumerate() if one.name == "golem-debit-notes"]
    assert len(names) == 2


def test_an_answer_that_makes_no_sense_is_logged_and_asked_for_again(
    lists: Lists, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    lists.add("debitNoteEvents", {"eventType": "no date"})
    lists.add("debitNoteEvents", note("n1"))
    eventually(lambda: followed.notes)
    assert caplog.text.count("the daemon has given no usable answer") == 1
