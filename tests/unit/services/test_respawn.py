"""Which instances begin a new life on another provider, how often, and which don't."""

from __future__ import annotations

from typing import Any

import pytest
import tenacity

from simple_golem import CommandFailed, Golem, Run, ServiceFailed, Strategy
from simple_golem.errors import ActivityFailed, ActivityLost, BadCommandList, BadLocalFile, GolemError
from simple_golem.testing import FakeYagna
from tests.helpers.recorded_services import AT_ONCE, NORMAL_LIFE, SECONDS, Gate, Idle, begun, calls, states
from tests.unit.conftest import eventually


class Shared(Idle):
    """All its lives keep one record."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls


def shared(**options: Any) -> dict[str, Any]:
    return {"instance_params": [{"calls": []}], **AT_ONCE, **options}


def by_number(offer: Any) -> float:
    """The first one is taken first, and one that has failed comes after all others."""
    return -1.0 - int(offer.provider_name[-1]) / 100


# All answers are waited for, also where a thread stands still for a while.
PATIENCE = 5.0
in_order = Strategy(score=by_number, collect_seconds=PATIENCE)


@pytest.mark.parametrize(
    ("habit", "value", "error"),
    [
        ("deploy_error", "no such image here", CommandFailed),
        ("start_error", "no memory", CommandFailed),
        ("activities_wanted", "no", ActivityFailed),
    ],
)
def test_a_provider_on_which_nothing_starts_is_replaced_three_times(
    fake: FakeYagna, habit: str, value: str, error: type[Exception]
) -> None:
    for provider in fake.providers:
        setattr(provider, habit, value)
    told: list[Any] = []
    with Golem(1, raise_failures=False) as golem:
        golem.on_event(told.append)
        cluster, instance = begun(golem, strategy=Strategy(collect_seconds=PATIENCE), **AT_ONCE)
        with pytest.raises(ServiceFailed):
            cluster.wait_until_running(SECONDS)
    assert states(instance) == ["pending", "starting"] * 3 + ["terminated"]
    assert isinstance(instance.failure, error)
    assert calls(instance) == []
    made = [event.provider_id for event in told if type(event).__name__ == "AgreementMade"]
    assert len(set(made)) == 3  # each time another one
    failed = [event.respawned for event in told if type(event).__name__ == "InstanceFailed"]
    assert failed == [True, True, False]


def test_a_start_that_fails_by_a_command_runs_on_another_provider(fake: FakeYagna) -> None:
    for provider in fake.providers[:2]:
        provider.answers = {"/bin/start": 1}

    class Picky(Shared):
        def start(self) -> Any:
            super().start()
            return Run("/bin/start")

    with Golem(1) as golem:
        cluster, instance = begun(golem, Picky, **shared(strategy=in_order))
        first = instance.service
        instance.wait_for("running", SECONDS)
        assert instance.provider_name == "prov-3"
        assert instance.service is not first
        with pytest.raises(GolemError):
            first.execute(Run("/bin/true"))
        cluster.stop()
    assert states(instance) == ["pending", "starting"] * 2 + NORMAL_LIFE
    assert calls(instance) == ["start", "start", "start", "shutdown"]
    assert instance.failure is None


def test_rejections_are_no_attempts(fake: FakeYagna) -> None:
    for provider in fake.providers[:2]:
        provider.agreements_wanted, provider.reason = "no", "no room left"
    only_one = {**AT_ONCE, "respawn_stop": tenacity.stop_after_attempt(1), "strategy": in_order}
    with Golem(1) as golem:
        cluster, instance = begun(golem, **only_one)
        instance.wait_for("running", SECONDS)
        assert instance.provider_name == "prov-3"
        reason = "no agreement was made: rejected by the provider: no room left"
        assert f"2 rejected because: {reason}" in cluster.market_report()
        cluster.stop()
    assert states(instance) == NORMAL_LIFE


@pytest.mark.parametrize(
    "error",
    [TypeError, NameError, AttributeError, ImportError, BadCommandList, BadLocalFile, SystemExit],
)
def test_a_mistake_of_the_users_own_in_start_is_not_tried_elsewhere(
    fake: FakeYagna, error: type[Exception]
) -> None:
    class Wrong(Shared):
        def start(self) -> Any:
            super().start()
            raise error("a mistake of ours")

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Wrong, **shared())
        assert cluster.wait(SECONDS)
    assert states(instance) == ["pending", "starting", "terminated"]
    assert calls(instance) == ["start"]
    assert isinstance(instance.failure, error)


def test_any_other_error_in_start_is_tried_on_another_provider(fake: FakeYagna) -> None:
    class Picky(Shared):
        def start(self) -> Any:
            super().start()
            if self.provider_name == "prov-1":
                raise LookupError("no such thing here")

    with Golem(1) as golem:
        cluster, instance = begun(golem, Picky, **shared(strategy=in_order))
        instance.wait_for("running", SECONDS)
        assert calls(instance) == ["start", "start"]
        cluster.stop()
    assert states(instance) == ["pending", "starting", *NORMAL_LIFE]
    assert instance.failure is None


def test_the_same_error_on_a_second_provider_lies_in_the_users_code(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Shared):
        def start(self) -> Any:
            super().start()
            raise LookupError(f"nothing on {self.provider_name}")

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Wrong, **shared(strategy=in_order))
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "start"]
    assert states(instance) == ["pending", "starting"] * 2 + ["terminated"]
    assert isinstance(instance.failure, LookupError)
    assert "the same error on prov-1 and prov-2: it is in your code" in caplog.text


def test_different_errors_of_start_are_tried_on_three_providers(fake: FakeYagna) -> None:
    class Wrong(Shared):
        def start(self) -> Any:
            super().start()
            raise LookupError(f"attempt {len(self.calls)}")

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Wrong, **shared())
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start"] * 3
    assert str(instance.failure) == "attempt 3"


def test_a_command_that_start_executes_is_tried_on_three_providers(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = {"/bin/start": 1}

    class Failing(Shared):
        def start(self) -> Any:
            super().start()
            try:
                self.execute(Run("/bin/start"))
            except CommandFailed as error:
                raise RuntimeError("the same words each time") from error

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Failing, **shared())
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start"] * 3


def test_with_a_single_provider_it_is_tried_there_three_times(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    for provider in fake.providers[1:]:
        provider.proposals = "no"

    class Wrong(Shared):
        def start(self) -> Any:
            super().start()
            raise LookupError("no such luck")

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Wrong, **shared())
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start"] * 3
    assert "is started again" in caplog.text
    assert "another provider" not in caplog.text
    assert "in your code" not in caplog.text


def test_it_is_not_tried_again_where_that_is_not_wanted(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.deploy_error = "never"
    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, respawn_unstarted_instances=False)
        assert cluster.wait(SECONDS)
    assert states(instance) == ["pending", "starting", "terminated"]


def test_a_stop_ends_the_pause_before_another_life(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.deploy_error = "never"
    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, respawn_wait=tenacity.wait_fixed(600))
        eventually(lambda: states(instance) == ["pending", "starting", "pending"])
        cluster.stop(timeout=SECONDS)
    assert states(instance) == ["pending", "starting", "pending", "terminated"]


def test_one_that_was_running_lives_on_elsewhere_if_that_was_asked_for(losing: FakeYagna) -> None:
    with Golem(1, health_interval=0.05) as golem:
        cluster, instance = begun(golem, Shared, **shared(respawn_running=True))
        instance.wait_for("running", SECONDS)
        first = instance.provider_name
        next(one for one in losing.providers if one.name == first).kill_exe_unit()
        eventually(lambda: states(instance).count("running") == 2, SECONDS)
        assert instance.provider_name != first
        cluster.stop()
    assert states(instance) == ["pending", "starting", "running", *NORMAL_LIFE]
    assert calls(instance) == ["start", "start", "shutdown"]
    assert instance.failure is None


def test_one_that_was_running_is_not_started_again_otherwise(losing: FakeYagna) -> None:
    with Golem(1, health_interval=0.05, raise_failures=False) as golem:
        cluster, instance = begun(golem, Shared, **shared())
        instance.wait_for("running", SECONDS)
        next(one for one in losing.providers if one.activities).kill_exe_unit()
        assert cluster.wait(SECONDS)
    assert states(instance) == ["pending", "starting", "running", "terminated"]
    assert isinstance(instance.failure, ActivityLost)
    assert calls(instance) == ["start"]


def test_an_activity_that_is_lost_before_it_runs_is_replaced(losing: FakeYagna) -> None:
    gate = Gate()
    losing.providers[0].answers = gate.answers

    class Slow(Shared):
        def start(self) -> Any:
            super().start()
            self.execute(Run("/bin/gate"))

    with Golem(1, health_interval=0.05) as golem:
        cluster, instance = begun(golem, Slow, **shared(strategy=in_order))
        assert gate.reached.wait(SECONDS)
        losing.providers[0].kill_exe_unit()
        gate.open()
        instance.wait_for("running", SECONDS)
        assert instance.provider_name == "prov-2"
        cluster.stop()
    assert states(instance) == ["pending", "starting", *NORMAL_LIFE]
    assert calls(instance) == ["start", "start", "shutdown"]


def test_a_constructor_that_fails_in_a_second_life_ends_its_instance(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    for provider in fake.providers:
        provider.deploy_error = "never"

    class Fragile(Shared):
        def __init__(self, calls: list[str]) -> None:
            super().__init__(calls)
            calls.append("made")
            if calls.count("made") == 2:
                raise LookupError("only one of me")

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, Fragile, **shared())
        assert cluster.wait(SECONDS)
    assert isinstance(instance.failure, LookupError)
    assert states(instance) == ["pending", "starting", "pending", "terminated"]
    assert "Fragile-1 failed:" in caplog.text
    assert "only one of me" in caplog.text


def test_a_respawn_stop_that_raises_ends_its_instance(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.deploy_error = "never"

    def broken(state: object) -> bool:
        raise LookupError("what state")

    with Golem(1, raise_failures=False) as golem:
        cluster, instance = begun(golem, respawn_stop=broken)
        assert cluster.wait(SECONDS)
    assert isinstance(instance.failure, LookupError)
    assert instance.state == "terminated"


def test_a_provider_whose_commands_fail_fast_does_not_get_one_instance_after_the_other(
    fake: FakeYagna,
) -> None:
    """Twelve instances, three providers: two are good and slow, and the cheapest is bad and quick."""
    bad = fake.providers[0]
    bad.answers = {"/bin/work": 1}
    for good in fake.providers[1:]:
        good.command_seconds = 0.05

    class Work(Idle):
        def run(self) -> Any:
            self.execute(Run("/bin/work"))

    with Golem(1, raise_failures=False) as golem:
        cluster = golem.run_service(Work, num_instances=12, strategy=in_order)
        assert cluster.wait(3 * SECONDS)
    failed = [one.name for one in cluster if one.failure is not None]
    assert len(failed) == 1
    assert failed == [one.name for one in cluster if one.provider_name == bad.name]
