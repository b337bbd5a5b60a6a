"""Calls after a delay, unless the scope ends before."""

from __future__ import annotations

import threading

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.errors import LocalNetworkError
from simple_golem.local.provider.delayed_calls import DelayedCalls


def test_an_appointment_is_kept_and_another_is_off_when_the_scope_ends() -> None:
    scope, done = Scope(), threading.Event()
    appointments = DelayedCalls("habits", scope)
    appointments.after(None, lambda: pytest.fail("never is never"))
    appointments.after(0.01, done.set)
    appointments.after(60, lambda: pytest.fail("the scope has ended"))
    assert done.wait(20)
    scope.cancel()
    assert appointments.join(20)


@pytest.mark.parametrize("error", [ScopeEnded("gone"), LocalNetworkError("refused")])
def test_what_can_not_be_done_any_more_is_no_broken_thread(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise error

    appointments = DelayedCalls("habits", Scope())
    appointments.after(0, refuse)
    assert appointments.join(20)
    assert "ended with an error" not in caplog.text


def test_one_that_waits_for_the_others_does_not_wait_for_itself() -> None:
    results: list[bool] = []
    appointments = DelayedCalls("habits", Scope())
    appointments.after(0, lambda: results.append(appointments.join(5)))
    assert appointments.join(20)
    assert results == [True]
