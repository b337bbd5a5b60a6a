"""Keeps a log handler of the user that raises from ending the threads of this package."""

from __future__ import annotations

import logging

# Its `handleError` shows an error as logging's own handlers do.
_reporter = logging.Handler()


class _GuardedLogger(logging.Logger):
    """A logger that reports the errors of its filters and handlers, and does not raise them."""

    def handle(self, record: logging.LogRecord) -> None:
        try:
            super().handle(record)
        except Exception:  # noqa: BLE001 - whatever the user's handler raises
            _reporter.handleError(record)


def guard_loggers(package: str) -> None:
    """Guard all loggers of a package that exist by now, unless they are of a class of the user's own."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if (name == package or name.startswith(f"{package}.")) and type(logger) is logging.Logger:
            logger.__class__ = _GuardedLogger
