"""What errors say."""

from __future__ import annotations

import pytest

from simple_golem import ServiceFailed
from simple_golem.errors import YagnaError

NODE = "0x3ffb0a3ce5ee0e5ab0ac8ba4d0ce5e7f6a1f2b3c"


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        (
            f"GSB error: Remote service at `/net/{NODE}/exeunit/1f/GetExecBatchResults` error: GSB failure: "
            "Bad request: endpoint address not found",
            "the provider is gone: nobody answers at its address",
        ),
        (
            f"GSB error: Remote service at `/net/{NODE}/exeunit/1f/Exec` error: timeout",
            "the provider does not answer",
        ),
        ("database is locked", "database is locked"),
    ],
)
def test_an_address_of_the_service_bus_is_said_in_plain_words(detail: str, reason: str) -> None:
    error = YagnaError("GET", "/activity-api/v1/activity/1f/state", 500, detail)
    assert error.reason == reason
    assert error.detail == detail
    assert str(error) == f"GET /activity-api/v1/activity/1f/state: status 500: {reason}"


def test_failures_that_were_logged_are_kept_and_not_printed() -> None:
    first, second = LookupError("no such luck"), ValueError("nor such")
    error = ServiceFailed("2 of 2 instances failed", [first, second])
    assert error.failures == (first, second)
    assert error.__context__ is first
    assert error.__suppress_context__
    assert error.__cause__ is None
