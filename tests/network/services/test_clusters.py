"""Clusters that grow and shrink, side by side, on the real daemon."""

from __future__ import annotations

import time

import pytest

from simple_golem import Golem, Run, Service, ServiceFailed, vm
from simple_golem.errors import NotRunning, StartTimeout

pytestmark = pytest.mark.usefixtures("golem_environment")


class Idle(Service):
    ended: list[str] = []

    def __init__(self, word="nothing"):
        self.word = word

    def shutdown(self):
        self.ended.append(self.name)
        return []


def test_a_cluster_grows_and_shrinks_and_ends_as_one():
    Idle.ended.clear()
    with Golem(1) as golem:
        cluster = golem.run_service(Idle)
        cluster.wait_until_running(timeout=30)
        (second,) = cluster.spawn(instance_params=[{"word": "second"}])
        second.wait_for("running", timeout=30)
        assert second.service.word == "second"
        cluster.resize(3)
        assert len(cluster.wait_until_running(timeout=30)) == 3
        cluster.resize(1)
        assert [instance.state.value for instance in cluster] == ["running", "terminated", "terminated"]
        cluster.resize(2)
        assert len(cluster.wait_until_running(timeout=30)) == 2
        cluster.stop()
        with pytest.raises(NotRunning, match="has been stopped"):
            cluster.spawn()
    assert sorted(Idle.ended) == ["Idle-1", "Idle-2", "Idle-3", "Idle-4"]
    assert [instance.name for instance in cluster] == ["Idle-1", "Idle-2", "Idle-3", "Idle-4"]


def test_two_clusters_run_side_by_side_and_one_is_stopped_alone():
    class Other(Idle):
        pass

    with Golem(1) as golem, golem.run_service(Idle, num_instances=2) as idle:
        other = golem.run_service(Other)
        idle.wait_until_running(timeout=30)
        other.wait_until_running(timeout=30)
        providers = {instance.provider_id for instance in golem.instances}
        assert len(providers) == 3
        other.stop()
        assert [instance.state.value for instance in idle] == ["running", "running"]
        assert idle.instances[0].execute(Run("/bin/echo", "on")).stdout == "on\n"
    assert {instance.state.value for instance in golem.instances} == {"terminated"}


def test_an_instance_that_does_not_get_to_run_in_time_fails():
    with Golem(1, raise_failures=False) as golem:
        cluster = golem.run_service(Service, payload=vm.repo(min_mem_gib=100_000), start_timeout=2)
        began = time.monotonic()
        with pytest.raises(ServiceFailed, match="start timeout"):
            cluster.wait_until_running(timeout=30)
        assert time.monotonic() - began < 3 * 2
    assert isinstance(cluster.instances[0].failure, StartTimeout)
