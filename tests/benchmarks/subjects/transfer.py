"""A file in and out of one instance by simple_golem."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

from stopwatch import memory_mib, most_memory_mib, say

from simple_golem import Download, Golem, Service, Upload

REMOTE = "/golem/work/file"
BLOCK = 1_000_000


def write(path: Path, size: int) -> None:
    """Noise, block by block: nothing on the way can make it smaller."""
    with path.open("wb") as file:
        for begin in range(0, size, BLOCK):
            file.write(os.urandom(min(BLOCK, size - begin)))


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def main(size: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Golem(budget=50) as golem:
        sent, back = Path(folder, "sent"), Path(folder, "back")
        write(sent, size)
        (instance,) = golem.run_service(Service).wait_until_running(timeout=60)
        before = memory_mib()
        speeds = []
        for command in (Upload(sent, REMOTE), Download(REMOTE, back)):
            began = time.monotonic()
            instance.execute(command)
            speeds.append(size / 1e6 / (time.monotonic() - began))
        memory = most_memory_mib() - before
        assert digest(sent) == digest(back)
    up, down = speeds
    say({"up": up, "down": down, "memory_mib": memory})


if __name__ == "__main__":
    main(size=int(sys.argv[1]))
