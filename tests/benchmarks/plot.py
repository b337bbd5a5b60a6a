"""`python -m tests.benchmarks.plot MEASURED.json PICTURE.svg`: how the cost grows with more instances."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib import pyplot

from .subject import FLOOR, SIMPLE_GOLEM, YAPAPI

_LINES = {FLOOR: ("#888888", "--"), YAPAPI: ("#d08020", "-"), SIMPLE_GOLEM: ("#1f5fbf", "-")}
_PANELS = {
    "first": "last first result, s",
    "closed": "all done and paid, s",
    "cpu": "processor time, s",
}


def draw(measured: Path, picture: Path) -> None:
    """Draw what was measured under "growth"."""
    growth = json.loads(measured.read_text())["growth"]
    counts = sorted(map(int, growth))
    figure, panels = pyplot.subplots(1, len(_PANELS), figsize=(10, 3), constrained_layout=True)
    for panel, (key, title) in zip(panels, _PANELS.items(), strict=True):
        for name, (colour, style) in _LINES.items():
            there = [count for count in counts if name in growth[str(count)]]
            values = [growth[str(count)][name][key] for count in there]
            panel.plot(there, values, style, color=colour, marker="o", markersize=3, label=name)
        panel.set(title=title, xlabel="instances", ylim=(0, None))
        panel.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
