"""What an error says about a provider: whether another one could mend it, and how this one has behaved."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import (
    BadArgument,
    BatchError,
    BatchTimeout,
    CommandFailed,
    GolemError,
    InstanceError,
    NotRunning,
    TransferFailed,
)
from ..market.providers import Conduct
from .user_traceback import Place, error_text, place_of

# Each of them comes from the user's code or machine, and would come back on any provider.
_EVERYWHERE_THE_SAME = (TypeError, NameError, AttributeError, ImportError, BadArgument, NotRunning)


def may_be_mended_elsewhere(error: BaseException) -> bool:
    """Return whether an error that left `deploy()` or `start()` may not come back on another provider."""
    return isinstance(error, Exception) and not isinstance(error, _EVERYWHERE_THE_SAME)


class _Error(NamedTuple):
    """An error of one life, without what differs between two providers."""

    place: Place
    text: str


class RepeatedErrors:
    """Compares each error of an instance that was not running yet with the one before."""

    def __init__(self) -> None:
        self._last: tuple[_Error, str, str] | None = None

    def other_provider(self, error: BaseException, provider_id: str, provider_name: str) -> str | None:
        """Return the name of another provider on which the same error came before; None if there is none.

        It is the same if type, message, and line in the user's code are the same. What a provider has
        reported, such as a failed command, is never the same: a third provider may do better.
        """
        last, self._last = self._last, None
        place = place_of(error)
        if place is None or _reported_by_provider(error) is not None:
            return None
        text = error_text(error).replace(provider_id, "").replace(provider_name, "")
        this = _Error(place, text)
        self._last = (this, provider_id, provider_name)
        if last is None or last[0] != this or last[1] == provider_id:
            return None
        return last[2]


def conduct_in(failure: BaseException | None, *, elsewhere: bool) -> Conduct:
    """Return what the end of a life says about its provider.

    Args:
        failure: how the life ended; None if nothing went wrong.
        elsewhere: whether another provider might succeed.
    """
    if isinstance(_reported_by_provider(failure), (CommandFailed, BatchTimeout, TransferFailed)):
        return Conduct.COMMANDS_FAILED
    return Conduct.AT_FAULT if elsewhere else Conduct.FINE


def _reported_by_provider(error: BaseException | None) -> GolemError | None:
    """Return the error that a provider has caused, among an error and its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, (BatchError, InstanceError)):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None
