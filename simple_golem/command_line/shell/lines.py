"""The lines that a user types, with a history, or that a program writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs

try:
    import readline
except ImportError:  # Windows has none: its console edits lines by itself
    readline = None  # type: ignore[assignment]

_MOST_LINES = 1000


def piped_lines() -> Iterator[str]:
    """The lines of standard input, which is no terminal."""
    for line in sys.stdin:
        yield line.rstrip("\n")


def typed_lines(prompt: Callable[[], str], tell: Callable[[str], object]) -> Iterator[str]:
    """The lines that are typed at a prompt, until Ctrl-D; Ctrl-C begins a new one.

    Args:
        prompt: returns the prompt.
        tell: is called with what the user must know.
    """
    history = History(tell)
    while True:
        try:
            line = input(prompt())
        except KeyboardInterrupt:
            print()
            continue
        except EOFError:
            print()
            return
        # As in other shells, a line that begins with a space is not remembered.
        if line.strip() and not line[0].isspace():
            history.add(line)
        yield line


class History:
    """The lines of earlier sessions, in a file that only this user can read."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._path: Path | None = Path(platformdirs.user_state_dir("simple_golem")) / "shell-history"
        lines = self._read()
        if readline is not None:
            readline.set_auto_history(False)
            readline.clear_history()
            for line in lines:
                readline.add_history(line)

    def add(self, line: str) -> None:
        """Remember a line."""
        if readline is not None:
            readline.add_history(line)
        self._write(f"{line}\n", os.O_APPEND)

    def _read(self) -> list[str]:
        if self._path is None:
            return []
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            self._give_up(error)
            return []
        # Damaged lines are left out: readline takes no NUL.
        lines = [line for line in text.splitlines() if "\0" not in line]
        if len(lines) > _MOST_LINES:
            lines = lines[-_MOST_LINES:]
            self._write("".join(f"{line}\n" for line in lines), os.O_TRUNC)
        return lines

    def _write(self, text: str, how: int) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | how, 0o600)
            with open(file, "w", encoding="utf-8", errors="replace") as opened:
                os.chmod(self._path, 0o600)  # it may be of an earlier time
                opened.write(text)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._path = None
        self._tell(f"the history is not kept: {error}")
