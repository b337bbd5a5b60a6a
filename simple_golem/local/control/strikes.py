"""What the rules of real providers have refused or changed: written by the supervisor, read by the user."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .rules import CAPACITY, OnStrike, Rule

logger = logging.getLogger(__name__)

# A script that breaks a rule in a loop must not fill the disk.
_MOST_STRIKES = 10_000
_MOST_LOGS = 20
_SUFFIX = ".rules"


@dataclass(frozen=True, slots=True)
class Strike:
    """One time that a local provider has enforced a rule.

    Attributes:
        time: an aware datetime.
        provider: the provider's name.
        rule: the rule's short name.
        row: the rule's number in the documentation.
        what: what was refused or changed.
        text: the text that the requestor gets, or what became of it.
    """

    time: datetime
    provider: str
    rule: str
    row: int
    what: str
    text: str

    def to_wire(self) -> Mapping[str, Any]:
        return {**asdict(self), "time": self.time.isoformat()}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Strike:
        return cls(**{**wire, "time": datetime.fromisoformat(wire["time"])})

    def __str__(self) -> str:
        moment = self.time.astimezone().strftime("%H:%M:%S")
        return f"{moment}  {self.provider}  {self.rule} ({self.row})  {self.what}: {self.text}"


def of_script(strikes: Iterable[Strike]) -> list[Strike]:
    """Return the strikes that a change of the script can avoid; that a provider is busy is none."""
    return [strike for strike in strikes if strike.rule != CAPACITY.name]


class StrikeLog:
    """A file with the strikes of one network; it outlives the network. Used by several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._count = 0
        # What was read last, and of how many bytes: a file that has not grown is not read again.
        self._read: tuple[int, tuple[Strike, ...]] = (0, ())

    @classmethod
    def begin(cls, folder: Path, network: str) -> StrikeLog:
        """Make the log of a new network, and remove the oldest ones."""
        folder.mkdir(exist_ok=True)
        for old in _logs(folder)[: -_MOST_LOGS + 1]:
            old.unlink(missing_ok=True)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S-%f")
        log = cls(folder / f"{stamp}-{network}{_SUFFIX}")
        log.path.touch()
        return log

    @classmethod
    def latest(cls, folder: Path) -> StrikeLog | None:
        """The log of the network that was started last; None if there is none."""
        logs = _logs(folder)
        return cls(logs[-1]) if logs else None

    def of(self, provider: str) -> OnStrike:
        """Return what a provider reports its strikes with."""

        def report(rule: Rule, what: str, text: str) -> None:
            self._add(Strike(datetime.now(timezone.utc), provider, rule.name, rule.row, what, text))

        return report

    def _add(self, strike: Strike) -> None:
        logger.warning("a rule strikes: %s", strike)
        with self._lock:
            self._count += 1
            if self._count > _MOST_STRIKES:
                return
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(strike.to_wire()) + "\n")

    def read(self) -> tuple[Strike, ...]:
        """Return all strikes so far, the oldest first; none if the file is gone."""
        try:
            size, strikes = self._read
            if self.path.stat().st_size == size:
                return strikes
            text = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        # The last line is incomplete while it is being written.
        strikes = tuple(Strike.from_wire(json.loads(line)) for line in text.split(b"\n")[:-1])
        self._read = (len(text), strikes)
        return strikes


def _logs(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"))
