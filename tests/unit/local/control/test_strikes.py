"""The log of what rules have refused or changed, and the table of the rules."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from simple_golem.local.control import rules, strikes
from simple_golem.local.control.rules import RULES
from simple_golem.local.control.strikes import StrikeLog

LENGTH_TEXT = "Proposal expires at: 2026-11-29 03:03:13.869 UTC which is less than 5m"


def test_each_rule_has_a_name_of_its_own_and_a_number() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) > 20
    for rule in RULES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
        assert rule.row > 0
        assert rule.text


def test_the_page_lists_all_rules_with_their_numbers_and_no_others() -> None:
    page = (Path(__file__).parents[4] / "docs" / "local-network" / "differences.md").read_text(
        encoding="utf-8"
    )
    listed = page.partition("## Rules")[2].partition("## Differences")[0]
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", listed, re.M)
    named = {(name.strip("* "), int(row)) for row, names in rows for name in names.split(",")}
    assert named == {(rule.name, rule.row) for rule in RULES}


def test_a_strike_is_read_as_it_was_written(tmp_path: Path) -> None:
    log = StrikeLog.begin(tmp_path / "rules", "net-a")
    assert log.read() == ()
    log.of("prov-2")(rules.AGREEMENT_LENGTH, "a proposal", LENGTH_TEXT)
    [strike] = StrikeLog(log.path).read()
    assert (strike.provider, strike.rule, strike.row) == ("prov-2", "agreement-length", 47)
    assert (strike.what, strike.text) == ("a proposal", LENGTH_TEXT)
    assert strike.time.tzinfo is not None
    assert str(strike).endswith(f"prov-2  agreement-length (47)  a proposal: {LENGTH_TEXT}")


def test_the_latest_log_is_that_of_the_network_that_was_started_last(tmp_path: Path) -> None:
    assert StrikeLog.latest(tmp_path) is None
    first, second = StrikeLog.begin(tmp_path, "net-z"), StrikeLog.begin(tmp_path, "net-a")
    first.of("prov-1")(rules.LINKS, "a file", "no")
    latest = StrikeLog.latest(tmp_path)
    assert latest is not None
    assert latest.path == second.path


def test_old_logs_are_removed_and_a_log_that_is_gone_is_empty(tmp_path: Path) -> None:
    logs = [StrikeLog.begin(tmp_path, f"net-{number}") for number in range(30)]
    assert len(list(tmp_path.iterdir())) == 20
    assert logs[0].read() == ()


def test_many_threads_write_whole_lines_and_a_loop_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: object
) -> None:
    log = StrikeLog.begin(tmp_path, "net-a")
    report = log.of("prov-1")
    threads = [
        threading.Thread(target=lambda: [report(rules.LOST_TAIL, "x" * 500, "y") for _ in range(20)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log.read()) == 160
    log._count = strikes._MOST_STRIKES
    report(rules.LOST_TAIL, "x", "y")
    assert len(log.read()) == 160
