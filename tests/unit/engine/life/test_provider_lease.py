"""A life that ends while its activity is created: nothing that its provider has created stays unpaid."""

from __future__ import annotations

import threading

import pytest

from simple_golem import Golem
from simple_golem.testing import FakeAnswer, FakeRequest, FakeYagna, Fault
from tests.helpers.recorded_services import SECONDS, begun, states
from tests.unit.conftest import eventually


class Creation:
    """The creation of an activity whose answer is lost, and whose activity is then looked for until the end.

    Args:
        fake: the daemon.
        fault: what happens to the request that creates it.
        at_the_end: the answer to the look that follows the end of the agreement; None: the usual one.

    Attributes:
        is_looked_for: set when the activity is looked for the first time.
        over: ends all that; requests get the usual answers.
    """

    def __init__(self, fake: FakeYagna, fault: Fault, at_the_end: FakeAnswer | None = None) -> None:
        self.is_looked_for = threading.Event()
        self._fault = fault
        self._at_the_end = at_the_end
        self._agreement_ends = threading.Event()
        self.over = fake.intercept(self._answer)

    def _answer(self, request: FakeRequest) -> FakeAnswer | Fault | None:
        if (request.method, request.path) == ("POST", "/activity-api/v1/activity"):
            return self._fault
        if request.path.endswith("/terminate"):
            self._agreement_ends.set()
        if (request.method, request.path) != ("GET", "/activity-api/v1/activity"):
            return None
        if self._agreement_ends.is_set():
            return self._at_the_end
        self.is_looked_for.set()
        assert self._agreement_ends.wait(SECONDS), "nobody has ended the agreement"
        return Fault.DROPPED


def test_an_activity_whose_creation_a_close_has_cut_off_is_ended_and_its_invoice_is_paid(
    fake: FakeYagna,
) -> None:
    creation = Creation(fake, Fault.UNANSWERED)
    told: list[str] = []
    with Golem(1, on_event=lambda event: told.append(type(event).__name__)) as golem:
        _, instance = begun(golem)
        assert creation.is_looked_for.wait(SECONDS)
    assert states(instance) == ["pending", "starting", "terminated"]
    assert [entry.is_invoiced for entry in golem.cost_report.entries] == [True]
    assert golem.cost.amount > 0
    assert [name for name in told if name.startswith("Activity")] == ["ActivityCreated", "ActivityDestroyed"]


def test_no_invoice_is_waited_for_where_the_daemon_knows_of_no_activity(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    creation = Creation(fake, Fault.DROPPED)
    with Golem(1) as golem:
        begun(golem)
        assert creation.is_looked_for.wait(SECONDS)
    assert [entry.is_invoiced for entry in golem.cost_report.entries] == [False]
    assert "no invoice had come" not in caplog.text


def no_documents(request: FakeRequest) -> FakeAnswer | None:
    """Nothing of what providers have sent can be seen."""
    is_hidden = request.method == "GET" and ("/invoice" in request.path or "/debitNote" in request.path)
    return FakeAnswer.of_json([]) if is_hidden else None


def test_the_next_session_pays_where_the_daemon_does_not_say_whether_there_is_an_activity(
    littered: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    silent = FakeAnswer.of_message("no database", 500)
    creation = Creation(littered, Fault.UNANSWERED, at_the_end=silent)
    show_documents = littered.intercept(no_documents)
    with Golem(1) as golem:
        begun(golem)
        assert creation.is_looked_for.wait(SECONDS)
    creation.over()
    show_documents()
    assert "has created an activity for Idle-1 (GET" in caplog.text
    assert sorted(one.split()[0] for one in littered.leftovers()) == ["debit", "invoice"]
    with Golem(1):
        # Only its own allocation: that from which it has paid is released a moment later.
        eventually(lambda: [one.split()[0] for one in littered.leftovers()] == ["allocation"], SECONDS)
    assert littered.leftovers() == []
