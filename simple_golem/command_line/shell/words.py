"""Messages of the library in the words of the shell, whose user writes no Python."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# The arguments of Python that are options here.
_OPTIONS = {
    "budget": "--budget",
    "subnet_tag": "--subnet",
    "payment_network": "--network",
    "api_url": "--api-url",
    "image_tag": "--image",
    "image_hash": "--image",
    "min_mem_gib": "--min-mem-gib",
    "min_storage_gib": "--min-storage-gib",
    "min_cpu_threads": "--min-cpu-threads",
    "max_price_per_hour": "--max-price-per-hour",
    "max_price_per_cpu_hour": "--max-price-per-cpu-hour",
    "max_start_price": "--max-start-price",
}
_OPTION = re.compile(rf"\b({'|'.join(_OPTIONS)})(?= is |=)")
_COPY = re.compile(r"Run\('/bin/cp', '-L', (.+?), …\)")
_PATH = re.compile(r"\b(?:Upload|Download)\.(local|remote)\b")
# What the library says, and what is said here.
PHRASES = {
    ": ask for one by Deploy(volumes=[…])": "",
    ", or ask for one: Deploy(volumes=[…])": "",
    "give Golem a larger `budget`, or top it up": "give a larger --budget",
    "give Golem a larger `budget`, or call golem.top_up(amount) in time": "give a larger --budget",
    "the price limits of your Strategy refuse": "your price limits refuse",
    "`print(golem.explain(payload))` says": "`simple-golem offers --why` says",
    "with run_service(…, respawn_running=True) it would be started again": "it is not started again",
    "respawn_stop=tenacity.stop_after_attempt(n) allows more attempts": "run `simple-golem shell` again",
    "If its end has got lost, only a timeout ends the waiting: execute(…, timeout=600)": (
        "If its end has got lost, only the end of the machine ends the waiting"
    ),
}


def in_words_of_shell(message: str) -> str:
    """Return a message of the library as the shell says it."""
    for said, meant in PHRASES.items():
        message = message.replace(said, meant)
    message = _OPTION.sub(lambda found: _OPTIONS[found[1]], message)
    message = _COPY.sub(r"cp -L \1 …", message)
    return _PATH.sub(r"the \1 path", message)


@contextmanager
def log_in_words(tell: Callable[[str], object]) -> Iterator[None]:
    """While the `with` block runs, tell the library's warnings in the words of the shell.

    Args:
        tell: is called with each of them.
    """
    logger, handler = logging.getLogger("simple_golem"), _Told(tell)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Told(logging.Handler):
    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(in_words_of_shell(self.format(record)))
