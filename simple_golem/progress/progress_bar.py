"""A progress bar in a terminal or notebook, for clusters that start and files that are transferred.

It is a listener of events like any other. While it is visible, the program's output is written above it.

tqdm draws the bar, but the redirection of the output is our own. `tqdm.contrib.DummyTqdmFile` was tried:
it keeps an unfinished line (a prompt, or the bar of another library) until its end; it writes through tqdm's
global lock, which breaks a later `multiprocessing.set_start_method`; and it does not clear a bar on stderr
for a line on stdout. `logging_redirect_tqdm` drops the levels of log handlers, and the handlers that the
program adds while the bar is visible. rich breaks an unfinished line into two.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from ..model.events.batches import BatchEnded, TransferProgress
from ..model.events.event import Event
from ..model.events.instances import StartProgress
from ..model.events.items import ItemEvent
from ..model.pool_stats import PoolStats
from .terminal import is_notebook

if TYPE_CHECKING:
    from .bar_line import BarLine
    from .notebook_bar import NotebookBar

logger = logging.getLogger(__name__)

_SHOWN_EVENTS = (StartProgress, TransferProgress, BatchEnded, ItemEvent)
_FORMAT = "{desc}: {percentage:3.0f}% |{bar}| {n_fmt} of {total_fmt}"
_FORMAT_OF_ITEMS = "{desc}: {percentage:3.0f}% |{bar}| {n_fmt} of {total_fmt}{postfix}"
# The size of a download is not known in advance.
_FORMAT_WITHOUT_TOTAL = "{desc}: {n_fmt}B so far"


class ProgressBar:
    """Shows how far a pool, the start of a cluster or a file is.

    It is one line at the bottom of the terminal, or below the cell of a notebook.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._lock = threading.RLock()
        self._terminal = terminal.stream if isinstance(terminal, _OutputAbove) else terminal
        self._bar: BarLine | NotebookBar | None = None
        self._starting: dict[str, StartProgress] = {}
        self._pools: dict[str, PoolStats] = {}
        self._transfers: dict[tuple[str, str], TransferProgress] = {}
        self._redirected: list[_OutputAbove] = []
        self._handlers: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._broken = False

    def __call__(self, event: Event) -> None:
        """Show the progress of an event. An error, such as a closed terminal, only ends the bar."""
        if self._broken or not isinstance(event, _SHOWN_EVENTS):
            return
        try:
            self._note(event)
            self._show()
        except Exception as error:  # noqa: BLE001 - a program must not fail because of its bar
            self._broken = True
            self.close()
            logger.debug("the progress bar has failed and is closed: %s", error)

    def close(self) -> None:
        """Remove the bar for good."""
        self._broken = True
        self._hide()

    def forget_in_child(self) -> None:
        """In a forked child: draw no more, and write the program's output without locks of the parent."""
        self._broken = True
        self._lock = threading.RLock()
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.disable = True  # or it would be cleared when it is freed
        self._restore_output()

    # --- what it shows ---------------------------------------------------------------------------------

    def _note(self, event: Event) -> None:
        if isinstance(event, ItemEvent):
            self._pools.pop(event.pool, None)
            if event.stats.answered < event.stats.total:
                self._pools[event.pool] = event.stats
        elif isinstance(event, StartProgress):
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
            # The batch failed or was interrupted: its transfers will not continue.
            for key in [key for key in self._transfers if key[0] == event.instance]:
                del self._transfers[key]

    def _show(self) -> None:
        if not self._transfers and not self._starting and not self._pools:
            self._hide()
            return
        if self._bar is None:
            self._redirect_output()
        with self._lock:
            if self._bar is None:
                self._bar = self._new_bar()
            self._bar.set_postfix_str("", refresh=False)
            if self._pools:
                self._show_items(self._bar)
            elif self._transfers:
                self._show_transfers(self._bar)
            else:
                self._show_start(self._bar)
            if self._at_line_start:
                self._bar.refresh()

    def _new_bar(self) -> BarLine | NotebookBar:
        # Loading `tqdm` takes time, and only a terminal or a notebook needs it.
        # With a delay tqdm draws nothing before the first values are set.
        if is_notebook():
            from .notebook_bar import NotebookBar

            return NotebookBar(leave=False, bar_format=_FORMAT, delay=1e-9)
        from .bar_line import BarLine

        return BarLine(file=self._terminal, leave=False, dynamic_ncols=True, bar_format=_FORMAT, delay=1e-9)

    def _show_items(self, bar: BarLine | NotebookBar) -> None:
        name, stats = next(reversed(self._pools.items()))
        bar.set_description_str(name, refresh=False)
        bar.unit_scale, bar.bar_format = False, _FORMAT_OF_ITEMS
        bar.n, bar.total = stats.answered, stats.total
        repeated = f"{stats.repeated} repeated, " if stats.repeated else ""
        left = "" if stats.seconds_left is None else f", {bar.format_interval(stats.seconds_left)} left"
        bar.set_postfix_str(
            f"{stats.under_way} under way, {stats.total - stats.answered - stats.under_way} waiting, "
            f"{repeated}{stats.items_per_second:.3g}/s{left}",
            refresh=False,
        )

    def _show_transfers(self, bar: BarLine | NotebookBar) -> None:
        moving = self._transfers.values()
        bar.set_description_str("1 file" if len(moving) == 1 else f"{len(moving)} files", refresh=False)
        bar.unit_scale, bar.unit = True, "B"
        bar.n = sum(one.transferred for one in moving)
        if any(one.total is None for one in moving):
            bar.bar_format, bar.total = _FORMAT_WITHOUT_TOTAL, None
        else:
            bar.bar_format, bar.total = _FORMAT, max(bar.n, sum(one.total or 0 for one in moving), 1)

    def _show_start(self, bar: BarLine | NotebookBar) -> None:
        starting = self._starting.values()
        bar.set_description_str(f"starting {', '.join(one.cluster for one in starting)}", refresh=False)
        bar.unit_scale, bar.bar_format = False, _FORMAT
        bar.n = sum(one.running for one in starting)
        bar.total = sum(one.total for one in starting)

    def _hide(self) -> None:
        with self._lock:
            bar, self._bar = self._bar, None
            if bar is not None and self._at_line_start:
                bar.close()
            elif bar is not None:
                bar.disable = True  # the bar is cleared already
        self._restore_output()

    # --- output of the program -------------------------------------------------------------------------

    @property
    def _at_line_start(self) -> bool:
        """Whether the program has no unfinished line at the bottom of the terminal."""
        return all(output.at_line_start for output in self._redirected)

    def _redirect_output(self) -> None:
        """Redirect the program's output above the bar; without the lock, because log handlers lock too."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _OutputAbove) and stream.isatty():
                output = _OutputAbove.of(stream, self)
                self._redirected.append(output)
                setattr(sys, name, output)
        for output in self._redirected:
            for handler in _terminal_handlers():
                if handler.stream is output.stream:
                    handler.setStream(output)
                    self._handlers.append((handler, output))

    def _restore_output(self) -> None:
        redirected, self._redirected = self._redirected, []
        handlers, self._handlers = self._handlers, []
        for handler, output in handlers:
            if handler.stream is output:
                handler.setStream(output.stream)
        for output in redirected:
            for name in ("stdout", "stderr"):
                if getattr(sys, name) is output:
                    setattr(sys, name, output.stream)

    def write_above(self, output: _OutputAbove, text: str) -> int:
        """Clear the bar, write the program's text, and draw the bar below it."""
        with self._lock:
            bar = self._bar
            if bar is not None and self._at_line_start:
                bar.clear()
            written = output.stream.write(text)
            if text:
                output.at_line_start = text.endswith("\n")
            output.stream.flush()
            if bar is not None and self._at_line_start:
                bar.refresh()
            return written


class _OutputAbove:
    """Replaces `sys.stdout` or `sys.stderr` while a bar is visible; only writing differs."""

    # Never removed: before Python 3.14, `print` holds no reference to the stream that it writes to. The
    # interpreter would crash if another thread freed the stream.
    _all: ClassVar[list[_OutputAbove]] = []

    def __init__(self, stream: TextIO, bar: ProgressBar) -> None:
        self.stream = stream
        self.at_line_start = True
        self._bar = bar

    @classmethod
    def of(cls, stream: TextIO, bar: ProgressBar) -> _OutputAbove:
        """Return the one object for `stream`, which writes above `bar` from now on."""
        output = next((one for one in cls._all if one.stream is stream), None)
        if output is None:
            output = cls(stream, bar)
            cls._all.append(output)
        output.at_line_start = True
        output._bar = bar
        return output

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
