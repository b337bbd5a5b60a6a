"""Instances that are started and stopped again and again: as many as CI has time for."""

from __future__ import annotations

import pytest

from tests.soak.rounds.part import failures_of, measured


def test_instances_that_have_ended_leave_no_thread_no_descriptor_and_no_memory() -> None:
    rows = measured(20, 6, timeout=100)
    assert [row["round"] for row in rows] == list(range(7))
    assert failures_of(rows) == []


@pytest.mark.parametrize(
    ("what", "growth", "told"),
    [
        ("threads", 2, "2 threads are left"),
        ("descriptors", 1, "1 descriptors are left"),
        ("blocks", 11_000, "11000 objects are left"),
        ("used_kib", 6000, "the memory of C code has grown from 100000 to 106000 KiB"),
    ],
)
def test_what_is_left_is_told(what: str, growth: int, told: str) -> None:
    row = {"threads": 1, "descriptors": 5, "used_kib": 100_000, "blocks": 200_000}
    assert failures_of([row] * 6) == []
    assert failures_of([*[row] * 5, {**row, what: row[what] + growth}]) == [told]
