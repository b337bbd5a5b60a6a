"""Whole runs with faults on the real daemon: as many as CI has time for."""

from __future__ import annotations

from pathlib import Path

import pytest

from simple_golem.local import LocalGolem
from tests.soak.fault_runs.part import failures_of
from tests.soak.fault_runs.real_run import run_real_seeds

SEEDS = range(1, 11)


def test_runs_end_well_though_requests_to_the_real_daemon_fail(
    network: LocalGolem, golem_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
    outcomes = list(run_real_seeds(network, SEEDS))
    assert failures_of(outcomes) == []
    assert any(one.hits for one in outcomes)
    assert list(tmp_path.glob("*.jsonl")) == []
