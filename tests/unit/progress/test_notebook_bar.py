"""The progress bar in a notebook: when there is one, what its widgets say, and how a real kernel shows it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from simple_golem.model.commands.commands import Run
from simple_golem.model.events.batches import TransferProgress
from simple_golem.model.events.event import Event
from simple_golem.model.events.instances import StartProgress
from simple_golem.progress.progress_bar import ProgressBar
from simple_golem.progress.terminal import can_show_bar
from tests.helpers.unmeasured import own_environment

# The end of a Golem waits two seconds for the events: on a busy machine, loading the widgets takes longer.
CELL = """
import os
import tqdm.notebook
from simple_golem import Golem
from simple_golem.testing import FakeYagna
with FakeYagna(1) as fake:
    os.environ.update(fake.environment)
    with Golem(1) as golem:
        golem.run_service().wait_until_running(30)
"""
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(sys.argv[1])])
NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
print(nbformat.writes(notebook))
"""


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What IPython's `get_ipython` returns; here it is the shell of a kernel."""
    shell = SimpleNamespace(kernel="a kernel")
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    return shell


def test_a_notebook_has_one_without_a_terminal(shell: SimpleNamespace) -> None:
    assert can_show_bar()


def test_a_notebook_without_widgets_has_none(shell: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert not can_show_bar()


def test_the_prompt_of_ipython_has_none(shell: SimpleNamespace) -> None:
    del shell.kernel
    assert not can_show_bar()


def widgets_after(bar: ProgressBar, *events: Event) -> tuple[str, float, float, str]:
    """What the widgets show: the text before the bar, its value, its maximum, and the text after it."""
    for event in events:
        bar(event)
    assert bar._bar is not None
    before, moving, after = bar._bar.container.children  # type: ignore[union-attr]
    # The spaces are such that HTML keeps them.
    return before.value.replace("\u2007", " "), moving.value, moving.max, after.value.replace("\u2007", " ")


def test_the_widgets_follow_the_events_and_go_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simple_golem.progress.progress_bar.is_notebook", lambda: True)
    bar = ProgressBar(sys.stderr)
    assert widgets_after(bar, StartProgress("Hello", 1, 4)) == ("starting Hello:  25% ", 1, 4, " 1 of 4")
    widgets = bar._bar.container  # type: ignore[union-attr]
    first, second = Run("/bin/one"), Run("/bin/two")
    moving = TransferProgress("Hello-1", first, 3_000_000, 4_000_000)
    assert widgets_after(bar, moving) == ("1 file:  75% ", 3e6, 4e6, " 3.00M of 4.00M")
    unknown = TransferProgress("Hello-1", second, 1_000_000, None)
    assert widgets_after(bar, unknown)[3] == "2 files: 4.00MB so far"
    assert widgets.children[1].bar_style == "info"
    bar.close()
    assert widgets.comm is None
    assert widgets.children[1].bar_style != "danger"


def test_a_real_kernel_shows_it_below_the_cell_and_nothing_else() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", EXECUTE, CELL],
        env=own_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    notebook: dict[str, Any] = json.loads(ran.stdout)
    outputs = notebook["cells"][0]["outputs"]
    assert [one["output_type"] for one in outputs] == ["display_data"], outputs
    shown = outputs[0]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    widgets = notebook["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    parts = [widgets[name.removeprefix("IPY_MODEL_")] for name in widgets[shown]["state"]["children"]]
    assert [one["model_name"] for one in parts] == ["HTMLModel", "FloatProgressModel", "HTMLModel"]
    assert parts[0]["state"]["value"].startswith("starting\u2007Service:")
