"""A progress bar in the terminal, for clusters that start and files that are on their way.

It is a listener of events like any other. While it is to be seen, what the program prints goes above it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from ..model.events import BatchEnded, Event, StartProgress, TransferProgress

if TYPE_CHECKING:
    from .bar_line import BarLine

logger = logging.getLogger(__name__)

_TELLING = (StartProgress, TransferProgress, BatchEnded)
_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {n_fmt} of {total_fmt}"
# How much is to come back a provider does not say before it has come.
_FORMAT_WITHOUT_TOTAL = "{desc}: {n_fmt}B so far"


class ProgressBar:
    """Shows one line at the bottom of the terminal; gone when there is nothing to be awaited."""

    def __init__(self, terminal: TextIO) -> None:
        self._lock = threading.RLock()
        self._terminal = terminal.stream if isinstance(terminal, _Above) else terminal
        self._bar: BarLine | None = None
        self._starting: dict[str, StartProgress] = {}
        self._transfers: dict[tuple[str, str], TransferProgress] = {}
        self._guests: list[_Above] = []
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._broken = False

    @staticmethod
    def is_possible() -> bool:
        """Whether standard error is a terminal on which nobody types statements, and which can show one."""
        interactive = hasattr(sys, "ps1") or os.environ.get("TERM") == "dumb"
        return sys.stderr is not None and sys.stderr.isatty() and not interactive

    def __call__(self, event: Event) -> None:
        """Show what an event tells; an error, as of a terminal that is gone, ends the bar and no more."""
        if self._broken or not isinstance(event, _TELLING):
            return
        try:
            self._note(event)
            self._show()
        except Exception as error:  # noqa: BLE001 - a bar is nothing that a program may fail by
            self._broken = True
            self.close()
            logger.debug("no progress bar any more: %s", error)

    def close(self) -> None:
        """Take the bar away, for good."""
        self._broken = True
        self._hide()

    # --- what it shows ---------------------------------------------------------------------------------

    def _note(self, event: Event) -> None:
        if isinstance(event, StartProgress):
            self._starting.pop(event.cluster, None)
            if event.running < event.total:
                self._starting[event.cluster] = event
        elif isinstance(event, TransferProgress):
            self._transfers[event.instance, repr(event.command)] = event
            if all(
                one.total is not None and one.transferred >= one.total for one in self._transfers.values()
            ):
                self._transfers.clear()
        elif isinstance(event, BatchEnded):
            # One that failed, or was given up: its files will not come to their end.
            for key in [key for key in self._transfers if key[0] == event.instance]:
                del self._transfers[key]

    def _show(self) -> None:
        if not self._transfers and not self._starting:
            self._hide()
            return
        if self._bar is None:
            self._make_room()
        with self._lock:
            if self._bar is None:
                self._bar = self._new_bar()
            if self._transfers:
                self._show_transfers(self._bar)
            else:
                self._show_start(self._bar)
            if self._is_free:
                self._bar.refresh()

    def _new_bar(self) -> BarLine:
        # `tqdm` takes a good part of the time of `import simple_golem`, and only terminals need it.
        from .bar_line import BarLine

        # With a delay, however short, it shows nothing before it has something to show.
        return BarLine(file=self._terminal, leave=False, dynamic_ncols=True, bar_format=_FORMAT, delay=1e-9)

    def _show_transfers(self, bar: BarLine) -> None:
        moving = self._transfers.values()
        bar.set_description_str("1 file" if len(moving) == 1 else f"{len(moving)} files", refresh=False)
        bar.unit_scale, bar.unit = True, "B"
        bar.n = sum(one.transferred for one in moving)
        if any(one.total is None for one in moving):
            bar.bar_format, bar.total = _FORMAT_WITHOUT_TOTAL, None
        else:
            bar.bar_format, bar.total = _FORMAT, max(bar.n, sum(one.total or 0 for one in moving), 1)

    def _show_start(self, bar: BarLine) -> None:
        starting = self._starting.values()
        bar.set_description_str(f"starting {', '.join(one.cluster for one in starting)}", refresh=False)
        bar.unit_scale, bar.bar_format = False, _FORMAT
        bar.n = sum(one.running for one in starting)
        bar.total = sum(one.total for one in starting)

    def _hide(self) -> None:
        with self._lock:
            bar, self._bar = self._bar, None
            if bar is not None and self._is_free:
                bar.close()
            elif bar is not None:
                bar.disable = True  # it has been cleared already
        self._give_room_back()

    # --- what others write -----------------------------------------------------------------------------

    @property
    def _is_free(self) -> bool:
        """Whether no line of the program's own is begun at the bottom of the terminal."""
        return all(guest.at_line_start for guest in self._guests)

    def _make_room(self) -> None:
        """Have the program's output go above the bar; not under the lock, since handlers have one too."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Above) and stream.isatty():
                guest = _Above.of(stream, self)
                self._guests.append(guest)
                setattr(sys, name, guest)
        for guest in self._guests:
            for handler in _terminal_handlers():
                if handler.stream is guest.stream:
                    handler.setStream(guest)
                    self._handlers.append((handler, guest))

    def _give_room_back(self) -> None:
        guests, self._guests = self._guests, []
        handlers, self._handlers = self._handlers, []
        for handler, guest in handlers:
            if handler.stream is guest:
                handler.setStream(guest.stream)
        for guest in guests:
            for name in ("stdout", "stderr"):
                if getattr(sys, name) is guest:
                    setattr(sys, name, guest.stream)

    def write_above(self, guest: _Above, text: str) -> int:
        """Write what the program writes, with the bar out of its way."""
        with self._lock:
            bar = self._bar
            if bar is not None and self._is_free:
                bar.clear()
            written = guest.stream.write(text)
            if text:
                guest.at_line_start = text.endswith("\n")
            guest.stream.flush()
            if bar is not None and self._is_free:
                bar.refresh()
            return written


class _Above:
    """Stands in for `sys.stdout` or `sys.stderr` while a bar is to be seen; in all else it is the same."""

    # For good: `print` holds no reference to the stream it writes to (before Python 3.14), so the interpreter
    # would crash if one were freed by another thread meanwhile.
    _all: ClassVar[list[_Above]] = []

    def __init__(self, stream: TextIO, bar: ProgressBar) -> None:
        self.stream = stream
        self.at_line_start = True
        self._bar = bar

    @classmethod
    def of(cls, stream: TextIO, bar: ProgressBar) -> _Above:
        """The only one for `stream`, writing above `bar` from now on."""
        guest = next((one for one in cls._all if one.stream is stream), None)
        if guest is None:
            guest = cls(stream, bar)
            cls._all.append(guest)
        guest.at_line_start = True
        guest._bar = bar
        return guest

    def write(self, text: str) -> int:
        return self._bar.write_above(self, text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _terminal_handlers() -> list[logging.StreamHandler[Any]]:
    handlers = [*logging.getLogger().handlers, *logging.getLogger("simple_golem").handlers]
    return [one for one in handlers if isinstance(one, logging.StreamHandler)]
