"""Activities: their creation, their batches, their results, their end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .buyer import (
    ACTIVITY,
    NEVER_APPROVES,
    NEVER_CREATES,
    NEVER_DESTROYS,
    NO_ACTIVITY,
    NO_AGREEMENT,
    NO_JSON,
    REASON,
    REFUSES_ACTIVITIES,
    STREAM,
    Buyer,
    shell,
)

ACTIVITIES = f"{ACTIVITY}/activity"
RESULT_KEYS = {"index", "result", "stdout", "stderr", "message", "isBatchFinished", "eventDate"}
TIMEOUT = (408, "Timeout")
STATE_ERROR = "Local service error: State error:"


def outcome(results: Any) -> list[tuple[Any, ...]]:
    """What the tests compare of results."""
    assert all(result.keys() == RESULT_KEYS for result in results)
    names = ("index", "result", "stdout", "stderr", "message", "isBatchFinished")
    return [tuple(result[name] for name in names) for result in results]


def unserved(buyer: Buyer, activity_id: str, message: str, kind: str = "honest") -> tuple[int, str]:
    address = f"/net/{buyer.providers[kind]}/exeunit/{activity_id}/{message}"
    return 500, (
        f"GSB error: Remote service at `{address}` error: GSB failure: Bad request: "
        "endpoint address not found"
    )


class ActivityContract:
    def test_an_activity_from_its_creation_to_its_end(self, buyer: Buyer) -> None:
        agreement_id = buyer.agree()
        listed = {"agreementId": agreement_id}
        assert buyer.get(ACTIVITIES, **listed) == []
        activity_id = buyer.create(agreement_id)
        path = f"{ACTIVITIES}/{activity_id}"
        assert len(activity_id) == 32
        assert buyer.get(ACTIVITIES, **listed) == [activity_id]
        assert buyer.get(f"{path}/agreement") == agreement_id
        assert buyer.get(f"{path}/state") == {"state": ["Initialized", None]}
        buyer.run(activity_id, {"deploy": {}})
        assert buyer.state(activity_id, "Deployed") == ["Deployed", None]
        buyer.run(activity_id, {"start": {}})
        assert buyer.state(activity_id, "Ready") == ["Ready", None]
        usage = buyer.usage(activity_id)
        assert usage.keys() == {"currentUsage", "timestamp"}
        assert len(usage["currentUsage"]) == 2

        batch = buyer.execute(activity_id, shell("sleep 0"))
        buyer.get(batch, timeout=5)
        assert buyer.say("DELETE", path, timeout=10) == (200, None)
        assert buyer.say("DELETE", path, timeout=10) == (200, None)
        assert buyer.get(f"{path}/state") == {"state": ["Terminated", None]}
        assert buyer.get(f"{path}/usage").keys() == {"currentUsage", "timestamp"}
        text = {"text": json.dumps([{"deploy": {}}])}
        assert buyer.say("POST", f"{path}/exec", text) == unserved(buyer, activity_id, "Exec")
        assert buyer.say("GET", batch, timeout=1) == unserved(buyer, activity_id, "GetExecBatchResults")
        assert buyer.get(ACTIVITIES, **listed) == [activity_id]
        buyer.terminate(agreement_id)
        refusal = f"Bad request: Agreement {agreement_id} is not Approved. Current state: Terminated"
        assert buyer.say("POST", ACTIVITIES, agreement_id, timeout=2) == (400, refusal)

    def test_an_activity_ends_with_its_agreement(self, buyer: Buyer) -> None:
        agreement_id, activity_id = buyer.hire()
        buyer.terminate(agreement_id)
        assert buyer.invoice(agreement_id)["activityIds"] == [activity_id]
        assert buyer.get(f"{ACTIVITIES}/{activity_id}/state") == {"state": ["Terminated", None]}

    def test_an_object_is_answered_with_an_object(self, buyer: Buyer) -> None:
        agreement_id = buyer.agree()
        status, created = buyer.say("POST", ACTIVITIES, {"agreementId": agreement_id}, timeout=10)
        assert (status, created.keys()) == (200, {"activityId"})

    def test_a_provider_that_creates_none(self, buyer: Buyer) -> None:
        agreement_id = buyer.agree(NEVER_CREATES)
        assert buyer.say("POST", ACTIVITIES, agreement_id, timeout=0.2) == TIMEOUT
        assert buyer.get(ACTIVITIES, agreementId=agreement_id) == []

    def test_a_provider_that_refuses(self, buyer: Buyer) -> None:
        agreement_id = buyer.agree(REFUSES_ACTIVITIES)
        status, text = buyer.say("POST", ACTIVITIES, agreement_id, timeout=10)
        assert status == 500
        assert text.startswith("Service error: Activity ")
        end = f"was abruptly terminated. Reason: <unspecified>, message: {REASON}"
        assert text.endswith(end)
        assert buyer.get(ACTIVITIES, agreementId=agreement_id) == []

    def test_a_provider_that_destroys_none(self, buyer: Buyer) -> None:
        agreement_id = buyer.agree(NEVER_DESTROYS)
        path = f"{ACTIVITIES}/{buyer.create(agreement_id)}"
        assert buyer.say("DELETE", path, timeout=0.2) == TIMEOUT
        assert buyer.get(f"{path}/state") == {"state": ["Initialized", None]}

    def test_no_activity_without_an_agreement(self, buyer: Buyer) -> None:
        pending = buyer.confirm(NEVER_APPROVES)
        for body, status, text in (
            (NO_AGREEMENT, 404, f"Not found: {NO_AGREEMENT}"),
            (pending, 400, f"Bad request: Agreement {pending} is not Approved. Current state: Pending"),
            (
                {},
                400,
                "Json deserialize error: data did not match any variant of untagged enum CreateActivityJson",
            ),
        ):
            assert buyer.say("POST", ACTIVITIES, body, timeout=1) == (status, text)
        not_found = (404, f"Not found: {NO_AGREEMENT}")
        assert buyer.say("GET", ACTIVITIES, agreementId=NO_AGREEMENT) == not_found
        text = "Service error: Id [xyz] contains non hexadecimal characters."
        assert buyer.say("GET", ACTIVITIES, agreementId="xyz") == (500, text)
        text = "Query deserialize error: missing field `agreementId`"
        assert buyer.say("GET", ACTIVITIES) == (400, text)
        made = buyer.propose()
        assert buyer.say("POST", ACTIVITIES, made, timeout=1) == (404, f"Not found: {made}")

    @pytest.mark.parametrize(
        ("method", "end", "body"),
        [
            ("GET", "/state", NO_JSON),
            ("GET", "/usage", NO_JSON),
            ("GET", "/agreement", NO_JSON),
            ("GET", f"/exec/{NO_ACTIVITY}", NO_JSON),
            ("POST", "/exec", {"text": "[]"}),
            ("DELETE", "", NO_JSON),
        ],
    )
    def test_one_that_never_was_is_not_found(self, buyer: Buyer, method: str, end: str, body: Any) -> None:
        text = f"DAO error: Not found: agreement id for activity: {NO_ACTIVITY}"
        assert buyer.say(method, f"{ACTIVITIES}/{NO_ACTIVITY}{end}", body, timeout=2) == (500, text)


class BatchContract:
    def test_results_with_and_without_an_index(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        as_bytes = {"stdout": {"atEnd": {"format": "bin"}}}
        commands = (
            shell("echo both; echo ways >&2"),
            shell("echo b", as_bytes),
            shell("true"),
            shell("true", {}),
        )
        batch = buyer.execute(activity_id, *commands)
        first = (0, "Ok", "both\n", "ways\n", None)
        second = (1, "Ok", [98, 10], None, None)
        nothing = [(index, "Ok", None, None, None) for index in range(4)]
        assert outcome(buyer.get(batch, timeout=10)) == [
            (*first, False),
            (*second, False),
            (*nothing[2], False),
            (*nothing[3], True),
        ]
        assert outcome(buyer.get(batch, timeout=10, commandIndex=0)) == [(*first, True)]
        assert outcome(buyer.get(batch, timeout=10, commandIndex=1)) == [
            (*nothing[0], False),
            (*second, True),
        ]
        assert buyer.say("GET", batch, timeout=0.2, commandIndex=9) == TIMEOUT
        assert buyer.get(batch) == buyer.get(batch, timeout=10)

    def test_requests_that_time_out(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        batch = buyer.execute(activity_id, shell("sleep 0.3"))
        # It may have ended, if the machine is slow. In no case does the request disturb it.
        assert buyer.say("GET", batch, timeout=0.05, commandIndex=0)[0] in (TIMEOUT[0], 200)
        assert outcome(buyer.get(batch, timeout=10)) == [(0, "Ok", None, None, None, True)]
        batch = buyer.execute(activity_id, shell("sleep 20"))
        buyer.wait_until_busy(activity_id)
        assert buyer.say("GET", batch, timeout=0.1, commandIndex=0) == TIMEOUT
        assert buyer.get(batch, timeout=0.1) == []
        assert buyer.get(batch) == []
        other = buyer.execute(activity_id, shell("true"))
        busy = f"{STATE_ERROR} Busy: StatePair(Ready, Some(Ready))"
        assert outcome(buyer.get(other, timeout=10)) == [(0, "Error", None, None, busy, True)]

    def test_the_first_failure_ends_a_batch(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        batch = buyer.execute(activity_id, shell("exit 3"), shell("true"))
        message = "ExeScript command exited with code 3"
        failed = [(0, "Error", None, None, message, True)]
        assert outcome(buyer.get(batch, timeout=5, commandIndex=0)) == failed
        # A caller that waits for what comes after it does not hear of it.
        assert buyer.say("GET", batch, timeout=0.1, commandIndex=1) == TIMEOUT
        assert outcome(buyer.get(batch, timeout=0.1)) == failed
        assert outcome(buyer.run(activity_id, shell("true")))[0][1] == "Ok"

    def test_an_empty_batch_never_reports_its_end(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        batch = buyer.execute(activity_id)
        assert buyer.get(batch, timeout=0.1) == []
        assert buyer.get(batch, timeout=0.1, commandIndex=0) == []

    def test_commands_out_of_their_order(self, buyer: Buyer) -> None:
        agreement_id = buyer.agree()
        activity_id = buyer.create(agreement_id)
        for ready, command, text in (
            ([], shell("true"), "Activity is initialized - deploy() command is expected now"),
            (
                [{"deploy": {}}],
                shell("true"),
                "Activity is deployed - start() command is expected now",
            ),
            ([{"start": {}}], {"deploy": {}}, "Cannot send command after a successful start()"),
        ):
            if ready:
                buyer.run(activity_id, *ready)
            results = buyer.get(buyer.execute(activity_id, command), timeout=5)
            assert outcome(results) == [(0, "Error", None, None, f"{STATE_ERROR} {text}", True)]

    def test_terminate_stops_what_runs_and_begins_anew(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        batch = buyer.execute(activity_id, shell("sleep 20"))
        buyer.wait_until_busy(activity_id)
        state = f"{ACTIVITIES}/{activity_id}/state"
        assert outcome(buyer.run(activity_id, {"terminate": {}})) == [(0, "Ok", None, None, None, True)]
        (stopped,) = buyer.get(batch, timeout=10)
        assert (stopped["result"], stopped["isBatchFinished"]) == ("Error", True)
        assert buyer.get(state) == {"state": ["Initialized", None]}
        assert [one["result"] for one in buyer.run(activity_id, {"deploy": {}}, {"start": {}})] == ["Ok"] * 2

    def test_a_command_is_ended_with_its_activity(self, buyer: Buyer) -> None:
        agreement_id, activity_id = buyer.hire()
        batch = buyer.execute(activity_id, shell("sleep 20"))
        assert buyer.get(batch, timeout=0.1) == []
        buyer.terminate(agreement_id)
        assert buyer.invoice(agreement_id)["activityIds"] == [activity_id]
        assert buyer.say("GET", batch, timeout=1) == unserved(buyer, activity_id, "GetExecBatchResults")

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("nonsense", "expected"),
            ('{"deploy": {}}', "invalid type: map, expected a sequence"),
            ('[{"none": {}}]', "unknown variant `none`, expected one of `sign`, `deploy`, `start`, `run`"),
            ('["deploy"]', "invalid type: unit variant, expected struct variant"),
            ('[{"run": {}}]', "missing field `entry_point`"),
            ('[{"transfer": {"to": "x"}}]', "missing field `from`"),
        ],
    )
    def test_a_script_that_is_none_is_refused(self, buyer: Buyer, text: str, what: str) -> None:
        agreement_id = buyer.agree()
        path = f"{ACTIVITIES}/{buyer.create(agreement_id)}/exec"
        status, refusal = buyer.say("POST", path, {"text": text}, timeout=2)
        assert status == 400
        assert refusal.startswith(f'Bad request: Error("{what}')
        missing = "Json deserialize error: missing field `text` at line 1 column 2"
        assert buyer.say("POST", path, {}, timeout=2) == (400, missing)
        unknown = (404, f"Not found: batch_id = {NO_ACTIVITY}")
        assert buyer.say("GET", f"{path}/{NO_ACTIVITY}", timeout=1) == unknown


class StreamContract:
    def test_events_are_told_as_they_happen(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        script = "sleep 0.5; echo one; echo two >&2; exit 4"
        # So long the stream may take to be opened; a fake daemon goes on as soon as it is.
        batch = buyer.execute(activity_id, shell("sleep 2 || true", STREAM), shell(script, STREAM))
        headers = {"Accept": "text/event-stream"}
        events: list[dict[str, Any]] = []
        with buyer.session.get(buyer.url + batch, headers=headers, stream=True, timeout=10) as answer:
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "text/event-stream"
            for number, frame in enumerate(frames(answer)):
                assert frame.startswith("event: runtime\ndata: {")
                assert frame.endswith(f"\nid: {number}")
                events.append(json.loads(frame.splitlines()[1].removeprefix("data: ")))
                if "finished" in events[-1]["kind"] and events[-1]["index"] == 1:
                    break
        assert all(event.keys() == {"batch_id", "index", "timestamp", "kind"} for event in events)
        assert {event["batch_id"] for event in events} == {batch.rpartition("/")[2]}
        message = "ExeScript command exited with code 4"
        pause = [event["kind"] for event in events if event["index"] == 0]
        assert pause[-1] == {"finished": {"return_code": 0, "message": None}}
        begun, *told, ended = (event["kind"] for event in events if event["index"] == 1)
        assert begun == {"started": {"command": shell(script, STREAM)}}
        assert sorted(told, key=str) == [{"stderr": "two\n"}, {"stdout": "one\n"}]
        assert ended == {"finished": {"return_code": 4, "message": message}}

    def test_an_activity_that_is_none_has_no_events(self, buyer: Buyer) -> None:
        path = f"{ACTIVITIES}/{NO_ACTIVITY}/exec/{NO_ACTIVITY}"
        answer = buyer.ask("GET", path, headers={"Accept": "text/event-stream"})
        text = f"DAO error: Not found: agreement id for activity: {NO_ACTIVITY}"
        assert (answer.status_code, answer.json()) == (500, {"message": text})


def frames(answer: Any) -> Any:
    """The events of a stream, without their blank lines."""
    told = ""
    for piece in answer.iter_content(None):
        told += piece.decode()
        *ended, told = told.split("\n\n")
        yield from ended
