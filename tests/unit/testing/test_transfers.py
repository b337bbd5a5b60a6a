"""Transfers of a fake exe-unit that do not come to their end."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from simple_golem.testing import FakeProvider, FakeYagna, HandClock
from tests.contract.buyer import HONEST, Buyer
from tests.contract.files import FAILED, SERVICES, PublishedFile, id_of

from .conftest import Meanwhile

TO_CONTAINER = "container:/golem/input/x"


@pytest.fixture
def served(yagna: FakeYagna) -> Buyer:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {yagna.app_key}"
    return Buyer(session, yagna.serve(), {HONEST: yagna.provider.node_id})


def transfer(source: str, target: str = TO_CONTAINER) -> dict[str, Any]:
    return {"transfer": {"from": source, "to": target}}


def test_a_file_that_nobody_publishes_is_tried_three_times(client: Buyer, clock: HandClock) -> None:
    _, activity_id = client.hire()
    batch = client.execute(activity_id, transfer("gftp://0x12/none"))
    for seconds in (2, 4):
        clock.wait_until_waiting()
        assert client.get(batch) == []
        clock.advance(seconds)
    result = Meanwhile(lambda: client.get(batch, timeout=60, commandIndex=0)[0]["message"])
    assert result.outcome() == f"{FAILED} GSB error: endpoint address not found: /public/gftp/none"


def test_a_service_that_is_withdrawn_fails_who_calls_it(client: Buyer, clock: HandClock) -> None:
    _, activity_id = client.hire()
    listen = {"on": "/public/gftp/mute", "components": ["GetMetadata"]}
    client.say("POST", SERVICES, {"listen": listen})
    client.execute(activity_id, transfer("gftp://0x12/mute"))
    clock.wait_until_waiting()
    client.say("DELETE", f"{SERVICES}/{id_of('/public/gftp/mute')}")
    # It is in its pause before the second try.
    clock.wait_until_waiting()
    assert client.get(f"/activity-api/v1/activity/{activity_id}/state")["state"] == ["Ready", "Ready"]


def test_a_transfer_ends_with_its_activity(client: Buyer, clock: HandClock, provider: FakeProvider) -> None:
    agreement_id, activity_id = client.hire()
    batch = client.execute(activity_id, transfer("gftp://0x12/none"))
    clock.wait_until_waiting()
    waiting = Meanwhile(lambda: client.get(batch, timeout=60, commandIndex=0)[0]["result"])
    clock.wait_until_waiting(2)
    client.terminate(agreement_id)
    assert waiting.outcome() == "Error"


def test_a_call_that_is_not_answered_for_a_minute_fails(client: Buyer, clock: HandClock) -> None:
    _, activity_id = client.hire()
    client.say("POST", SERVICES, {"listen": {"on": "/public/gftp/mute", "components": []}})
    batch = client.execute(activity_id, transfer("gftp://0x12/mute"))
    for seconds in (60, 2, 60, 4, 60):
        clock.wait_until_waiting()
        clock.advance(seconds)
    result = Meanwhile(lambda: client.get(batch, timeout=600, commandIndex=0)[0]["message"])
    assert result.outcome() == f"{FAILED} GSB error: timeout"


def test_a_file_goes_to_a_scheme_that_nobody_knows(client: Buyer, provider: FakeProvider) -> None:
    _, activity_id = client.hire()
    provider.files["/golem/x"] = b"content"
    for command, message in (
        (transfer("container:/golem/x", "ftp://host/x"), "Unsupported scheme: ftp"),
        (transfer("ftp://host/x"), "Unsupported scheme: ftp"),
    ):
        batch = client.execute(activity_id, command)
        assert client.get(batch, timeout=60)[0]["message"] == f"{FAILED} {message}"
    assert client.run(activity_id, transfer("https://host/x"))[0]["result"] == "Ok"
    assert provider.files["/golem/input/x"] == b""
    provider.transfer_error = "no network today"
    batch = client.execute(activity_id, transfer("https://host/x"))
    assert client.get(batch, timeout=60)[0]["message"] == "no network today"


def test_progress_is_told_where_it_is_asked_for(served: Buyer, clock: HandClock) -> None:
    _, activity_id = served.hire()
    pause = {"run": {"entry_point": "/bin/sh", "args": ["-c", "sleep 1 || true"]}}
    with PublishedFile(served, b"x" * 50_000) as source:
        command = transfer(source.url)
        command["transfer"]["progress"] = {}
        batch = served.execute(activity_id, pause, command)
        headers = {"Accept": "text/event-stream"}
        with served.session.get(served.url + batch, headers=headers, stream=True, timeout=10) as answer:
            told = b""
            for piece in answer.iter_content(None):
                told += piece
                if told.count(b"finished") == 2:
                    break
    assert b'"progress":[40960,50000]' in told
    assert b'"progress":[50000,50000]' in told
    served.session.close()
