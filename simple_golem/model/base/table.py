"""Tables for people: as lines of text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from .printable import in_one_line

Row = Sequence[str]
# The module `html` would take a millisecond to load, in every script.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def text_table(head: Row, rows: Sequence[Row]) -> str:
    """Return aligned lines; a space stands for each control character, which a provider may send."""
    lines = [[in_one_line(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in lines
    )


def html_table(head: Row, rows: Sequence[Row], caption: str = "") -> str:
    """Return a table for a notebook; all text is escaped."""
    parts = ["<table>"]
    if caption:
        parts.append(f"<caption>{escaped(caption)}</caption>")
    parts.append(f"<thead><tr>{_cells('th', head)}</tr></thead><tbody>")
    parts.extend(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return "".join((*parts, "</tbody></table>"))


def _cells(tag: str, row: Row) -> str:
    return "".join(f"<{tag}>{escaped(cell)}</{tag}>" for cell in row)


def escaped(text: str) -> str:
    """Return text as HTML that shows it."""
    return in_one_line(text).translate(_ESCAPES)
