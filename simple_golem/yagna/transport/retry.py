"""When a request to the daemon is repeated: four policies, by the effect that a repetition could have.

What must not be made twice is looked for after a lost answer, and made again if it isn't there: `made_once`.

tenacity does the repeating; each pause between two tries ends at once when the request's scope is cancelled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar

import tenacity

from ...background.cancellation import Scope
from ...errors import NoDaemon, YagnaError

T = TypeVar("T")
# A daemon that is restarted answers again within some seconds; after this time, requests fail.
RESTART_SECONDS = 30.0

_WAIT = tenacity.wait_exponential(multiplier=0.05, max=2.0) + tenacity.wait_random(0, 0.05)
# The daemon itself never answers so: something in front of it has too much to do, and passes nothing on.
_REFUSED_STATUSES = (429, 503)
# Something in front of the daemon got no answer of it.
_UNANSWERED_STATUSES = (502, 504)
_PASSING_STATUSES = (408, *_REFUSED_STATUSES, *_UNANSWERED_STATUSES)
# An error of the daemon of which nobody knows whether it passes.
_FAILED_STATUS = 500
_TRIES_OF_FAILURES = 3
_PASSING_MESSAGES = ("GSB error", "database is locked", "endpoint address not found")


class Repeat(Enum):
    """Whether a request may be repeated."""

    SAFE = "a repetition changes nothing: it is repeated during a restart of the daemon"
    UNANSWERED = "a repetition changes nothing, but each answer is final: it is repeated without one"
    UNSENT = "it must not be done twice: it is repeated only if the daemon can't have begun it"
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

    def is_repeated(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is None:
            return False
        if repeat is Repeat.SAFE and has_failed(error):
            return state.attempt_number < _TRIES_OF_FAILURES
        return _REPEATED_AFTER[repeat](error)

    return tenacity.Retrying(
        retry=is_repeated,
        stop=tenacity.stop_after_delay(seconds),
        wait=_WAIT,
        sleep=sleep,
        reraise=True,
    )


def repeated(
    send: Callable[[], T], repeat: Repeat, scope: Scope | None, seconds: float = RESTART_SECONDS
) -> T:
    """Send a request, and repeat it as `retrying` says.

    Args:
        send: makes the request, once.
        repeat, scope, seconds: as for `retrying`.
    """
    return tried_first(send, lambda passed: retrying(repeat, scope, seconds - passed))


def tried_first(send: Callable[[], T], retrying_after: Callable[[float], tenacity.Retrying]) -> T:
    """Send a request; if it fails, go on as a tenacity object says, for which that was the first try.

    tenacity hears only of a request that has failed: it costs a tenth of one that succeeds.

    Args:
        send: makes the request, once.
        retrying_after: makes the tenacity object; gets the seconds that the first try has taken.
    """
    began = time.monotonic()
    try:
        return send()
    except (NoDaemon, YagnaError) as error:
        first: list[Exception] = [error]

    def repetition() -> T:
        if first:
            raise first.pop()
        return send()

    answer: T = retrying_after(time.monotonic() - began)(repetition)
    return answer


def made_once(
    make: Callable[[], T], find: Callable[[], T | None], scope: Scope | None, seconds: float = RESTART_SECONDS
) -> T:
    """Make something that must not be made twice, through lost answers.

    Args:
        make: makes it, by one request.
        find: looks for it where the answer was lost; returns None if it was not made.
        scope: cancelling it ends the pauses.
        seconds: after this time, the last error is raised.

    Returns:
        What `make` or `find` has returned.
    """

    def make_or_find() -> T:
        try:
            return make()
        except YagnaError as error:
            if not (is_unsure(error) or has_failed(error)):
                raise
            found = find()
            if found is None:
                raise
            return found

    making: T = retrying(Repeat.SAFE, scope, seconds)(make_or_find)
    return making


def was_not_begun(error: BaseException) -> bool:
    """Whether the daemon can't have begun to carry the request out."""
    return isinstance(error, NoDaemon) or (
        isinstance(error, YagnaError) and error.status in _REFUSED_STATUSES
    )


def is_passing(error: BaseException) -> bool:
    """Whether the error is likely to disappear by itself within seconds."""
    if isinstance(error, NoDaemon):
        return True
    if not isinstance(error, YagnaError):
        return False
    if error.status is None or error.status in _PASSING_STATUSES:
        return True
    return error.status == _FAILED_STATUS and any(message in error.detail for message in _PASSING_MESSAGES)


def has_failed(error: BaseException) -> bool:
    """Whether the daemon has failed to carry the request out, in words that say nothing of another try."""
    return isinstance(error, YagnaError) and error.status == _FAILED_STATUS and not is_passing(error)


def is_unsure(error: BaseException) -> bool:
    """Whether the daemon may have carried the request out all the same."""
    return is_passing(error) and not was_not_begun(error)


def was_not_answered(error: BaseException) -> bool:
    """Whether the daemon gave no answer, so that nobody knows what it did."""
    if was_not_begun(error):
        return True
    return isinstance(error, YagnaError) and (error.status is None or error.status in _UNANSWERED_STATUSES)


_REPEATED_AFTER: Mapping[Repeat, Callable[[BaseException], bool]] = {
    Repeat.SAFE: is_passing,
    Repeat.UNANSWERED: was_not_answered,
    Repeat.UNSENT: was_not_begun,
    Repeat.NEVER: lambda error: False,
}
