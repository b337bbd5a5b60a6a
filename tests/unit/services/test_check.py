"""`execute(…, check=False)` of a service, an instance and a cluster: a failed command is no error."""

from __future__ import annotations

from typing import Any

import pytest

from simple_golem import CommandFailed, Golem, Result, Results, Run
from simple_golem.errors import BatchTimeout, NotRunning
from simple_golem.testing import CommandAnswer, FakeYagna
from tests.helpers.recorded_services import (
    SECONDS,
    Idle,
    begun,
    programs,
    started,
)

FAILED = CommandAnswer(stdout="some\n", stderr="no such row\n", exit_code=4)
BATCH = (Run("/bin/true"), Run("/bin/fail"), Run("/bin/never"))


@pytest.fixture
def failing(fake: FakeYagna) -> FakeYagna:
    for provider in fake.providers:
        provider.answers = {"/bin/fail": FAILED}
    return fake


def assert_is_cut_off(results: object) -> None:
    assert isinstance(results, Results)
    assert [one.success for one in results] == [True, False]
    assert not results.success
    assert (results[1].stdout, results[1].stderr, results[1].exit_code) == ("some\n", "no such row\n", 4)
    with pytest.raises(CommandFailed, match=r"Run\('/bin/fail'\) failed on prov-. .*: exit code 4") as caught:
        results.check()
    failure = caught.value
    assert (failure.stdout, failure.stderr, failure.exit_code) == ("some\n", "no such row\n", 4)
    assert failure.command == BATCH[1]


def test_a_service_gets_results_instead_of_an_error(failing: FakeYagna) -> None:
    class Asking(Idle):
        def run(self) -> Any:
            self.got = self.execute(*BATCH, check=False)
            self.after = self.execute(Run("/bin/true"), check=False)

    with Golem(1) as golem:
        cluster, instance = begun(golem, Asking)
        assert cluster.wait(SECONDS)
    service: Any = instance.service
    assert_is_cut_off(service.got)
    assert service.after.success
    assert service.after.check() is service.after
    assert instance.failure is None
    assert not any("/bin/never" in programs(one) for one in failing.providers)


def test_instances_and_clusters_give_results_instead_of_an_error(failing: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster, instance = begun(golem)
        cluster.wait_until_running(SECONDS)
        assert_is_cut_off(instance.execute(*BATCH, check=False))
        (answer,) = cluster.execute(*BATCH, check=False).values()
        assert_is_cut_off(answer)
        (error,) = cluster.execute(*BATCH).values()
        assert isinstance(error, CommandFailed)
        with pytest.raises(CommandFailed):
            instance.execute(*BATCH)


def test_errors_other_than_a_failed_command_are_raised(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(BatchTimeout):
            instance.execute(Run.shell("sleep 600"), timeout=0.05, check=False)
        instance.stop(wait=False)
        with pytest.raises(NotRunning):
            instance.execute(Run("/bin/true"), check=False)


def test_a_unit_test_can_ask_for_results_too() -> None:
    service = Idle().with_answers({BATCH[0]: "", BATCH[1]: "no such table"})
    assert service.execute(BATCH[0], BATCH[1], check=False).success
    failing = Result(stdout="some\n", success=False, message="ExeScript command exited with code 4")
    results = service.with_answers({BATCH[0]: "", BATCH[1]: failing}).execute(*BATCH, check=False)
    assert [one.success for one in results] == [True, False]
    with pytest.raises(CommandFailed, match="exit code 4"):
        results.check()
