"""Allocations are made once, also where the daemon's answer is lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from ...background.cancellation import Scope
from ...yagna.client import Yagna
from ...yagna.transport.retry import made_once
from ...yagna.values import Allocation

# The daemon keeps times with a precision of one microsecond.
_SAME_MOMENT = timedelta(milliseconds=1)


def allocate(
    yagna: Yagna, amount: Decimal, platform: str, until: datetime, scope: Scope | None = None
) -> Allocation:
    """Have the daemon keep GLM; blocks for one request, or until a lost one was repeated.

    Args:
        yagna: the daemon.
        amount: GLM.
        platform: the payment platform.
        until: the end of the allocation. It is its mark, too: no two allocations end in the same microsecond.
        scope: cancelling it ends the requests.

    Raises:
        YagnaError, NoDaemon: the daemon refuses, or gave no answer for 30 seconds.
    """

    def find() -> Allocation | None:
        return next(iter(allocations_until(yagna, until, scope)), None)

    return made_once(lambda: yagna.payment.allocate(amount, platform, until, scope=scope), find, scope)


def allocations_until(yagna: Yagna, until: datetime, scope: Scope | None = None) -> list[Allocation]:
    """Return the allocations that end in this moment; blocks for one request."""
    return [
        one
        for one in yagna.payment.allocations(scope=scope)
        if one.timeout is not None and abs(one.timeout - until) < _SAME_MOMENT
    ]
