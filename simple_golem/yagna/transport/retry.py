"""When a request to the daemon is repeated: four policies, by the effect that a repetition could have.

tenacity does the repeating; each pause between two tries ends at once when the request's scope is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

import tenacity

from ...background.cancellation import Scope
from ...errors import NoDaemon, YagnaError

# A daemon that is restarted answers again within some seconds; after this time, requests fail.
RESTART_SECONDS = 30.0

_WAIT = tenacity.wait_exponential(multiplier=0.05, max=2.0) + tenacity.wait_random(0, 0.05)
_PASSING_STATUSES = (408, 502, 503, 504)
_PASSING_MESSAGES = ("GSB error", "database is locked", "endpoint address not found")


class Repeat(Enum):
    """Whether a request may be repeated."""

    SAFE = "a repetition changes nothing: it is repeated during a restart of the daemon"
    UNANSWERED = "a repetition changes nothing, but each answer is final: it is repeated without one"
    UNSENT = "it must not be done twice: it is repeated only if it can't have reached the daemon"
    NEVER = "it is not repeated: the caller decides"


def retrying(repeat: Repeat, scope: Scope | None, seconds: float = RESTART_SECONDS) -> tenacity.Retrying:
    """The tenacity object that repeats a request.

    Args:
        repeat: which errors lead to a repetition.
        scope: cancelling it ends the pauses.
        seconds: after this time, the last error is raised.
    """
    waiter = scope if scope is not None else Scope()

    def sleep(pause: float) -> None:
        waiter.wait(pause)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_REPEATED_AFTER[repeat]),
        stop=tenacity.stop_after_delay(seconds),
        wait=_WAIT,
        sleep=sleep,
        reraise=True,
    )


def was_not_sent(error: BaseException) -> bool:
    """Whether the request can't have reached the daemon."""
    return isinstance(error, NoDaemon)


def is_passing(error: BaseException) -> bool:
    """Whether the error is likely to disappear by itself within seconds."""
    if was_not_sent(error):
        return True
    if not isinstance(error, YagnaError):
        return False
    if error.status is None or error.status in _PASSING_STATUSES:
        return True
    return error.status == 500 and any(message in error.detail for message in _PASSING_MESSAGES)


def was_not_answered(error: BaseException) -> bool:
    """Whether there was no answer, so that nobody knows what the daemon did."""
    return was_not_sent(error) or (isinstance(error, YagnaError) and error.status is None)


_REPEATED_AFTER: Mapping[Repeat, Callable[[BaseException], bool]] = {
    Repeat.SAFE: is_passing,
    Repeat.UNANSWERED: was_not_answered,
    Repeat.UNSENT: was_not_sent,
    Repeat.NEVER: lambda error: False,
}
