"""Instances that outlive their session, and are taken up again by another one."""

from __future__ import annotations

import dataclasses
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Golem, Run, SuspendedInstance, Terms
from simple_golem.engine.payment.session_journals import SessionJournals
from simple_golem.errors import ActivityLost, BadInstanceCount, NotRunning, WaitTimeout
from simple_golem.testing import FakeAnswer, FakeRequest, FakeYagna
from tests.helpers.recorded_services import (
    SECONDS,
    Idle,
    InThread,
    begun,
    calls,
    gate_of,
    programs,
    started,
    states,
)
from tests.unit.conftest import eventually


class Counter(Idle):
    run_interval = 600

    def run(self) -> Any:
        self.calls.append("run")
        return Run("/bin/count")


def kinds(fake: FakeYagna) -> list[str]:
    return sorted(what.split()[0] for what in fake.leftovers())


def first_look(fake: FakeYagna, suspended: SuspendedInstance) -> threading.Event:
    """Set when the daemon has told the clean-up of a session that what is suspended goes on."""
    path, looked, own = f"/agreements/{suspended.agreement_id}", threading.Event(), threading.local()

    def answer(request: FakeRequest) -> FakeAnswer | None:
        if getattr(own, "asks", False) or request.method != "GET" or not request.path.endswith(path):
            return None
        own.asks = True
        answer = fake.answer(request)
        own.asks = False
        looked.set()
        return answer

    fake.intercept(answer)
    return looked


def end_it_after(looked: threading.Event, fake: FakeYagna) -> None:
    """A session looks, when it is opened, whether what is suspended has ended: that is another test."""
    assert looked.wait(SECONDS)
    next(one for one in fake.providers if one.agreements).terminate_agreement()


def test_a_later_session_goes_on_with_the_same_activities(fake: FakeYagna) -> None:
    with Golem(1) as first:
        cluster = first.run_service(Counter, num_instances=2)
        cluster.wait_until_running(SECONDS)
        eventually(lambda: [calls(one) for one in cluster] == [["start", "run"]] * 2)
        suspended = cluster.suspend()
        assert [one.state.value for one in cluster] == ["suspended", "suspended"]
    assert kinds(fake) == ["activity", "activity", "agreement", "agreement", "allocation"]
    assert [calls(one) for one in cluster] == [["start", "run"]] * 2
    with Golem(1) as second:
        kept = [type(one)(**dataclasses.asdict(one)) for one in suspended]
        again = second.resume_service(Counter, kept)
        again.wait_until_running(SECONDS)
        assert {one.activity_id for one in again} == {one.activity_id for one in suspended}
        assert {one.provider_id for one in again} == {one.provider_id for one in cluster}
        assert all(again.execute(Run("/bin/ask")).values())
        eventually(lambda: [calls(one) for one in again] == [["run"]] * 2)
        again.stop()
    assert [calls(one) for one in again] == [["run", "shutdown"]] * 2
    assert second.cost.amount > 0
    assert [one.is_invoiced for one in second.cost_report.entries] == [True, True]


def test_an_instance_can_be_resumed_in_the_session_that_suspended_it_once(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem, Counter)
        suspended = instance.suspend(SECONDS)
        assert instance.suspended == suspended
        assert suspended.name == "Counter-1"
        assert states(instance) == ["pending", "starting", "running", "suspended"]
        with pytest.raises(NotRunning, match="suspended"):
            instance.execute(Run("/bin/true"))
        (resumed,) = golem.resume_service(Counter, [suspended]).wait_until_running(SECONDS)
        for again in ([suspended], [suspended, suspended]):
            with pytest.raises(NotRunning, match="resumed"):
                golem.resume_service(Counter, again)
        assert len(golem.clusters) == 2
        assert resumed.execute(Run("/bin/true")).success
    assert golem.cost.amount > 0


def test_only_what_runs_can_be_suspended_and_the_others_are_stopped(fake: FakeYagna) -> None:
    # The second instance must not wait 15 seconds for an approval while the third provider is free.
    fake.providers[0].proposals = "no"
    fake.providers[1].proposals = "no"
    with Golem(1) as golem:
        cluster = golem.run_service(Counter, num_instances=2)
        cluster.wait_until_running(SECONDS, count=1)
        waiting = next(one for one in cluster if one.state == "pending")
        with pytest.raises(NotRunning, match="only a running instance can be suspended"):
            waiting.suspend()
        (suspended,) = cluster.suspend()
        assert sorted(one.state.value for one in cluster) == ["suspended", "terminated"]
        with pytest.raises(NotRunning, match="has been stopped"):
            cluster.spawn()
        golem.resume_service(Counter, [suspended]).wait_until_running(SECONDS)


def test_a_batch_under_way_may_end_before_it_is_suspended(fake: FakeYagna) -> None:
    gate = gate_of(fake)
    with Golem(1) as golem:
        instance = started(golem)
        asked = InThread(instance.execute, Run("/bin/gate"))
        assert gate.reached.wait(SECONDS)
        with pytest.raises(WaitTimeout, match=r"still after 0\.05 s of suspending"):
            instance.suspend(0.05)
        with pytest.raises(WaitTimeout, match=r"not all instances were suspended after 0\.05 s"):
            golem.clusters[0].suspend(0.05)
        gate.open()
        instance.wait_for("suspended", SECONDS)
        assert asked.join().error is None
        assert instance.suspended is not None
        golem.resume_service(Idle, [instance.suspended]).wait_until_running(SECONDS)


def test_a_command_that_still_runs_is_told_when_it_is_suspended(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    gate = gate_of(fake)
    with Golem(1, stop_grace=0.05) as golem:
        instance = started(golem)
        asked = InThread(instance.execute, Run("/bin/gate"))
        assert gate.reached.wait(SECONDS)
        suspended = instance.suspend(SECONDS)
        assert asked.join().error is not None
        gate.open()
        golem.resume_service(Idle, [suspended]).wait_until_running(SECONDS)
    assert "is suspended while a command of it still runs" in caplog.text


@pytest.mark.parametrize("nonsense", [[], ["an id"], [dataclasses.replace]])
def test_only_what_was_suspended_can_be_resumed(fake: FakeYagna, nonsense: Any) -> None:
    with Golem(1) as golem:
        with pytest.raises(BadInstanceCount, match=r"what cluster\.suspend\(\) returned"):
            golem.resume_service(Counter, nonsense)
        assert golem.clusters == ()


@pytest.mark.parametrize("has_looked", [False, True], ids=["before it looks", "when it has looked"])
def test_what_has_ended_is_lost_whether_the_clean_up_has_found_it_or_not(
    losing: FakeYagna, has_looked: bool
) -> None:
    with Golem(1) as golem:
        suspended = started(golem, Counter).suspend(SECONDS)
    next(one for one in losing.providers if one.agreements).terminate_agreement()
    with Golem(1, raise_failures=False) as golem:
        if has_looked:
            # It pays the invoice after it has noted the end of the agreement.
            losing.wait_for(
                lambda: any(
                    one.method == "POST" and "/invoices/" in one.path and one.path.endswith("/accept")
                    for one in losing.requests
                )
            )
        cluster = golem.resume_service(Counter, [suspended])
        assert cluster.wait(SECONDS)
    (instance,) = cluster
    assert type(instance.failure) is ActivityLost
    assert "has ended while Counter-1 was suspended" in str(instance.failure)


def test_resuming_an_instance_that_has_ended_says_so(
    losing: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    with Golem(1) as golem:
        suspended = started(golem, Counter).suspend(SECONDS)
    looked = first_look(losing, suspended)
    with Golem(1, raise_failures=False) as golem:
        end_it_after(looked, losing)
        cluster = golem.resume_service(Counter, [suspended])
        assert cluster.wait(SECONDS)
    (instance,) = cluster
    assert isinstance(instance.failure, ActivityLost)
    assert re.match(
        r"the agreement with prov-\d \(.*\) has ended while Counter-1 was suspended", str(instance.failure)
    )
    assert "with resume_service(…, respawn_running=True) it would be started again" in caplog.text
    assert calls(instance) == []


def test_what_another_session_has_paid_is_not_waited_for_though_the_events_come_late(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
    with Golem(1) as golem:
        suspended = started(golem, Counter).suspend(SECONDS)
    with Golem(1) as golem:
        golem.resume_service(Counter, [suspended]).wait_until_running(SECONDS)
    may_come = threading.Event()

    def late(request: FakeRequest) -> None:
        if request.path.endswith("/invoiceEvents"):
            may_come.wait(SECONDS)

    fake.intercept(late)
    try:
        with Golem(1, raise_failures=False) as golem:
            (instance,) = cluster = golem.resume_service(Counter, [suspended])
            assert cluster.wait(SECONDS)
    finally:
        may_come.set()
    assert isinstance(instance.failure, ActivityLost)
    assert "no invoice" not in caplog.text
    # No later session asks for it.
    assert list(tmp_path.glob("*.jsonl")) == []


def test_a_suspended_instance_that_has_ended_starts_again_if_that_was_asked_for(losing: FakeYagna) -> None:
    with Golem(1) as golem:
        suspended = started(golem, Counter).suspend(SECONDS)
    looked = first_look(losing, suspended)
    with Golem(1) as golem:
        end_it_after(looked, losing)
        (instance,) = golem.resume_service(Counter, [suspended], respawn_running=True)
        instance.wait_for("running", SECONDS)
        assert instance.activity_id != suspended.activity_id
        eventually(lambda: calls(instance) == ["start", "run"])
        instance.stop()
        assert calls(instance) == ["start", "run", "shutdown"]


def test_a_stop_that_comes_before_it_is_resumed_leaves_nothing_alive(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        suspended = started(golem, Counter).suspend(SECONDS)
    with Golem(1) as golem:
        golem.resume_service(Counter, [suspended]).stop()


def test_a_service_can_not_suspend_itself(fake: FakeYagna) -> None:
    class Tired(Idle):
        def run(self) -> Any:
            (cluster,) = golem.clusters
            for call in (cluster.suspend, cluster.instances[0].suspend):
                with pytest.raises(NotRunning, match="call it from your script"):
                    call()

    with Golem(1) as golem:
        cluster, instance = begun(golem, Tired)
        assert cluster.wait(SECONDS)
    assert instance.failure is None


def test_a_journal_that_is_not_there_any_more_does_not_keep_it_from_being_resumed(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    with Golem(1) as golem:
        suspended = started(golem, Counter).suspend(SECONDS)
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
    with Golem(1) as golem:
        (instance,) = golem.resume_service(Counter, [suspended]).wait_until_running(SECONDS)
        assert instance.activity_id == suspended.activity_id
        provider = next(one for one in fake.providers if one.commands)
        eventually(lambda: "/bin/count" in programs(provider))
    assert golem.cost.amount > 0


def test_a_journal_that_can_not_be_written_does_not_keep_it_from_being_resumed(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
    with Golem(1) as golem:
        suspended = started(golem, Counter).suspend(SECONDS)
    (lock,) = tmp_path.glob("*.lock")
    lock.unlink()
    # As in a folder that is read-only, also for a user who may do everything.
    lock.mkdir()
    with Golem(1) as golem:
        (instance,) = golem.resume_service(Counter, [suspended]).wait_until_running(SECONDS)
        assert instance.activity_id == suspended.activity_id
    assert f"the journal {lock.with_suffix('.jsonl')} can't be written" in caplog.text
    assert kinds(fake) == ["allocation"]
    lock.rmdir()
    with Golem(1):
        fake.wait_for(lambda: not list(tmp_path.glob(f"{suspended.app_session_id}.*")))


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_what_another_session_resumes_while_the_first_is_open_keeps_nothing_of_the_first(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first_ends_first: bool
) -> None:
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
    # The journal of a session that lives is not waited for.
    monkeypatch.setattr(SessionJournals.__init__, "__defaults__", (0.05,))
    first, second = Golem(1).open(), Golem(1).open()
    suspended = started(first, Counter).suspend(SECONDS)
    (instance,) = second.resume_service(Counter, [suspended]).wait_until_running(SECONDS)
    if first_ends_first:
        first.close()
        assert kinds(fake).count("allocation") == 1
        assert instance.execute(Run("/bin/true")).success
    second.close()
    first.close()
    assert fake.leftovers() == []
    assert second.cost.amount > 0
    assert [path.name for path in tmp_path.glob("*.jsonl")] == []


@pytest.mark.parametrize(
    ("terms", "level", "words"),
    [
        (None, "WARNING", ["240 to 360 s", "Terms(debit_note_interval=…)"]),
        (Terms(debit_note_interval=7200), "INFO", ["240 to 7440 s"]),
    ],
    ids=["minutes", "hours"],
)
def test_it_is_said_how_long_a_suspended_instance_is_kept(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture, terms: Terms | None, level: str, words: list[str]
) -> None:
    caplog.set_level("INFO", "simple_golem")
    with Golem(1, terms=terms) as golem:
        suspended = started(golem).suspend(SECONDS)
        golem.resume_service(Idle, [suspended]).wait_until_running(SECONDS)
    (said,) = [one for one in caplog.records if one.name == "simple_golem.engine.agreements"]
    assert said.levelname == level
    for word in words:
        assert word in said.getMessage()
