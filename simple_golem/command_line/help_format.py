"""How the help of a command is laid out."""

from __future__ import annotations

import argparse


class HelpFormat(argparse.HelpFormatter):
    """Wraps paragraphs, and leaves a text of several lines, such as examples, as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" not in text.strip():
            return super()._fill_text(text, width, indent)
        return "".join(f"{indent}{line}" for line in text.splitlines(keepends=True))
