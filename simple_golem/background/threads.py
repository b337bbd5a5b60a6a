"""The class of all threads of the library, and the thread pools that are built of it.

All threads are daemon threads, so that a user's method that never returns can't keep the process alive. The
code that starts a thread also joins it, for a limited time.

Why not `concurrent.futures.ThreadPoolExecutor`: it never ends idle threads, so 200 instances would hold 400
threads, and at interpreter exit it joins its threads without a limit, so that one user's method that never
returns keeps the process alive (tried).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from .cancellation import Deadline, longest_slice
from .forks import in_child

logger = logging.getLogger(__name__)
T = TypeVar("T")

# A thread of a pool that has had nothing to do for this long ends.
_IDLE_THREAD_SECONDS = 1.0

_this_thread = threading.local()


@in_child
def _no_engine_thread_in_child() -> None:
    _this_thread.is_engine = False


def on_engine_thread() -> bool:
    """Whether the calling thread belongs to the library; such a thread must not wait for others of them."""
    return getattr(_this_thread, "is_engine", False)


class EngineThread:
    """A named thread that keeps its result or its exception, and logs the exception.

    Args:
        name: of the thread, as debuggers and the log show it.
        target: called on the thread.
        args: for `target`.

    Attributes:
        result: what `target` returned; None until then.
        exception: what `target` raised; None if nothing.
    """

    def __init__(self, name: str, target: Callable[..., object], *args: Any) -> None:
        self.name = name
        self.exception: BaseException | None = None
        self.result: object = None
        self._target = target
        self._args = args
        self._thread = threading.Thread(name=name, target=self._run, daemon=True)
        self._ended = threading.Event()

    def start(self) -> EngineThread:
        """Start the thread; returns this object."""
        self._thread.start()
        return self

    def started(self) -> bool:
        """Start the thread; False if the interpreter is exiting and starts no threads any more."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def run_here(self) -> None:
        """Call `target` on the calling thread, for an interpreter that starts no threads any more."""
        self._run()

    def _run(self) -> None:
        _this_thread.is_engine = True
        try:
            self.result = self._target(*self._args)
        except BaseException as error:
            self.exception = error
            logger.error("thread %s ended with an error", self.name, exc_info=error)
        finally:
            # The objects that the target refers to must not live longer than its run.
            del self._target, self._args
            self._ended.set()

    def join(self, timeout: float | None = None) -> bool:
        """Block until the thread has ended, for `timeout` seconds at most; returns whether it has ended."""
        if self._thread is threading.current_thread():
            return False
        if self._thread.ident is None:
            return True
        # Thread.join alone is not enough: where Ctrl-C interrupts it, Python 3.10 to 3.12 take the thread for
        # ended, although it still runs (bpo-45274).
        left = Deadline(timeout)
        while not self._ended.wait(min(left.remaining(), longest_slice())):
            if left.passed:
                return False
        self._thread.join()
        return True

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
    """Up to `limit` threads that do the submitted work in order; they start on demand and end when idle."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._wake = threading.Condition()
        self._queue: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._threads: set[EngineThread] = set()
        # They were idle for too long, and are about to end.
        self._leaving: set[EngineThread] = set()
        self._idle = 0
        self._made = 0
        self._closed = False

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Call `work(*args)` on a thread of the pool; returns the Future of its result at once.

        Raises:
            RuntimeError: the pool is closed.
        """
        future: Future[T] = Future()
        with self._wake:
            if self._closed:
                raise RuntimeError(f"the thread pool {self._name} is closed")
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
        """Call `work(*args)` on a thread of the pool when nobody waits for its result; an error is logged.

        A closed pool drops it, as closing drops work that has not begun.
        """
        try:
            self.submit(_logged, work, args)
        except RuntimeError:
            logger.debug("the thread pool %s is closed and drops %r", self._name, work)

    def _add_thread(self) -> bool:
        self._made += 1
        thread = EngineThread(f"{self._name}-{self._made}", self._work)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is exiting and starts no threads any more.
            self._threads.discard(thread)
            return False
        return True

    def _work(self) -> None:
        while (item := self._next()) is not None:
            _do(*item)
            # This frame lives on while the thread is idle: it must not refer to the objects of the last work.
            del item

    def _next(self) -> tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None:
        idle = Deadline(_IDLE_THREAD_SECONDS)
        with self._wake:
            while not self._queue:
                if self._closed or idle.passed:
                    mine = {thread for thread in self._threads if thread.is_current}
                    self._threads -= mine
                    self._leaving = {thread for thread in self._leaving if thread.alive} | mine
                    return None
                self._idle += 1
                self._wake.wait(idle.remaining())
                self._idle -= 1
            return self._queue.popleft()

    def close(self, timeout: float | None = None) -> list[str]:
        """Accept no more work, cancel what has not begun, and join the threads.

        Args:
            timeout: seconds for all threads together; None: no limit.

        Returns:
            The names of the threads that are still busy; they are abandoned.
        """
        with self._wake:
            self._closed = True
            unbegun = [item[0] for item in self._queue]
            self._queue.clear()
            threads = [*self._threads, *self._leaving]
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
    except BaseException as error:  # noqa: BLE001 - the reader of the Future gets it
        future.set_exception(error)
    else:
        future.set_result(result)


def _logged(work: Callable[..., object], args: tuple[Any, ...]) -> None:
    try:
        work(*args)
    except Exception:
        logger.exception("%s failed", getattr(work, "__qualname__", work))


class InstancePool:
    """The threads of one instance: its life thread, and at most one helper for calls from other threads.

    A life thread that is stuck in a method of the user has a successor.

    Args:
        name: of the instance, and of its threads.
        live: called on the life thread.
    """

    def __init__(self, name: str, live: Callable[[], object]) -> None:
        self._name = name
        self.life = EngineThread(name, live)
        self._left_behind: list[EngineThread] = []
        self._helper = WorkerPool(f"{name}-outside", limit=1)

    def start(self) -> None:
        """Start the life thread."""
        self.life.start()

    def replace_life(self, target: Callable[[], object]) -> bool:
        """Call `target` on a new life thread, and leave the old one, which a user's method does not leave.

        Returns:
            False if the interpreter is exiting and starts no threads any more.
        """
        successor = EngineThread(self._name, target)
        if not successor.started():
            return False
        self._left_behind.append(self.life)
        self.life = successor
        return True

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        """Call `work(*args)` on the helper, after the work that was submitted before; returns its Future."""
        return self._helper.submit(work, *args)

    def close(self, timeout: float | None = None) -> list[str]:
        """Join both threads, for `timeout` seconds at most; one that was left behind is not waited for.

        Returns:
            The names of the threads that are still busy; they are abandoned.
        """
        left = Deadline(timeout)
        stuck = self._helper.close(timeout)
        life = self.life
        if not life.join(None if timeout is None else left.remaining()) and not life.is_current:
            stuck.append(life.name)
        return stuck + [thread.name for thread in self._left_behind if not thread.join(0)]
