"""The activity API: what is asked, and what each status means."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import requests
import responses
from responses import matchers

from simple_golem.background.cancellation import Scope
from simple_golem.errors import YagnaError
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import ActivityStatus
from tests.unit.yagna.conftest import API

ACTIVITY = f"{API}/activity-api/v1/activity"


def test_an_activity_is_created_of_an_agreement(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.post(ACTIVITY, json="act1", match=[matchers.query_param_matcher({"timeout": "30.0"})], status=201)
    assert yagna.activity.create("a1", timeout=30.0) == "act1"
    assert daemon.calls[0].request.body == '"a1"'


@pytest.mark.parametrize("status", [200, 404])
def test_an_activity_that_is_gone_is_destroyed(
    daemon: responses.RequestsMock, yagna: Yagna, status: int
) -> None:
    daemon.delete(f"{ACTIVITY}/act1", status=status)
    yagna.activity.destroy("act1", timeout=5.0)
    assert len(daemon.calls) == 1


def test_a_batch_is_sent_as_text_in_json(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.post(f"{ACTIVITY}/act1/exec", json="b1")
    script: list[dict[str, object]] = [{"deploy": {}}, {"start": {"args": []}}]
    assert yagna.activity.execute("act1", script) == "b1"
    body = daemon.calls[0].request.body
    assert body is not None
    assert json.loads(json.loads(body)["text"]) == script


def test_results_are_asked_for_by_index(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(
        f"{ACTIVITY}/act1/exec/b1",
        json=[{"index": 0}, {"index": 1}],
        match=[matchers.query_param_matcher({"timeout": "5.0", "commandIndex": "1"})],
    )
    answer = yagna.activity.results("act1", "b1", command_index=1, timeout=5.0)
    assert answer == [{"index": 0}, {"index": 1}]


def test_results_that_take_longer_are_none(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{ACTIVITY}/act1/exec/b1", json={"message": "timeout"}, status=408)
    assert yagna.activity.results("act1", "b1", command_index=0, timeout=5.0) is None
    assert len(daemon.calls) == 1


def test_results_of_an_unknown_batch_are_an_error(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{ACTIVITY}/act1/exec/b1", json={"message": "no batch"}, status=404)
    with pytest.raises(YagnaError, match="no batch"):
        yagna.activity.results("act1", "b1", timeout=5.0)


@pytest.mark.parametrize(
    ("pair", "alive"),
    [
        (["Ready", None], True),
        (["Deployed", "Ready"], True),
        (["Terminated", None], False),
        (["Ready", "Terminated"], False),
    ],
)
def test_a_state_is_now_and_next(
    daemon: responses.RequestsMock, yagna: Yagna, pair: list[str | None], alive: bool
) -> None:
    daemon.get(f"{ACTIVITY}/act1/state", json={"state": pair, "reason": None, "errorMessage": "why"})
    state = yagna.activity.state("act1")
    assert state == ActivityStatus(pair[0] or "", pair[1], "", "why")
    assert state.alive is alive


def test_usage_is_read(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{ACTIVITY}/act1/usage", json={"currentUsage": [12.0, 0.5]})
    assert yagna.activity.usage("act1") == (12.0, 0.5)


def test_usage_may_be_unknown_yet(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(f"{ACTIVITY}/act1/usage", json={"currentUsage": None})
    assert yagna.activity.usage("act1") == ()


def test_activities_are_found_by_their_agreement(daemon: responses.RequestsMock, yagna: Yagna) -> None:
    daemon.get(ACTIVITY, json=["act1"], match=[matchers.query_param_matcher({"agreementId": "a1"})])
    assert yagna.activity.of_agreement("a1") == ["act1"]


@pytest.mark.parametrize(("listed", "found"), [([[], ["act1"]], "act1"), ([[]], None)])
def test_an_activity_whose_answer_was_lost_is_looked_up(
    daemon: responses.RequestsMock,
    yagna: Yagna,
    monkeypatch: pytest.MonkeyPatch,
    listed: list[list[str]],
    found: str | None,
) -> None:
    now = 0.0

    class Passing(Scope):
        """Its pauses are over at once, and no other time passes."""

        def wait(self, seconds: float | None = None) -> bool:
            nonlocal now
            now += seconds or 0.0
            return False

    monkeypatch.setattr("tenacity.time", SimpleNamespace(monotonic=lambda: now))
    daemon.post(ACTIVITY, body=requests.exceptions.ConnectionError("reset"))
    for ids in listed:
        daemon.get(ACTIVITY, json=ids, match=[matchers.query_param_matcher({"agreementId": "a1"})])
    if found is not None:
        assert yagna.activity.create("a1", timeout=30.0, scope=Passing()) == found
        return
    with pytest.raises(YagnaError, match="reset"):
        yagna.activity.create("a1", timeout=30.0, scope=Passing())
    assert len(daemon.calls) > 2
    assert now >= 1.0
