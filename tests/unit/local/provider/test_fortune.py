"""What a real network does to a provider: times, and misfortune, by a seed."""

from __future__ import annotations

import pytest

from simple_golem.errors import BadSetting
from simple_golem.local.control.as_real import AsReal
from simple_golem.local.provider.fortune import Fortune


def drawn(fortune: Fortune) -> list[object]:
    return [fortune.offer_seconds(), fortune.boot_seconds(), fortune.rejects(), fortune.vanishes_after()]


def test_without_it_no_time_passes_and_nothing_goes_wrong() -> None:
    fortune = Fortune(None, "prov-1")
    assert drawn(fortune) == [0.0, 0.0, False, None]
    assert fortune.download_seconds() == fortune.answer_seconds() == 0.0


def test_the_same_seed_brings_the_same_and_another_one_or_provider_does_not() -> None:
    first = [drawn(Fortune(AsReal(7), "prov-1")) for _ in range(2)]
    assert first[0] == first[1]
    assert drawn(Fortune(AsReal(8), "prov-1"))[:2] != first[0][:2]
    assert drawn(Fortune(AsReal(7), "prov-2"))[:2] != first[0][:2]


def test_one_kind_of_event_does_not_change_another() -> None:
    one, other = Fortune(AsReal(7), "prov-1"), Fortune(AsReal(7), "prov-1")
    for _ in range(5):
        one.answer_seconds()
    assert drawn(one) == drawn(other)


def test_times_are_those_of_a_real_network_by_the_pace() -> None:
    fortune, slow = Fortune(AsReal(1, 1.0), "prov-1"), Fortune(AsReal(1, 0.1), "prov-1")
    for _ in range(200):
        answer = fortune.answer_seconds()
        assert 0.03 <= answer <= 0.2
        assert slow.answer_seconds() == pytest.approx(answer / 10)
        assert 10 <= fortune.boot_seconds() <= 14
        assert 2 <= fortune.offer_seconds() <= 180


def test_now_and_then_it_rejects_or_vanishes() -> None:
    fortune = Fortune(AsReal(1), "prov-1")
    assert 0 < sum(fortune.rejects() for _ in range(500)) < 100
    vanished = [fortune.vanishes_after() for _ in range(500)]
    assert 0 < sum(one is not None for one in vanished) < 100


@pytest.mark.parametrize(("seed", "pace"), [("x", 1), (True, 1), (1, 0), (1, -1), (1, "quick"), (1, 101)])
def test_a_seed_or_a_pace_that_can_not_be_is_told(seed: object, pace: object) -> None:
    with pytest.raises(BadSetting):
        AsReal(seed, pace)  # type: ignore[arg-type]
