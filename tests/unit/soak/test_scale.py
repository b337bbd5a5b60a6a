"""Many instances in one process: as many as CI has time for; and that a mistake is noticed."""

from __future__ import annotations

import xml.etree.ElementTree
from pathlib import Path

import pytest

from tests.soak.scale.beat import Beat
from tests.soak.scale.part import failures_of, measured_busy, measured_idle, measured_several, table
from tests.soak.scale.rows import Row, Scale


def test_idle_instances_take_little_memory_and_one_thread_each() -> None:
    rows = measured_idle((20, 60, 100), seconds=0.2)
    assert [row["instances"] for row in rows] == [0, 20, 60, 100]
    assert failures_of(Scale(rows)) == []


@pytest.mark.parametrize("subject", ["busy", "bare"])
def test_each_instance_makes_a_batch_a_second(subject: str) -> None:
    row = measured_busy(subject, 10, seconds=2.0)
    assert row["instances"] == 10
    # A machine that has much else to do makes fewer.
    assert 0 < row["per_second"] < 15
    assert 0 < row["cpu"] / row["per_second"] < 0.1


def test_instances_can_be_shared_by_processes() -> None:
    row = measured_several(4, 2, seconds=2.0)
    assert (row["processes"], row["instances"]) == (2, 4)
    assert row["per_second"] > 0


def test_a_measurement_that_fails_keeps_no_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.soak.scale.beat._PATIENCE", 0.2)
    beat = Beat(2)
    with pytest.raises(TimeoutError, match="only 0 of 2 run"):
        beat.measure(1.0)
    # It comes too late.
    with pytest.raises(TimeoutError, match="has not begun"):
        beat.keep(lambda: None)
    # Nobody measures at all.
    with pytest.raises(TimeoutError, match="has not begun"):
        Beat(1).keep(lambda: None)


def idle(count: int, kib: int, threads: int) -> Row:
    return {"instances": count, "kib": kib, "threads": threads, "cpu": 0.0, "started": 0.1}


def busy(count: int, per_second: float) -> Row:
    return {"instances": count, "per_second": per_second, "seconds": 0.1, "cpu": 0.5, "daemon_cpu": 0.1}


NONE = idle(0, 30_000, 6)
GOOD = [NONE, idle(100, 40_000, 110), idle(200, 49_000, 210)]


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (idle(200, 50_100, 210), "each idle instance above 100 takes 101 KiB"),
        (idle(200, 49_000, 420), "each of 200 idle instances has 2.1 threads"),
    ],
)
def test_too_much_memory_and_too_many_threads_are_told(last: Row, told: str) -> None:
    assert failures_of(Scale(GOOD)) == []
    assert failures_of(Scale([*GOOD[:2], last])) == [told]


def test_fewer_batches_than_by_plain_loops_are_told() -> None:
    bare = [busy(100, 100.0), busy(300, 200.0), busy(400, 190.0)]
    assert failures_of(Scale(GOOD, [busy(100, 100.0), busy(300, 181.0)], bare)) == []
    (told,) = failures_of(Scale(GOOD, [busy(100, 100.0), busy(300, 179.0)], bare))
    assert told == "the library makes 179 batches a second at most, and the plain loops 200"


def test_the_table_has_a_row_for_each_measurement() -> None:
    several = [{"processes": 2, **busy(800, 300.0)}]
    rows = table(Scale(GOOD, [busy(100, 99.0)], [busy(100, 100.0)], several))
    told = [(row["what"], row["instances"], row["batches/s"]) for row in rows]
    assert told == [
        ("idle", 100, ""),
        ("idle", 200, ""),
        ("busy", 100, "99"),
        ("plain loops", 100, "100"),
        ("busy, 2 processes", 800, "300"),
    ]
    assert len({tuple(row) for row in rows}) == 1


def test_it_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from tests.soak.scale.draw import draw

    draw(Scale(GOOD, [busy(100, 99.0)], [busy(100, 100.0)]), tmp_path / "scale.svg")
    assert xml.etree.ElementTree.parse(tmp_path / "scale.svg").getroot().tag.endswith("svg")
