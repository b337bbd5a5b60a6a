"""Text of strangers, as a person's terminal, log or page may show it."""

from __future__ import annotations

_MOST_CHARACTERS = 500


def printable(text: object, most: int = _MOST_CHARACTERS) -> str:
    """Return a text in one line, with a space for each sign that is not printed, such as those of a terminal.

    Args:
        text: what a provider or a daemon has said; anything else is turned into text.
        most: characters at most; of a longer text the beginning is returned, and an ellipsis.
    """
    # Cut before it is looked through: it may be very long.
    said = str(text)[: 2 * most]
    line = in_one_line(said).strip()
    return line if len(line) <= most else line[: most - 1] + "…"


def in_one_line(text: str) -> str:
    """Return a text with a space for each sign that is not printed; it may be long."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
