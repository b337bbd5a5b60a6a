"""A daemon that talks to nobody, the pair that finds its ports, and the subnets that are watched on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.errors import LocalNetworkError, NoDaemon, PortTaken
from simple_golem.local.daemon.daemon import YagnaDaemon
from simple_golem.local.daemon.daemon_pair import DaemonPair
from simple_golem.local.supervisor import subnets as subnets_module
from simple_golem.local.supervisor.subnets import SubnetWatch
from simple_golem.yagna.client import Yagna

SLEEPER = """#!/bin/sh
env > environment
exec sleep 60
"""
OUT_OF_PORTS = """#!/bin/sh
echo "first words"
echo "Error: Address already in use"
exit 1
"""


def daemon_of(script: str, folder: Path) -> YagnaDaemon:
    program = folder / "yagna"
    program.write_text(script)
    program.chmod(0o755)
    return YagnaDaemon(
        "a daemon", folder / "state", api_port=4001, gsb_port=4002, hub_port=4002, program=program
    )


def test_nothing_of_the_users_environment_reaches_a_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YA_NET_RELAY_HOST", "elsewhere.example")
    monkeypatch.setenv("YAGNA_DATADIR", "/home/me/yagna")
    daemon = daemon_of(SLEEPER, tmp_path)
    daemon.start()
    seen, scope = daemon.folder / "home" / "environment", Scope()
    while not (seen.exists() and "YAGNA_DATADIR" in seen.read_text()):
        scope.wait(0.01)
    daemon.close()
    environment = seen.read_text()
    assert "elsewhere.example" not in environment
    assert f"YAGNA_DATADIR={daemon.folder}/data" in environment
    for chain in ("MAINNET", "POLYGON", "HOODI", "HOLESKY"):
        assert f"{chain}_GETH_ADDR=http://127.0.0.1:1" in environment


def test_a_daemon_can_be_killed_and_started_again(tmp_path: Path) -> None:
    daemon = daemon_of(SLEEPER, tmp_path)
    assert not daemon.running
    daemon.start()
    assert daemon.running
    daemon.kill()
    assert not daemon.running
    daemon.start()
    assert daemon.running
    daemon.stop()
    assert not daemon.running
    daemon.close()


def test_a_port_in_use_is_told_from_other_failures(tmp_path: Path) -> None:
    daemon = daemon_of(OUT_OF_PORTS, tmp_path)
    daemon.start()
    with pytest.raises(PortTaken, match="Address already in use"):
        daemon.wait_ready()
    daemon.close()
    daemon = daemon_of("#!/bin/sh\necho nonsense\nexit 1\n", tmp_path)
    daemon.start()
    with pytest.raises(LocalNetworkError, match="nonsense") as raised:
        daemon.wait_ready()
    assert not isinstance(raised.value, PortTaken)
    daemon.close()


def test_a_pair_tries_other_ports_when_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tried: list[str] = []

    def start(pair: DaemonPair, scope: Scope) -> None:
        tried.append(pair.near.api_url)
        if len(tried) < 3:
            raise PortTaken("taken")

    monkeypatch.setattr(DaemonPair, "_start", start)
    pair = DaemonPair(tmp_path, Scope())
    assert len(set(tried)) == 3
    assert pair.near.api_url == tried[-1]
    pair.close()


def test_a_pair_that_finds_no_port_at_all_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def start(pair: DaemonPair, scope: Scope) -> None:
        raise PortTaken("taken")

    monkeypatch.setattr(DaemonPair, "_start", start)
    with pytest.raises(PortTaken):
        DaemonPair(tmp_path, Scope())


# --- the subnets that are asked for --------------------------------------------------------------


class Demands:
    """Stands for the near daemon: the demands that it lists, or the error it answers with."""

    def __init__(self) -> None:
        self.market = self
        self.subnets: list[Any] = []
        self.error: Exception | None = None
        self._asked = threading.Semaphore(0)

    def demands(self, *, scope: Scope) -> list[Any]:
        self._asked.release()
        if self.error is not None:
            raise self.error
        return [{"properties": {"golem.node.debug.subnet": name}} for name in self.subnets] + [
            {"properties": {}}
        ]

    def wait_until_followed(self) -> None:
        """Wait until what the demands are now was seen and acted on."""
        while self._asked.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._asked.acquire(timeout=5)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> Demands:
    monkeypatch.setattr(subnets_module, "_DEMAND_POLL_SECONDS", 0.01)
    return Demands()


@pytest.fixture
def changes(near: Demands) -> Iterator[list[str]]:
    changes: list[str] = []
    scope = Scope()
    watch = SubnetWatch(
        cast(Yagna, near),
        "local",
        scope=scope,
        open_subnet=lambda name: changes.append(f"+{name}"),
        close_subnet=lambda name: changes.append(f"-{name}"),
    )
    yield changes
    scope.cancel()
    assert watch.join(5)


def test_the_own_subnet_is_opened_at_once(near: Demands, changes: list[str]) -> None:
    assert changes == ["+local"]


def test_a_subnet_that_is_asked_for_is_opened_once(near: Demands, changes: list[str]) -> None:
    near.subnets = ["public", "public", "local"]
    near.wait_until_followed()
    near.wait_until_followed()
    assert changes == ["+local", "+public"]


def test_a_subnet_that_nobody_asks_for_any_more_is_closed_after_a_while(
    near: Demands, changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    near.subnets = ["public"]
    near.wait_until_followed()
    near.subnets = []
    near.wait_until_followed()
    assert changes == ["+local", "+public"]
    monkeypatch.setattr(subnets_module, "_UNUSED_SUBNET_SECONDS", 0.0)
    near.wait_until_followed()
    assert changes == ["+local", "+public", "-public"]


def test_what_can_not_be_the_name_of_a_subnet_is_passed_over(near: Demands, changes: list[str]) -> None:
    near.subnets = ["a)(b=*", "", 7, None, "fine"]
    near.wait_until_followed()
    assert changes == ["+local", "+fine"]


def test_a_daemon_that_is_being_restarted_is_asked_again(near: Demands, changes: list[str]) -> None:
    near.error = NoDaemon("not there")
    near.wait_until_followed()
    near.error, near.subnets = None, ["public"]
    near.wait_until_followed()
    assert changes == ["+local", "+public"]
