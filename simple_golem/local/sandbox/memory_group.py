"""Limits the memory of all processes of a sandbox together, where this user may make control groups.

That is so in most desktop sessions under systemd, with version 2 of control groups. Elsewhere each process is
limited by itself.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

_MINE = "simple-golem"
_OLD = re.compile(rf"{_MINE}-(\d+)-")


class MemoryGroup:
    """A control group with a limit of memory.

    Attributes:
        path: its folder; a process that writes its id to `cgroup.procs` in there joins the group.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def make(cls, mib: int, parent: Path | None) -> MemoryGroup | None:
        """Make a group of at most `mib` MiB below `parent`; None if that is not possible."""
        if parent is None:
            return None
        path = parent / f"{_MINE}-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            _remove_old(parent)
            path.mkdir()
        except OSError:
            return None
        try:
            (path / "memory.max").write_text(str(mib << 20))
            if (path / "memory.swap.max").exists():
                (path / "memory.swap.max").write_text("0")
        except OSError:
            cls(path).remove()
            return None
        return cls(path)

    def kills(self) -> int:
        """How many processes the kernel has killed, since the group needed more memory."""
        try:
            events = (self.path / "memory.events").read_text()
        except OSError:
            return 0
        counts = dict(line.split() for line in events.splitlines())
        return int(counts.get("oom_kill", 0))

    def remove(self) -> None:
        """Remove the group; its processes must have ended."""
        with suppress(OSError):
            self.path.rmdir()


def delegated_group(proc: Path = Path("/proc/self")) -> Path | None:
    """Return the control group below which this user may make groups with a limit of memory.

    Args:
        proc: the folder of this process in /proc.

    Returns:
        The nearest one that this process is in; None if there is none.
    """
    try:
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
        groups = (proc / "cgroup").read_text().splitlines()
    except OSError:
        return None
    roots = [line[4] for line in mounts if line[line.index("-") + 1] == "cgroup2"]
    own = [line.removeprefix("0::") for line in groups if line.startswith("0::")]
    if not roots or not own:
        return None
    root = Path(roots[0])
    group = root / own[0].lstrip("/")
    # A process may move only within a part of the tree that belongs to its user.
    for place in (group, *group.parents):
        if not os.access(place / "cgroup.procs", os.W_OK):
            return None
        if os.access(place, os.W_OK) and "memory" in _children_have(place):
            return place
        if place == root:
            return None
    return None


def _children_have(group: Path) -> list[str]:
    try:
        return (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []


def _remove_old(parent: Path) -> None:
    """Remove the empty groups of networks that were killed."""
    for group in parent.glob(f"{_MINE}-*"):
        old = _OLD.match(group.name)
        if old is not None and not Path(f"/proc/{old[1]}").exists():
            MemoryGroup(group).remove()
