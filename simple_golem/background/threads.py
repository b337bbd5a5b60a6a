"""The one way a thread is made, and the small pools built of it.

All threads are daemon threads, so that a method of a user that never returns can't keep the process alive;
whoever starts one joins it, with a bound.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from .cancellation import Deadline

logger = logging.getLogger(__name__)
T = TypeVar("T")

# A helper that had nothing to do for this many seconds ends.
_IDLE_SECONDS = 1.0

_here = threading.local()


def on_engine_thread() -> bool:
    """Whether the calling thread is one of this library's; such a one must not wait for the others."""
    return getattr(_here, "is_engine", False)


class EngineThread:
    """A named thread that hands over its result or exception at `join`, and never dies silently."""

    def __init__(self, name: str, target: Callable[..., object], *args: Any) -> None:
        self.name = name
        self.exception: BaseException | None = None
        self.result: object = None
        self._target = target
        self._args = args
        self._thread = threading.Thread(name=name, target=self._run, daemon=True)

    def start(self) -> EngineThread:
        self._thread.start()
        return self

    def started(self) -> bool:
        """Start it; False where the interpreter is at its end and makes no threads any more."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def run_here(self) -> None:
        """Do the thread's work in the calling thread, where no thread can be started any more."""
        self._run()

    def _run(self) -> None:
        _here.is_engine = True
        try:
            self.result = self._target(*self._args)
        except BaseException as error:
            self.exception = error
            logger.error("thread %s ended with an error", self.name, exc_info=error)
        finally:
            # What the target holds on to must not outlive its run.
            del self._target, self._args

    def join(self, timeout: float | None = None) -> bool:
        """Block until the thread has ended, `timeout` seconds at most; True if it has."""
        if self._thread is threading.current_thread():
            return False
        if self._thread.ident is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def ident(self) -> int | None:
        return self._thread.ident

    @property
    def is_current(self) -> bool:
        return self._thread is threading.current_thread()


class WorkerPool:
    """Up to `limit` threads that do what is submitted, in order; made on demand, gone when idle a while."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._wake = threading.Condition()
        self._queue: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._threads: set[EngineThread] = set()
        self._idle = 0
        self._made = 0
        self._closed = False

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Have a thread of the pool do `work(*args)`; returns a Future of its result, without blocking.

        Raises:
            RuntimeError: the pool is closed.
        """
        future: Future[T] = Future()
        with self._wake:
            if self._closed:
                raise RuntimeError(f"the workers {self._name} have been dismissed")
            self._queue.append((future, work, args))
            if self._idle >= len(self._queue) or len(self._threads) >= self._limit:
                self._wake.notify()
                return future
            if self._add_thread():
                return future
            self._queue.pop()
        _do(future, work, args)
        return future

    def post(self, work: Callable[..., object], *args: Any) -> None:
        """Have a thread of the pool do `work(*args)`, of which nobody awaits the end; an error is logged.

        A closed pool drops it, as closing drops what has not begun.
        """
        try:
            self.submit(_logged, work, args)
        except RuntimeError:
            logger.debug("%s closed before it could do one more thing", self._name)

    def _add_thread(self) -> bool:
        self._made += 1
        thread = EngineThread(f"{self._name}-{self._made}", self._work)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is at its end and makes no threads any more.
            self._threads.discard(thread)
            return False
        return True

    def _work(self) -> None:
        while (item := self._next()) is not None:
            _do(*item)
            # The frame lives on while the thread is idle: it must not keep the last work's objects.
            del item

    def _next(self) -> tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None:
        idle = Deadline(_IDLE_SECONDS)
        with self._wake:
            while not self._queue:
                if self._closed or idle.passed:
                    self._threads = {thread for thread in self._threads if not thread.is_current}
                    return None
                self._idle += 1
                self._wake.wait(idle.remaining())
                self._idle -= 1
            return self._queue.popleft()

    def close(self, timeout: float | None = None) -> list[str]:
        """Take no more work, cancel what has not begun, and join the threads.

        Args:
            timeout: seconds to wait for them at most, all together.

        Returns:
            The names of the threads that are still busy; they are abandoned.
        """
        with self._wake:
            self._closed = True
            unbegun = [item[0] for item in self._queue]
            self._queue.clear()
            threads = list(self._threads)
            self._wake.notify_all()
        for future in unbegun:
            future.cancel()
        left = Deadline(timeout)
        return [
            thread.name
            for thread in threads
            if not thread.join(None if timeout is None else left.remaining()) and not thread.is_current
        ]


def _do(future: Future[Any], work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work(*args)
    except BaseException as error:  # noqa: BLE001 - handed over to whoever reads the Future
        future.set_exception(error)
    else:
        future.set_result(result)


def _logged(work: Callable[..., object], args: tuple[Any, ...]) -> None:
    try:
        work(*args)
    except Exception:
        logger.exception("%s failed", getattr(work, "__qualname__", work))


class InstancePool:
    """The threads of one instance: its life thread, and at most one helper for what comes from outside."""

    def __init__(self, name: str, live: Callable[[], object]) -> None:
        self.life = EngineThread(name, live)
        self._helper = WorkerPool(f"{name}-outside", limit=1)

    def start(self) -> None:
        self.life.start()

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Have the helper do `work(*args)` after what was submitted before it."""
        return self._helper.submit(work, *args)

    def close(self, timeout: float | None = None) -> list[str]:
        """Join both, `timeout` seconds at most; returns the names of those that are abandoned."""
        left = Deadline(timeout)
        stuck = self._helper.close(timeout)
        if not self.life.join(None if timeout is None else left.remaining()) and not self.life.is_current:
            stuck.append(self.life.name)
        return stuck
