"""When a request to the daemon is repeated: a few named policies, by what a repetition could do.

All of it is tenacity's; every pause between two tries ends at once when the scope of the request does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

import tenacity

from ...background.cancellation import Scope
from ...errors import NoDaemon, YagnaError

# A daemon that was restarted answers again within seconds; after this many it is not coming back.
RESTART_SECONDS = 30.0

_WAIT = tenacity.wait_exponential(multiplier=0.05, max=2.0) + tenacity.wait_random(0, 0.05)
_PASSING_STATUSES = (408, 502, 503, 504)
_PASSING_MESSAGES = ("GSB error", "database is locked", "endpoint address not found")


class Repeat(Enum):
    """What repeating a request could do."""

    SAFE = "repeating it changes nothing: it is repeated through a restart of the daemon"
    UNANSWERED = "repeating it changes nothing, and whatever the daemon does answer is final"
    UNSENT = "it must not be done twice: it is repeated only where it can't have reached the daemon"
    NEVER = "the first answer, or its absence, is what the caller wants to know"


def retrying(repeat: Repeat, scope: Scope | None, seconds: float = RESTART_SECONDS) -> tenacity.Retrying:
    """The tenacity object that makes a request as often as `repeat` allows, for `seconds` at most."""
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
    """Whether the same request may well succeed in a moment."""
    if was_not_sent(error):
        return True
    if not isinstance(error, YagnaError):
        return False
    if error.status is None or error.status in _PASSING_STATUSES:
        return True
    return error.status == 500 and any(message in error.detail for message in _PASSING_MESSAGES)


def was_not_answered(error: BaseException) -> bool:
    """Whether nothing is known of what the daemon made of the request."""
    return was_not_sent(error) or (isinstance(error, YagnaError) and error.status is None)


_REPEATED_AFTER: Mapping[Repeat, Callable[[BaseException], bool]] = {
    Repeat.SAFE: is_passing,
    Repeat.UNANSWERED: was_not_answered,
    Repeat.UNSENT: was_not_sent,
    Repeat.NEVER: lambda error: False,
}
