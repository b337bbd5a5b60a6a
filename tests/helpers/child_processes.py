"""The child processes of this process, as Linux lists them; none on other systems."""

from __future__ import annotations

from pathlib import Path

# Python's own helper of `multiprocessing`: one for a whole process, until its end.
_RESOURCE_TRACKER = "from multiprocessing.resource_tracker import"


def running_children() -> dict[int, str]:
    """The process id and the command line of each child that still runs."""
    children: dict[int, str] = {}
    for listed in Path("/proc/self/task").glob("*/children"):
        for pid in _read(listed).split():
            # The state follows the name, which stands in parentheses. Z: the child has ended.
            state = _read(Path("/proc") / pid / "stat").rpartition(")")[2].split()
            command = _read(Path("/proc") / pid / "cmdline").replace("\0", " ").strip()
            if state and state[0] not in "ZX" and _RESOURCE_TRACKER not in command:
                children[int(pid)] = command or f"process {pid}"
    return children


def _read(path: Path) -> str:
    """The text of a file, which is empty if its thread or process has ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
