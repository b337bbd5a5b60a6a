"""The progress bar: what is seen of it in a terminal, and that it is in nobody's way."""

from __future__ import annotations

import io

import pytest

from simple_golem.model.commands.commands import Run
from simple_golem.model.events.batches import BatchEnded, TransferProgress
from simple_golem.model.events.event import Event
from simple_golem.model.events.instances import StartProgress
from simple_golem.model.events.items import ItemDone, ItemStarted
from simple_golem.model.pool_stats import PoolStats
from simple_golem.progress.progress_bar import ProgressBar
from simple_golem.progress.terminal import can_show_bar
from tests.helpers.terminal import run_in_terminal, seen

BEGIN = """
import logging, sys
from simple_golem.model.commands.commands import Run
from simple_golem.model.events.batches import TransferProgress
from simple_golem.model.events.instances import StartProgress
from simple_golem.progress.progress_bar import ProgressBar
logging.basicConfig(format="log: %(message)s")
real = sys.stdout, sys.stderr
bar = ProgressBar(sys.stderr)
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", terminal)
    return terminal


def shown_for(terminal: Terminal, *events: Event) -> str:
    bar = ProgressBar(terminal)
    for event in events:
        terminal.truncate(0)
        terminal.seek(0)
        bar(event)
    shown = terminal.getvalue()
    bar.close()
    return shown


def test_a_starting_cluster_is_shown(terminal: Terminal) -> None:
    shown = shown_for(terminal, StartProgress("Hello", 0, 4), StartProgress("Hello", 1, 4))
    assert "starting Hello:  25%" in shown
    assert "1 of 4" in shown


def test_the_items_of_a_pool_are_shown(terminal: Terminal) -> None:
    stats = PoolStats(waiting=5, under_way=2, done=3, repeated=1, seconds=1.5, expected=10)
    events = (
        StartProgress("pool", 1, 2),
        ItemStarted("pool-1", "pool", 4, stats, 1),
        TransferProgress("pool-1", Run("/bin/one"), 1, 2),
    )
    shown = shown_for(terminal, *events)
    assert "pool:  15% |" in shown
    assert "3 of 20, 2 under way, 15 waiting, 1 repeated, 2/s, 00:08 left" in shown


def test_items_that_are_all_answered_leave_no_bar(terminal: Terminal) -> None:
    done = PoolStats(done=3, failed=1, seconds=1)
    shown = shown_for(
        terminal,
        ItemStarted("pool-1", "pool", 4, PoolStats(under_way=1, done=3, seconds=1), 1),
        ItemDone("pool-1", "pool", 4, done, "no"),
        StartProgress("Hello", 1, 4),
    )
    assert "starting Hello:  25%" in shown
    assert "under way" not in shown


def test_files_are_shown_together_in_readable_sizes(terminal: Terminal) -> None:
    one, two = Run("/bin/one"), Run("/bin/two")
    shown = shown_for(
        terminal,
        StartProgress("Hello", 0, 2),
        TransferProgress("Hello-1", one, 1_000_000, 4_000_000),
        TransferProgress("Hello-2", two, 3_000_000, 4_000_000),
    )
    assert "2 files:  50%" in shown
    assert "4.00M of 8.00M" in shown


def test_without_a_known_size_no_percentage_is_shown(terminal: Terminal) -> None:
    moving = TransferProgress("Hello-1", Run("/bin/one"), 3_000_000, None)
    shown = shown_for(terminal, moving)
    assert "1 file: 3.00MB so far" in shown
    assert "%" not in shown


def test_nothing_is_shown_before_there_is_something_to_show(terminal: Terminal) -> None:
    shown = shown_for(terminal, StartProgress("Hello", 1, 4))
    assert "0 of 1" not in shown
    assert shown.count("%") == 1


@pytest.mark.parametrize(
    "last",
    [
        StartProgress("Hello", 2, 2),
        StartProgress("Hello", 0, 0),
    ],
)
def test_the_bar_goes_when_nothing_is_awaited(terminal: Terminal, last: Event) -> None:
    bar = ProgressBar(terminal)
    bar(StartProgress("Hello", 1, 2))
    bar(last)
    assert seen(terminal.getvalue()) == []


def test_a_file_whose_batch_has_ended_is_awaited_no_more(terminal: Terminal) -> None:
    bar = ProgressBar(terminal)
    bar(TransferProgress("Hello-1", Run("/bin/one"), 1, 4))
    assert "1 file" in "".join(seen(terminal.getvalue()))
    bar(BatchEnded("Hello-1", [Run("/bin/one")], [], "it failed"))
    assert seen(terminal.getvalue()) == []


def test_output_of_the_program_appears_above_the_bar() -> None:
    script = BEGIN + (
        "bar(StartProgress('Hello', 0, 2))\n"
        "print('one')\n"
        "logging.warning('two')\n"
        "print('three', end='', flush=True)\n"
        "bar(StartProgress('Hello', 1, 2))\n"
        "print(' and a half')\n"
        "sys.stderr.write('four\\n')\n"
        "bar(StartProgress('Hello', 2, 2))\n"
        "assert (sys.stdout, sys.stderr) == real\n"
        "print('five')\n"
        "bar.close()\n"
    )
    code, written = run_in_terminal(script)
    assert seen(written) == ["one", "log: two", "three and a half", "four", "five"]
    assert "starting Hello:  50%" in written
    assert code == 0


def test_the_bar_is_at_the_bottom_while_something_is_awaited() -> None:
    script = BEGIN + (
        "import os\n"
        "bar(StartProgress('Hello', 1, 2))\n"
        "print('one')\n"
        "os._exit(0)\n"  # as if the terminal was looked at in this moment
    )
    _, written = run_in_terminal(script)
    lines = seen(written)
    assert lines[0] == "one"
    assert lines[1].startswith("starting Hello:  50% |")
    assert len(lines) == 2


def test_a_bar_may_go_in_the_middle_of_a_print() -> None:
    script = BEGIN + (
        "class Last:\n"
        "    def __str__(self):\n"
        "        bar(StartProgress('Hello', 2, 2))\n"
        "        return 'one'\n"
        "bar(StartProgress('Hello', 0, 2))\n"
        "print(Last(), 'two')\n"
        "assert (sys.stdout, sys.stderr) == real\n"
    )
    code, written = run_in_terminal(script)
    assert seen(written) == ["one two"]
    assert code == 0


def test_a_bar_that_breaks_harms_nothing(terminal: Terminal) -> None:
    bar = ProgressBar(terminal)
    terminal.close()
    bar(StartProgress("Hello", 0, 2))
    bar(StartProgress("Hello", 1, 2))
    bar.close()


@pytest.mark.parametrize(("is_terminal", "name"), [(True, "xterm"), (False, "xterm"), (True, "dumb")])
def test_there_is_one_in_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, name: str
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal() if is_terminal else io.StringIO())
    monkeypatch.setenv("TERM", name)
    assert can_show_bar() is (is_terminal and name != "dumb")
