"""Which usage of a provider is reported, and which reports are stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from simple_golem.local.provider.usage import ProviderUsage, UsageReporter


class Reported(set[str]):
    """Stands for the `UsageReporter`: the activities that are reported."""

    def add(self, activity_id: str, usage: object = None) -> None:
        super().add(activity_id)

    def remove(self, activity_id: str) -> None:
        super().discard(activity_id)


def no_usage() -> Sequence[float]:
    return [0.0, 0.0]


@pytest.fixture
def reported() -> Reported:
    return Reported()


@pytest.fixture
def usage(reported: Reported) -> ProviderUsage:
    usage = ProviderUsage(cast(UsageReporter, reported))
    usage.add("a", no_usage)
    usage.add("b", no_usage)
    return usage


def test_one_activity_can_be_passed_over(usage: ProviderUsage, reported: Reported) -> None:
    usage.silence("a")
    assert reported == {"b"}
    usage.resume("a")
    assert reported == {"a", "b"}


def test_a_silent_provider_does_not_report_later_activities(usage: ProviderUsage, reported: Reported) -> None:
    usage.stop()
    usage.add("c", no_usage)
    usage.resume("a")
    assert reported == set()
    usage.remove("b")
    usage.start()
    assert reported == {"a", "c"}


def test_reporting_again_ends_the_silence_of_one_as_well(usage: ProviderUsage, reported: Reported) -> None:
    usage.silence("a")
    usage.start()
    assert reported == {"a", "b"}


def test_an_activity_that_has_ended_is_not_reported_again(usage: ProviderUsage, reported: Reported) -> None:
    usage.silence("a")
    usage.remove("a")
    usage.resume("a")
    assert reported == {"b"}
