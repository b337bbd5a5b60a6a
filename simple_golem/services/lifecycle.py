"""Opens a Golem once and closes it once, however its program ends."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from ..background.forks import Process, current_process, in_child, leave_to_parent
from ..background.signals import EndSignals, Terminated, shortening
from ..background.threads import on_engine_thread
from ..engine.shutdown_times import ShutdownTimes
from ..errors import GolemError, NotRunning, ServiceFailed
from ..model.settings import Settings

if TYPE_CHECKING:
    from ..engine.event_dispatcher import Listener
    from .instance import Instance
    from .open_golem import OpenGolem

logger = logging.getLogger(__name__)

_CLOSE_AT_EXIT_SECONDS = 10.0
# Strong references: a Golem that the program has dropped without closing it is closed at the end.
_open: set[Lifecycle] = set()
in_child(_open.clear)


class Lifecycle:
    """Is not open, then open, then closed for good; used by any thread.

    Args:
        settings, budget, health_interval, health_misses, stop_grace, raise_failures: as given to the Golem.
        show_progress: whether a progress bar is shown, if standard error is a terminal.

    Attributes:
        opened: what was opened, also after closing; None before.
    """

    def __init__(
        self,
        settings: Settings,
        budget: Decimal,
        health_interval: float,
        health_misses: int,
        stop_grace: float,
        *,
        raise_failures: bool,
        show_progress: bool,
    ) -> None:
        self.opened: OpenGolem | None = None
        self._settings = settings
        self._budget = budget
        self._health_interval = health_interval
        self._health_misses = health_misses
        self._stop_grace = stop_grace
        self._raise_failures = raise_failures
        self._show_progress = show_progress
        self._end_signals = EndSignals()
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._is_closed = False
        leave_to_parent(self, Lifecycle._forget_signals_and_lock)

    def _forget_signals_and_lock(self) -> None:
        self._end_signals.restore()
        self._lock = threading.Lock()

    @property
    def made_in(self) -> Process:
        """The process that may use it: any, before it is opened."""
        opened = self.opened
        return current_process() if opened is None else opened.session.made_in

    @property
    def state(self) -> str:
        """The state in a word, for messages."""
        return "not open" if self.opened is None else "closed" if self._is_closed else "open"

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances of all clusters."""
        opened = self.opened
        return () if opened is None else opened.instances

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` with each event from now on."""
        with self._lock:
            self._listeners.append(listener)
            if self.opened is not None:
                self.opened.session.events.add(listener)

    def require_open(self) -> OpenGolem:
        """Return what is open.

        Raises:
            NotRunning: it is not open.
        """
        opened = self.opened
        if opened is None or self._is_closed:
            raise NotRunning(
                "this Golem is closed; make a new one"
                if self._is_closed
                else "this Golem is not open: write `with Golem(budget=1) as golem:`, or call golem.open()"
            )
        return opened

    # --- opening --------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Open it, and have signals close it until `leave`."""
        self._end_signals.handle()
        try:
            self.open()
        except BaseException:
            self._end_signals.restore()
            raise

    def open(self) -> None:
        """Open it, unless it is open; blocks for requests."""
        # The engine takes 45 ms to load: only programs that open a Golem pay for it.
        from .open_golem import OpenGolem

        with self._lock:
            if self._is_closed:
                raise NotRunning("this Golem was closed; make a new one")
            if self.opened is not None:
                return
            _warn_of_others()
            opened = self.opened = OpenGolem(
                self._settings,
                health_interval=self._health_interval,
                health_misses=self._health_misses,
                stop_grace=self._stop_grace,
                listeners=self._listeners,
                show_progress=self._show_progress,
                on_closed=partial(_open.discard, self),
            )
        try:
            opened.open(self._budget)
            # Ctrl-C may come as soon as it is open: from here on, the end of the program closes it.
            _open.add(self)
            if self._is_closed:  # by another thread, which may have ended by now
                _open.discard(self)
        except BaseException as error:
            # Ctrl-C in the middle of it: what was made by then is released. Else there is nothing to release.
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._close(ShutdownTimes.interrupted())
            with self._lock:
                self.opened = None
            raise

    # --- closing --------------------------------------------------------------------------------------

    def close(self, timeout: float | None) -> ServiceFailed | None:
        """Stop and release everything, in `timeout` seconds; blocks until that is done.

        Returns:
            The error to be raised, if an instance failed, and nobody was told.
        """
        self._close(ShutdownTimes.ordinary(self._stop_grace, timeout))
        return None if on_engine_thread() else self._failed_unnoticed()

    def close_at_exit(self) -> ServiceFailed | None:
        """Close it at the end of the program, which another thread than the one of the Golem has ended."""
        if isinstance(getattr(sys, "last_value", None), KeyboardInterrupt):
            self._close(ShutdownTimes.interrupted())
            return None
        return self.close(_CLOSE_AT_EXIT_SECONDS)

    def leave(self, error: BaseException | None) -> ServiceFailed | None:
        """Close it, because `error` or the end of a `with` has left that; a signal shortens the closing.

        Returns:
            The error to be raised, if an instance failed, and nobody was told.
        """
        is_interrupted = isinstance(error, (KeyboardInterrupt, Terminated))
        times = ShutdownTimes.interrupted() if is_interrupted else ShutdownTimes.ordinary(self._stop_grace)
        try:
            with shortening(self._shorten_by_signal, is_ending=is_interrupted):
                self._close(times)
        finally:
            self._end_signals.restore()
        return self._failed_unnoticed() if error is None else None

    def _close(self, times: ShutdownTimes) -> None:
        with self._lock:
            opened = self.opened
            self._is_closed = True
        if opened is not None:
            opened.close(times)

    def _shorten_by_signal(self) -> None:
        opened = self.opened
        if opened is not None:
            opened.shorten_by_signal()

    def _failed_unnoticed(self) -> ServiceFailed | None:
        opened = self.opened
        if opened is None:
            return None
        failed = opened.failed_unnoticed()
        if self._raise_failures:
            return failed
        if failed is not None and failed.__cause__ is not None:
            logger.error("%s", failed.__cause__)  # all others were logged when they happened
        return None


def _warn_of_others() -> None:
    for other in list(_open):
        logger.warning(
            "another Golem is open in this process, with %s: each has its own budget and providers",
            ", ".join(instance.name for instance in other.instances) or "no instances",
        )


@atexit.register
def _close_what_is_open() -> None:
    for one in list(_open):
        logger.warning(
            "a Golem was still open at the end of the program and is closed now; next time call golem.close()"
        )
        try:
            failed: GolemError | None = one.close_at_exit()
        except GolemError as error:
            failed = error
        if failed is not None:
            logger.error("%s", failed)
