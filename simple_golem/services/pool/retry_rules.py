"""Which failed attempts are followed by another one."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import (
    ActivityLost,
    BadSetting,
    BatchLost,
    CommandFailed,
    ItemTimeout,
    TransferFailed,
)

ErrorClasses = type[BaseException] | tuple[type[BaseException], ...]

DEFAULT_RETRY = (ActivityLost, BatchLost, CommandFailed, ItemTimeout, TransferFailed)
# What may be the fault of the provider or of the item: a second provider decides.
_OF_COMMANDS = (CommandFailed, TransferFailed)
DEFAULT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class RetryRules:
    """When an item is begun once more.

    Attributes:
        attempts: how often an item is begun at most.
        retry: the errors after which it is begun once more.
    """

    attempts: int
    retry: tuple[type[BaseException], ...]

    @classmethod
    def checked(cls, attempts: int, retry: ErrorClasses) -> RetryRules:
        """Return what a user gave.

        Raises:
            BadSetting: it makes no sense.
        """
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise BadSetting(f"attempts is {attempts!r}: give a whole number, 1 or more")
        classes = retry if isinstance(retry, tuple) else (retry,)
        for one in classes:
            if not isinstance(one, type) or not issubclass(one, BaseException):
                raise BadSetting(
                    f"retry has {one!r}: give classes of exceptions, as after `except`, e.g. (OSError,)"
                )
        return cls(attempts, classes)

    def allow(self, error: BaseException, attempts: int, *, failed_elsewhere: bool) -> bool:
        """Whether an item is begun once more.

        Args:
            error: what the last attempt failed of.
            attempts: how often it was begun.
            failed_elsewhere: whether a command of it had failed on another provider before.
        """
        if attempts >= self.attempts or not isinstance(error, self.retry):
            return False
        return not (failed_elsewhere and self.blames_provider(error))

    def blames_provider(self, error: BaseException) -> bool:
        """Whether a command failed, so that another provider has to try."""
        return isinstance(error, _OF_COMMANDS)
