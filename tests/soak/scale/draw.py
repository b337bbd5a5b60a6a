"""Draws what many instances cost."""

from __future__ import annotations

from pathlib import Path

from tests.soak.scale.rows import Scale

_BUSY, _BARE, _DUE = "#1f5fbf", "#888888", "#cccccc"


def draw(scale: Scale, picture: Path) -> None:
    """Draw memory and threads of idle instances, and the batches a second of busy ones.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(10, 3), constrained_layout=True)
    memory, threads, batches = panels
    counts = [row["instances"] for row in scale.idle]
    memory.plot(counts, [row["kib"] / 1024 for row in scale.idle], "-o", color=_BUSY, markersize=3)
    memory.set(title="idle: resident memory, MiB", xlabel="instances", ylim=(0, None))
    threads.plot(counts, [row["threads"] for row in scale.idle], "-o", color=_BUSY, markersize=3)
    threads.set(title="idle: threads", xlabel="instances", ylim=(0, None))
    for name, rows, colour in (("plain loops", scale.bare, _BARE), ("simple_golem", scale.busy, _BUSY)):
        made = [row["per_second"] for row in rows]
        batches.plot([row["instances"] for row in rows], made, "-o", color=colour, markersize=3, label=name)
    due = [0, max(row["instances"] for row in scale.busy)]
    batches.plot(due, due, "--", color=_DUE, label="due")
    batches.set(title="busy: batches a second", xlabel="instances", ylim=(0, None))
    batches.legend(frameon=False)
    for panel in panels:
        panel.grid(alpha=0.3)
    figure.savefig(picture, metadata={"Date": None})
    pyplot.close(figure)
