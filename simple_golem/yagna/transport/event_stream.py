"""Server-sent events: the daemon's reports of a batch while it runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

# An event has a piece of output, of some KiB.
MOST_LINE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something that a command of a batch did.

    Attributes:
        index: place of the command in its batch, from 0.
        kind: "started", "stdout", "stderr", "progress" or "finished".
        detail: the content of the event, in the daemon's form.
    """

    index: int
    kind: str
    detail: Any

    @classmethod
    def from_wire(cls, data: str) -> RuntimeEvent:
        """Read the data of one event; raises ValueError for anything else."""
        wire = json.loads(data)
        if not isinstance(wire, dict) or not isinstance(wire.get("kind"), dict) or not wire["kind"]:
            raise ValueError(f"not an event of a runtime: {data[:100]}")
        kind, detail = next(iter(wire["kind"].items()))
        return cls(int(wire.get("index", -1)), kind, detail)


def runtime_events(pieces: Iterable[bytes]) -> Generator[RuntimeEvent, None, None]:
    """Yield the events in a body that comes in pieces; comments, such as pings, are skipped."""
    data: list[str] = []
    for line in _lines(pieces):
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            event = _event("\n".join(data))
            data = []
            if event is not None:
                yield event


def _event(data: str) -> RuntimeEvent | None:
    try:
        return RuntimeEvent.from_wire(data)
    except (TypeError, ValueError) as error:
        logger.debug("the daemon sent something that is not an event: %s", error)
        return None


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    begun: list[bytes] = []
    bytes_begun = 0
    for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield b"".join([*begun, line]).decode("utf-8", errors="replace").removesuffix("\r")
            begun, bytes_begun = [], 0
        begun.append(rest)
        bytes_begun += len(rest)
        if bytes_begun > MOST_LINE_BYTES:
            logger.warning("an event of the daemon has more than %d bytes: no more is read", MOST_LINE_BYTES)
            return
