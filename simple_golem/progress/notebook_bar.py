"""The progress bar in a notebook, drawn by tqdm with the widgets of Jupyter."""

from __future__ import annotations

from typing import Any

from tqdm.notebook import tqdm_notebook

from .bar_line import OwnBar


class NotebookBar(OwnBar, tqdm_notebook):  # type: ignore[type-arg]
    """A bar below the cell that runs; it goes when it is closed."""

    def refresh(self, *args: Any, **options: Any) -> Any:
        # tqdm gives a new total to the widget only when the bar is reset to 0.
        widget = self.container.children[1]
        widget.max = self.total or 1
        widget.bar_style = "" if self.total else "info"
        widget.layout.width = None
        return super().refresh(*args, **options)

    def close(self) -> None:
        # A bar that is not full would stay there, red.
        self.total = None
        super().close()
