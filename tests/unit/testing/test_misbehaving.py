"""Every way in which a fake provider can let a requestor down, as the requestor sees it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from simple_golem.testing import CommandAnswer, FakeProvider, FakeRequest, FakeYagna, HandClock
from tests.contract.activities import unserved
from tests.contract.buyer import ACTIVITY, HONEST, MARKET, PAYMENT, Buyer, shell

from .conftest import Meanwhile

ACTIVITIES = f"{ACTIVITY}/activity"
TIMEOUT = (408, "Timeout")


def state(client: Buyer, activity_id: str) -> Any:
    return client.get(f"{ACTIVITIES}/{activity_id}/state")["state"]


# --- proposals and agreements -----------------------------------------------------------------------------


def test_it_never_answers_a_proposal(client: Buyer, provider: FakeProvider) -> None:
    provider.proposals = "never"
    demand = client.publish()
    client.counter(demand)
    assert client.get(f"{demand.path}/events", timeout=0) == []


def test_it_answers_late(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    provider.answers_after = 3
    demand = client.publish()
    client.counter(demand)
    clock.advance(2.9)
    assert client.get(f"{demand.path}/events", timeout=0) == []
    clock.advance(0.1)
    assert client.next_event(demand)["proposal"]["state"] == "Draft"


def test_it_approves_late(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    provider.approves_after = 10
    agreement_id = client.confirm()
    path = f"{MARKET}/agreements/{agreement_id}"
    waiting = Meanwhile(lambda: client.say("POST", f"{path}/wait", timeout=15))
    clock.wait_until_waiting()
    clock.advance(9)
    assert client.get(path)["state"] == "Pending"
    clock.advance(1)
    assert waiting.outcome() == (204, "")


def test_it_has_no_room_for_a_second_agreement(client: Buyer, provider: FakeProvider) -> None:
    first = client.agree()
    demand = client.publish()
    client.counter(demand)
    reason = client.next_event(demand)["reason"]["message"]
    assert reason == "No capacity available. Reached Agreements limit: 1"
    del demand.offers[HONEST]
    client.terminate(first)
    assert client.offer(demand)["state"] == "Initial"
    assert client.propose_on(demand)


def test_it_terminates_the_agreement(client: Buyer, provider: FakeProvider) -> None:
    agreement_id, activity_id = client.hire()
    provider.terminate_agreement("bored")
    assert state(client, activity_id) == ["Terminated", None]
    reason = client.get(f"{MARKET}/agreements/{agreement_id}/terminate/reason")
    assert reason["terminator"] == "Provider"
    assert reason["reason"] == {"message": "bored", "golem.provider.code": "Cancelled"}
    assert client.invoice(agreement_id)["activityIds"] == [activity_id]
    with pytest.raises(RuntimeError, match="has no agreement to terminate"):
        provider.terminate_agreement()


def test_it_terminates_the_agreement_after_a_while(
    client: Buyer, provider: FakeProvider, clock: HandClock
) -> None:
    provider.terminates_after = 30
    agreement_id, _ = client.hire()
    clock.advance(29)
    assert client.get(f"{MARKET}/agreements/{agreement_id}")["state"] == "Approved"
    clock.advance(1)
    assert client.get(f"{MARKET}/agreements/{agreement_id}")["state"] == "Terminated"


def test_it_goes_on_serving_an_activity_of_an_agreement_that_it_has_terminated(
    client: Buyer, provider: FakeProvider
) -> None:
    agreement_id, activity_id = client.hire()
    provider.terminate_agreement(keep_activity=True)
    assert state(client, activity_id) == ["Ready", None]
    assert client.run(activity_id, shell("true"))[0]["result"] == "Ok"
    assert client.get(f"{PAYMENT}/invoices") == []
    assert client.say("DELETE", f"{ACTIVITIES}/{activity_id}") == (200, None)
    assert client.invoice(agreement_id)["activityIds"] == [activity_id]


# --- activities and commands ------------------------------------------------------------------------------


def test_it_creates_an_activity_late(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    provider.creates_after = 3
    agreement_id = client.agree()
    late = Meanwhile(lambda: client.say("POST", ACTIVITIES, agreement_id, timeout=2))
    clock.wait_until_waiting()
    assert client.get(ACTIVITIES, agreementId=agreement_id) == []
    clock.advance(2)
    assert late.outcome() == TIMEOUT
    clock.advance(5)
    assert client.get(ACTIVITIES, agreementId=agreement_id) == []
    in_time = Meanwhile(lambda: client.say("POST", ACTIVITIES, agreement_id, timeout=5))
    clock.wait_until_waiting()
    clock.advance(3)
    assert in_time.outcome()[0] == 200


@pytest.mark.parametrize("name", ["deploy", "start"])
def test_it_fails_a_command_with_its_own_words(client: Buyer, provider: FakeProvider, name: str) -> None:
    setattr(provider, f"{name}_error", "no disk left")
    activity_id = client.create(client.agree())
    batch = client.execute(activity_id, {"deploy": {}}, {"start": {}})
    index = ["deploy", "start"].index(name)
    result = client.get(batch, timeout=5, commandIndex=index)[index]
    assert (result["result"], result["message"]) == ("Error", "no disk left")


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (None, ("Ok", None, None, None)),
        ("text", ("Ok", "text", None, None)),
        (b"bytes", ("Ok", "bytes", None, None)),
        (7, ("Error", None, None, "ExeScript command exited with code 7")),
        (RuntimeError("no clock"), ("Error", None, None, "no clock")),
        (CommandAnswer("out", "err", 2, "in its own words"), ("Error", "out", "err", "in its own words")),
        (iter(["one ", "two"]), ("Ok", "one two", None, None)),
        (object, ("Error", None, None, None)),
    ],
)
def test_the_possible_answers_to_a_command(
    client: Buyer, provider: FakeProvider, answer: Any, result: tuple[Any, ...]
) -> None:
    provider.answers = {"/bin/sh -c this": answer}
    _, activity_id = client.hire()
    told = client.get(client.execute(activity_id, shell("this")), timeout=5, commandIndex=0)[0]
    if answer is object:
        assert "give text, bytes, an exit code" in told["message"]
    else:
        assert tuple(told[name] for name in ("result", "stdout", "stderr", "message")) == result


def test_a_function_is_asked_for_each_command_and_may_raise(client: Buyer, provider: FakeProvider) -> None:
    asked = []

    def answers(command: dict[str, Any]) -> str:
        asked.append(command)
        raise ValueError("it does not work")

    provider.answers = answers
    _, activity_id = client.hire()
    (told,) = client.get(client.execute(activity_id, shell("this")), timeout=5, commandIndex=0)
    assert (told["result"], told["message"]) == ("Error", "it does not work")
    assert asked == [shell("this")]
    assert provider.commands == [{"deploy": {}}, {"start": {}}, shell("this")]


def test_commands_take_their_time(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    _, activity_id = client.hire()
    provider.answers = {"/bin/sh -c this": CommandAnswer("late", seconds=3)}
    for script, seconds, stdout in (("this", 3, "late"), ("sleep 20", 20, None)):
        batch = client.execute(activity_id, shell(script))
        waiting = Meanwhile(lambda batch=batch: client.get(batch, timeout=60, commandIndex=0))
        clock.wait_until_waiting(2)
        clock.advance(seconds - 0.1)
        assert not waiting.is_over
        assert state(client, activity_id) == ["Ready", "Ready"]
        clock.advance(0.1)
        assert waiting.outcome()[0]["stdout"] == stdout


def test_the_answer_of_a_command_can_be_lost(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    _, activity_id = client.hire()
    provider.answers_results = False
    batch = client.execute(activity_id, shell("true"))
    for query in ({"commandIndex": 0}, {}):
        waiting = Meanwhile(lambda query=query: client.say("GET", batch, timeout=5, **query))
        clock.wait_until_waiting()
        clock.advance(5)
        assert waiting.outcome() == TIMEOUT


def test_its_exe_unit_is_killed_in_mid_command(
    client: Buyer, provider: FakeProvider, clock: HandClock
) -> None:
    agreement_id, activity_id = client.hire()
    batch = client.execute(activity_id, shell("sleep 20"))
    waiting = Meanwhile(lambda: client.say("GET", batch, timeout=5, commandIndex=0))
    clock.wait_until_waiting(2)
    provider.kill_exe_unit()
    assert client.get(f"{ACTIVITIES}/{activity_id}/state") == {
        "state": ["Terminated", None],
        "reason": "execution aborted",
        "errorMessage": "exit code None",
    }
    # Who waits is told nothing before the time is up.
    clock.advance(4)
    assert not waiting.is_over
    clock.advance(1)
    assert waiting.outcome() == unserved(client, activity_id, "GetExecBatchResults")
    assert client.say("GET", batch, timeout=1) == unserved(client, activity_id, "GetExecBatchResults")
    assert client.get(f"{MARKET}/agreements/{agreement_id}")["state"] == "Approved"
    assert [one["activityId"] for one in client.get(f"{PAYMENT}/debitNotes")] == [activity_id]


# --- absence ----------------------------------------------------------------------------------------------


def test_requests_to_a_vanished_provider_time_out(
    client: Buyer, provider: FakeProvider, clock: HandClock
) -> None:
    agreement_id, activity_id = client.hire()
    batch = client.execute(activity_id, shell("true"))
    provider.vanish()
    path = f"{ACTIVITIES}/{activity_id}"
    script = {"text": "[]"}
    for method, target, body in (
        ("GET", f"{path}/state", {}),
        ("GET", f"{path}/usage", {}),
        ("GET", batch, {}),
        ("POST", f"{path}/exec", {"body": script}),
        ("DELETE", path, {}),
        ("POST", ACTIVITIES, {"body": agreement_id}),
    ):
        asked = Meanwhile(
            lambda method=method, target=target, body=body: client.say(method, target, timeout=3, **body)
        )
        clock.wait_until_waiting()
        clock.advance(3)
        assert asked.outcome() == TIMEOUT
    asked = Meanwhile(lambda: client.say("GET", f"{path}/state", timeout=3))
    clock.wait_until_waiting()
    provider.come_back()
    assert asked.outcome() == (200, {"state": ["Ready", None]})


def test_it_hears_of_a_termination_when_it_comes_back(client: Buyer, provider: FakeProvider) -> None:
    agreement_id, activity_id = client.hire()
    provider.vanish()
    ending = Meanwhile(lambda: client.terminate(agreement_id))
    assert client.get(f"{MARKET}/agreements/{agreement_id}")["state"] == "Approved"
    provider.come_back()
    assert ending.outcome() is None
    assert client.invoice(agreement_id)["activityIds"] == [activity_id]


def test_it_vanishes(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    agreement_id, activity_id = client.hire()
    batch = client.execute(activity_id, shell("sleep 20"))
    waiting = Meanwhile(lambda: client.say("GET", batch, timeout=5, commandIndex=0))
    clock.wait_until_waiting(2)
    provider.die()
    assert client.say("GET", batch) == unserved(client, activity_id, "GetExecBatchResults")
    assert state(client, activity_id) == ["Ready", "Ready"]
    clock.advance(5)
    assert waiting.outcome() == unserved(client, activity_id, "GetExecBatchResults")
    assert state(client, activity_id) == ["Unresponsive", "Ready"]
    client.terminate(agreement_id)
    clock.advance(600)
    assert client.get(f"{PAYMENT}/invoices") == []
    provider.come_back()
    assert provider.agreements == []
    assert client.agree() != agreement_id


def test_it_is_shut_down_in_good_order(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    agreement_id, activity_id = client.hire()
    batch = client.execute(activity_id, shell("sleep 20"))
    waiting = Meanwhile(lambda: client.say("GET", batch, timeout=5, commandIndex=0))
    clock.wait_until_waiting(2)
    provider.shut_down()
    status, (result,) = waiting.outcome()
    assert (status, result["result"]) == (200, "Error")
    assert result["message"] == (
        "Local service error: State error: Unexpected state: StatePair(Ready, Some(Terminated)), "
        "expected StatePair(Ready, Some(Ready))"
    )
    assert client.get(f"{ACTIVITIES}/{activity_id}/state") == {"state": ["Ready", "Terminated"]}
    clock.advance(0.3)
    assert client.get(f"{ACTIVITIES}/{activity_id}/state") == {"state": ["Terminated", None]}
    assert client.say("GET", batch) == unserved(client, activity_id, "GetExecBatchResults")
    assert client.get(f"{MARKET}/agreements/{agreement_id}")["state"] == "Approved"
    client.terminate(agreement_id)
    clock.advance(600)
    assert client.get(f"{PAYMENT}/invoices") == []
    provider.come_back()
    assert client.agree() != agreement_id


def test_its_agent_dies_alone(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    agreement_id, activity_id = client.hire()
    batch = client.execute(activity_id, shell("sleep 20"))
    waiting = Meanwhile(lambda: client.say("GET", batch, timeout=50, commandIndex=0))
    clock.wait_until_waiting(2)
    provider.kill_agent()
    clock.advance(20)
    status, (result,) = waiting.outcome()
    assert (status, result["result"]) == (200, "Ok")
    assert state(client, activity_id) == ["Ready", None]
    clock.advance(600)
    assert client.get(f"{PAYMENT}/debitNotes") == []
    ending = Meanwhile(lambda: client.say("DELETE", f"{ACTIVITIES}/{activity_id}", timeout=9))
    clock.wait_until_waiting()
    clock.advance(9)
    assert ending.outcome() == TIMEOUT
    client.terminate(agreement_id)
    assert state(client, activity_id) == ["Ready", None]
    assert client.get(f"{PAYMENT}/invoices") == []
    provider.come_back()
    assert provider.agreements == provider.activities == []
    assert client.agree() != agreement_id


def test_it_dies_after_a_while(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    provider.dies_after = 10
    _, activity_id = client.hire()
    clock.advance(16)
    assert state(client, activity_id)[0] == "Unresponsive"


def test_it_stops_reporting(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    _, activity_id = client.hire()
    provider.stop_reporting()
    clock.advance(4.9)
    assert state(client, activity_id) == ["Ready", None]
    clock.advance(0.1)
    assert state(client, activity_id) == ["Unresponsive", None]
    assert client.run(activity_id, shell("true"))[0]["result"] == "Ok"
    assert state(client, activity_id)[0] == "Unresponsive"
    provider.report_again()
    assert state(client, activity_id) == ["Ready", None]
    clock.advance(60)
    assert state(client, activity_id) == ["Ready", None]
    provider.stop_reporting()
    clock.advance(10)
    assert state(client, activity_id) == ["Terminated", None]


# --- money ------------------------------------------------------------------------------------------------


def test_debit_notes_come_at_their_interval_and_grow(
    client: Buyer, provider: FakeProvider, clock: HandClock
) -> None:
    provider.debit_note_interval = 10
    provider.cpu_rate = 0.5
    agreement_id, activity_id = client.hire()
    clock.advance(25)
    notes = client.get(f"{PAYMENT}/debitNotes")
    # 0.0001 at once, and for a second 0.0001 and half of 0.0002.
    assert [Decimal(one["totalAmountDue"]) for one in notes] == [Decimal("0.0021"), Decimal("0.0041")]
    assert notes[0]["usageCounterVector"] == [10, 5]
    client.terminate(agreement_id)
    assert client.invoice(agreement_id)["amount"] == client.get(f"{PAYMENT}/debitNotes")[-1]["totalAmountDue"]
    clock.advance(100)
    assert len(client.get(f"{PAYMENT}/debitNotes")) == 3
    assert Decimal(client.invoice(agreement_id)["amount"]) == Decimal("0.0051")
    assert state(client, activity_id) == ["Terminated", None]


def test_it_overcharges(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    provider.overcharge = Decimal(3)
    agreement_id, _ = client.hire()
    clock.advance(9)
    provider.send_debit_note()
    (note,) = client.get(f"{PAYMENT}/debitNotes")
    assert Decimal(note["totalAmountDue"]) == Decimal("0.003")
    client.terminate(agreement_id)
    assert Decimal(client.invoice(agreement_id)["amount"]) == Decimal("0.003")


def test_its_invoice_is_late_or_never_comes(client: Buyer, provider: FakeProvider, clock: HandClock) -> None:
    provider.invoice_after = 60
    agreement_id, _ = client.hire()
    client.terminate(agreement_id)
    clock.advance(59)
    assert client.get(f"{PAYMENT}/invoices") == []
    clock.advance(1)
    assert client.invoice(agreement_id)
    provider.sends_invoice = provider.sends_notes = False
    other, _ = client.hire()
    client.terminate(other)
    clock.advance(1000)
    assert [one["agreementId"] for one in client.get(f"{PAYMENT}/invoices")] == [agreement_id]
    assert other not in [one["agreementId"] for one in client.get(f"{PAYMENT}/debitNotes")]


def test_accepted_invoices_are_paid(client: Buyer, yagna: FakeYagna) -> None:
    agreement_id, _ = client.hire()
    client.terminate(agreement_id)
    client.close()
    path = f"{PAYMENT}/invoices/{client.invoice(agreement_id)['invoiceId']}"
    assert client.get(path)["status"] == "ACCEPTED"
    yagna.settle()
    assert client.get(path)["status"] == "SETTLED"
    (payment,) = client.get(f"{PAYMENT}/payments", timeout=0)
    assert client.get(f"{path}/payments") == [payment]
    assert payment["amount"] == payment["agreementPayments"][0]["amount"] == client.get(path)["amount"]
    assert (payment["payeeId"], payment["activityPayments"]) == (client.providers[HONEST], [])
    yagna.settle()
    assert client.get(f"{PAYMENT}/payments", timeout=0) == [payment]


def test_funds_are_looked_at_where_there_are_some(provider: FakeProvider, clock: HandClock) -> None:
    yagna = FakeYagna([provider], clock=clock, funds=Decimal(10))
    answers = [yagna.answer(_allocation(yagna, amount)) for amount in ("6", "5", "4")]
    yagna.close()
    assert [answer.status for answer in answers] == [201, 400, 201]
    assert b'"requestedFunds":"5","availableFunds":"10","reservedFunds":"6"' in answers[1].body


def _allocation(yagna: FakeYagna, amount: str) -> FakeRequest:
    body = f'{{"totalAmount": "{amount}", "paymentPlatform": "erc20-hoodi-tglm"}}'
    headers = {"authorization": f"Bearer {yagna.app_key}", "content-type": "application/json"}
    return FakeRequest("POST", f"{PAYMENT}/allocations", headers, body.encode())
