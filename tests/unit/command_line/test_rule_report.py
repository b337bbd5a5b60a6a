"""`simple-golem local logs`, and the line at the end of `local run`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from simple_golem.command_line import main as cli
from simple_golem.command_line import rule_report
from simple_golem.command_line.rule_report import NoOfferLines, summary
from simple_golem.local.control import rules
from simple_golem.local.control.strikes import StrikeLog, of_script


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("simple_golem.command_line.rule_report.strikes_folder", lambda: tmp_path)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert cli.main(["local", "logs"]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_strikes_of_the_latest_network_are_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys) == ["no local network has run yet"]
    StrikeLog.begin(folder, "old").of("prov-1")(rules.LINKS, "x", "y")
    log = StrikeLog.begin(folder, "new")
    assert shown(capsys) == ["no rule has struck on the latest local network"]
    log.of("prov-3")(rules.VOLUMES_ONLY, "a to container:/tmp/b", "path not found in container: /tmp/b")
    [line] = shown(capsys)
    assert line.endswith(
        "prov-3  volumes-only (28)  a to container:/tmp/b: path not found in container: /tmp/b"
    )


def test_the_summary_counts_each_rule(tmp_path: Path) -> None:
    log = StrikeLog.begin(tmp_path, "net")
    assert summary(log.read()) == "no rule of real providers has struck"
    report = log.of("prov-1")
    report(rules.LOST_TAIL, "a", "b")
    assert summary(log.read()) == (
        "1 rule of real providers struck: lost-tail 1 time; see simple-golem local logs"
    )
    report(rules.LINKS, "a", "b")
    report(rules.LOST_TAIL, "a", "b")
    assert summary(log.read()) == (
        "2 rules of real providers struck: lost-tail 2 times, links 1 time; see simple-golem local logs"
    )


def test_that_a_provider_is_busy_is_no_fault_of_the_script(tmp_path: Path) -> None:
    log = StrikeLog.begin(tmp_path, "net")
    log.of("prov-1")(rules.CAPACITY, "a proposal", "No capacity available.")
    assert of_script(log.read()) == []
    assert summary(log.read()) == "no rule of real providers has struck"
    log.of("prov-1")(rules.LINKS, "a", "b")
    assert [strike.rule for strike in of_script(log.read())] == ["links"]


class Network:
    """Stands for a local network with a log of strikes."""

    def __init__(self, log: StrikeLog) -> None:
        self._log = log

    @property
    def strikes(self) -> Any:
        return self._log.read()


def test_a_demand_that_gets_no_offer_is_told_once_while_the_network_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_report, "_POLL_SECONDS", 0.01)
    log, told = StrikeLog.begin(tmp_path, "net"), threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line == "last":
            told.set()

    with NoOfferLines(cast(Any, Network(log)), say):
        report = log.of("all providers")
        report(rules.SUBNET, "demand a", "no offers in 'x'")
        report(rules.LOST_TAIL, "a command", "not to be told")
        report(rules.SUBNET, "demand b", "no offers in 'x'")
        report(rules.PAYMENT_NETWORK, "demand c", "last")
        assert told.wait(10)
    assert said == ["no offers in 'x'", "last"]
