"""A daemon without connections to the outside, and the pair of daemons that finds free ports."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.errors import LocalNetworkError, PortTaken
from simple_golem.local.daemon.daemon import YagnaDaemon
from simple_golem.local.daemon.daemon_pair import DaemonPair
from simple_golem.local.machine import ports as ports_module

SLEEPER = """#!/bin/sh
env > environment.new
mv environment.new environment
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
    while not seen.exists():
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
    # By real chance it could try the same port again.
    monkeypatch.setattr(ports_module, "random", random.Random(1))
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
