"""Log handlers of the user that block, raise or are slow."""

from __future__ import annotations

import contextvars
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from simple_golem.background import log_guard
from simple_golem.background.log_guard import drain_log, guard_loggers
from tests.helpers.recorded_services import SECONDS, seconds_of
from tests.unit.conftest import eventually

PACKAGE = "package_of_a_test"
# The time that a thread waits for handlers, where a test has one that blocks.
LATE_SECONDS = 0.5
# A handler blocks for twenty seconds, unless its test lets it go on.
BLOCKS_SECONDS = 20.0


class Kept(logging.Handler):
    """Keeps what it is given, and waits while `gate` is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.reached.set()
        assert self.gate.wait(BLOCKS_SECONDS)
        self.threads.add(threading.current_thread().name)
        self.texts.append(record.getMessage())


@pytest.fixture
def logger() -> logging.Logger:
    logger = logging.getLogger(f"{PACKAGE}.part")
    logger.setLevel(logging.INFO)
    guard_loggers(PACKAGE)
    return logger


@pytest.fixture
def kept(logger: logging.Logger) -> Iterator[Kept]:
    handler = Kept()
    logger.addHandler(handler)
    yield handler
    handler.gate.set()
    logger.removeHandler(handler)
    assert drain_log(SECONDS)


@pytest.fixture
def blocking(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """The same; it waits from the first record on, until the test opens its gate."""
    monkeypatch.setattr(log_guard, "_HANDLERS_SECONDS", LATE_SECONDS)
    kept.gate.clear()
    return kept


def test_a_record_is_handled_when_the_call_returns(logger: logging.Logger, kept: Kept) -> None:
    for number in range(100):
        logger.info("number %d", number)
        assert kept.texts[-1] == f"number {number}"
    assert kept.threads == {"golem-log"}


def test_records_of_many_threads_are_all_handled_and_each_in_the_order_of_its_thread(
    logger: logging.Logger, kept: Kept
) -> None:
    def log(name: int) -> None:
        for number in range(50):
            logger.info("%d %d", name, number)

    threads = [threading.Thread(target=log, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(8):
        mine = [text for text in kept.texts if text.startswith(f"{name} ")]
        assert mine == [f"{name} {number}" for number in range(50)]


def test_a_handler_that_blocks_delays_nobody_for_long(
    logger: logging.Logger, blocking: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = seconds_of(logger.info, "first")
    # Each of them would wait as long.
    took += seconds_of(lambda: [logger.info("number %d", number) for number in range(1000)])
    assert LATE_SECONDS <= took < BLOCKS_SECONDS / 2
    assert blocking.texts == []
    assert not drain_log(0.05)
    blocking.gate.set()
    assert drain_log(SECONDS)
    assert blocking.texts == ["first", *(f"number {number}" for number in range(1000))]
    monkeypatch.setattr(log_guard, "_HANDLERS_SECONDS", SECONDS)
    logger.info("as before")
    assert blocking.texts[-1] == "as before"


def test_a_handler_that_never_returns_does_not_fill_the_memory(
    logger: logging.Logger, blocking: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_guard, "_MOST_WAITING", 10)
    monkeypatch.setattr(log_guard, "_handover", log_guard._Handover())
    logger.info("number 0")
    assert blocking.reached.wait(SECONDS)
    for number in range(1, 30):
        logger.info("number %d", number)
    blocking.gate.set()
    assert drain_log(SECONDS)
    assert blocking.texts == ["number 0", *(f"number {number}" for number in range(20, 30))]


def test_what_is_logged_is_what_it_was_at_the_call(logger: logging.Logger, blocking: Kept) -> None:
    logger.info("first")
    things = ["a"]
    logger.info("there is %s", things)
    things.append("b")
    blocking.gate.set()
    assert drain_log(SECONDS)
    assert blocking.texts[1] == "there is ['a']"


def test_handlers_see_the_context_of_the_caller(logger: logging.Logger, kept: Kept) -> None:
    request = contextvars.ContextVar("request", default="none")
    seen: list[str] = []
    kept.addFilter(lambda record: seen.append(request.get()) is None)
    request.set("number 7")
    logger.info("something")
    assert seen == ["number 7"]


@contextmanager
def handled_by(logger: logging.Logger, emit: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """In the `with` block, one more handler of the logger calls `emit`."""
    handler = logging.Handler()
    handler.emit = emit  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def test_a_handler_may_log_and_may_end_with_an_error(
    logger: logging.Logger, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    def odd(record: logging.LogRecord) -> None:
        if record.getMessage() == "odd":
            logger.info("by a handler")
            sys.exit(3)

    with handled_by(logger, odd):
        logger.info("odd")
        logger.info("and on")
    assert kept.texts == ["odd", "by a handler", "and on"]
    assert "SystemExit: 3" in capsys.readouterr().err


def test_no_error_of_a_handler_ends_the_thread_of_all(
    logger: logging.Logger, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    class NoException(BaseException): ...

    def odd(record: logging.LogRecord) -> None:
        raise NoException("odd")

    with handled_by(logger, odd):
        logger.info("one")
        logger.info("two")
    assert drain_log(SECONDS)
    assert kept.texts == ["one", "two"]
    assert "NoException: odd" in capsys.readouterr().err


def test_ctrl_c_in_a_handler_that_is_called_without_a_thread_is_no_error_of_the_handler(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(record: logging.LogRecord) -> None:
        raise KeyboardInterrupt

    assert drain_log(SECONDS)
    # So it is at the end of the program, when no thread can start.
    monkeypatch.setattr(log_guard._handover, "_started", lambda: False)
    with handled_by(logger, interrupted), pytest.raises(KeyboardInterrupt):
        logger.info("something")


def test_an_argument_that_can_not_be_printed_is_reported(
    logger: logging.Logger, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.info("%d", "no number")
    assert kept.texts == []
    assert "no number" in capsys.readouterr().err


def test_the_thread_ends_when_there_is_nothing_to_handle(logger: logging.Logger, kept: Kept) -> None:
    logger.info("something")
    eventually(lambda: "golem-log" not in {thread.name for thread in threading.enumerate()})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_child_that_is_forked_while_a_handler_blocks_can_log(
    logger: logging.Logger, blocking: Kept
) -> None:
    logger.info("in the parent")
    pid = os.fork()
    if pid == 0:
        logger.removeHandler(blocking)
        logger.info("in the child")
        os._exit(0 if drain_log(SECONDS) else 1)
    assert os.waitpid(pid, 0)[1] == 0
