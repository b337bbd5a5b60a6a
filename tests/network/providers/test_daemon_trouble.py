"""The requestor's daemon goes for good, forgets the key, fails, is slow, or is restarted under a proxy."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from simple_golem import Golem, HttpProxy, Run, Service, vm
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.command_line.main import main
from simple_golem.errors import GolemError
from simple_golem.local.local_golem import LocalGolem
from tests.faults import proxy as proxies
from tests.faults.plan import Fault
from tests.faults.proxy import FaultProxy
from tests.network.helpers.leftovers import left_on

pytestmark = pytest.mark.long
CLOSE_SECONDS = 3.0
# What Ctrl-C takes at most.
INTERRUPT_SECONDS = 5.0
SLOW_SECONDS = 5.0
# Two instances need fewer, with all pools of the library at work.
MOST_THREADS = 60


@pytest.fixture
def fresh_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalGolem]:
    with LocalGolem(providers=2) as network:
        for name, value in network.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield network


@pytest.fixture
def threads(fresh_network: LocalGolem) -> Callable[[], list[str]]:
    """Returns the names of the threads that the library has started since."""
    before = set(threading.enumerate())

    def started() -> list[str]:
        names = [one.name for one in threading.enumerate() if one not in before]
        return [name for name in names if name != "fault-proxy"]

    return started


def assert_all_end(threads: Callable[[], list[str]]) -> None:
    deadline = Deadline(5.0)
    while threads() and not deadline.passed:
        Scope().wait(0.02)
    assert threads() == []


def assert_cleaned_up(network: LocalGolem) -> None:
    assert main(["cleanup", "--wait", "10"]) == 0
    assert left_on(network) == []


def golem_with_instances() -> Golem:
    golem = Golem(1, raise_failures=False).open()
    golem.run_service(Service, num_instances=2).wait_until_running(60)
    return golem


def test_a_daemon_that_is_gone_for_good_does_not_keep_a_golem_open(fresh_network, threads):
    golem = golem_with_instances()
    fresh_network.kill_requestor_daemon()
    began = time.monotonic()
    golem.close(timeout=CLOSE_SECONDS)
    assert time.monotonic() - began < 3 * CLOSE_SECONDS
    assert_all_end(threads)
    fresh_network.restart_requestor_daemon()
    assert_cleaned_up(fresh_network)


class Yagna:
    """The program of the requestor's daemon, as its own command line tool."""

    def __init__(self, network: LocalGolem) -> None:
        self._path, self._environment = next(_daemons(network.near.api_url))

    def __call__(self, *arguments: str) -> str:
        told = subprocess.run(
            [self._path, *arguments], env=self._environment, capture_output=True, text=True, check=True
        )
        return told.stdout


def _daemons(api_url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The programs and environments of the processes that are the daemon with this URL."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            path = (process / "exe").readlink()
            pairs = (process / "environ").read_text().split("\0")
        except OSError:  # it has ended
            continue
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if path.name == "yagna" and environment.get("YAGNA_API_URL") == api_url:
            yield str(path), environment


def test_a_key_that_is_revoked_midway(fresh_network, threads, monkeypatch):
    yagna = Yagna(fresh_network)
    first = fresh_network.near.app_key
    monkeypatch.setenv("YAGNA_APPKEY", yagna("app-key", "create", "another").strip())
    golem = golem_with_instances()
    (instance, _) = golem.instances
    yagna("app-key", "drop", "another")
    with pytest.raises(GolemError, match="key"):
        instance.execute(Run("/bin/echo", "hello"))
    began = time.monotonic()
    golem.close(timeout=CLOSE_SECONDS)
    assert time.monotonic() - began < 3 * CLOSE_SECONDS
    assert_all_end(threads)
    # Another key of the same identity finds all that the session has left.
    monkeypatch.setenv("YAGNA_APPKEY", first)
    assert_cleaned_up(fresh_network)


class Always:
    """A plan that hits each request while it is told to."""

    def __init__(self, fault: Fault) -> None:
        self.hits = False
        self._fault = fault

    def fault(self, method: str, path: str) -> Fault | None:
        return self._fault if self.hits else None


def test_a_daemon_that_fails_each_request_is_cleaned_up_later(fresh_network, threads, monkeypatch):
    plan = Always(Fault.FAILED)
    with FaultProxy(fresh_network.near.api_url, plan) as proxy:
        monkeypatch.setenv("YAGNA_API_URL", proxy.url)
        golem = golem_with_instances()
        plan.hits = True
        (instance, _) = golem.instances
        with pytest.raises(GolemError):
            instance.execute(Run("/bin/echo", "hello"))
        golem.close(timeout=CLOSE_SECONDS)
        assert_all_end(threads)
        plan.hits = False
        assert_cleaned_up(fresh_network)


def test_a_slow_daemon_piles_up_no_threads_and_an_interruption_stays_quick(
    fresh_network, threads, monkeypatch
):
    monkeypatch.setattr(proxies, "SLOW_SECONDS", SLOW_SECONDS)
    plan = Always(Fault.SLOW)
    with FaultProxy(fresh_network.near.api_url, plan) as proxy:
        monkeypatch.setenv("YAGNA_API_URL", proxy.url)
        golem = golem_with_instances()
        plan.hits = True
        Scope().wait(3 * SLOW_SECONDS)
        assert len(threads()) < MOST_THREADS
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt), golem:
            raise KeyboardInterrupt
        assert time.monotonic() - began < 3 * INTERRUPT_SECONDS
        assert_all_end(threads)
        plan.hits = False
        Scope().wait(SLOW_SECONDS)  # the daemon carries out what was asked of it all the same
        assert_cleaned_up(fresh_network)


class Web(Service):
    """Serves its folder by HTTP."""

    payload = vm.repo(image_tag="golem/simple-service:latest")

    def start(self):
        self.shell("echo hello > /golem/out/index.html")
        self.shell("cd /golem/out && python3 -m http.server 80 > log 2>&1 &")
        self.wait_for_port(80)


def test_a_proxy_of_a_restarted_daemon_answers_each_client_and_ends(fresh_network, threads):
    with Golem(1, raise_failures=False) as golem:
        (instance,) = golem.run_service(Web, network=True).wait_until_running(60)
        with HttpProxy(instance, 80) as proxy:
            assert requests.get(proxy.url, timeout=30).text == "hello\n"
            fresh_network.kill_requestor_daemon()
            fresh_network.restart_requestor_daemon()
            # The daemon has lost the private network, and each client is told so.
            assert requests.get(proxy.url, timeout=30).status_code in (502, 503, 504)
            assert instance.execute(Run("/bin/echo", "alive")).stdout == "alive\n"
        (second,) = golem.run_service(Web, network=golem.create_network("10.0.0.0/24")).instances
        second.wait_for("running", 60)
        with HttpProxy(second, 80) as proxy:
            assert requests.get(proxy.url, timeout=30).text == "hello\n"
    assert_all_end(threads)
    assert left_on(fresh_network) == []
