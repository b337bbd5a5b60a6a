"""A clock in the place of the module `time`: it stands still until the test moves it."""

from __future__ import annotations

import pytest


class HandTime:
    """Stands for the module `time` in modules that ask it for `monotonic()` alone."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def hand_time(monkeypatch: pytest.MonkeyPatch, *modules: str) -> HandTime:
    """Give some modules, by their names, one clock of the test."""
    hand = HandTime()
    for module in modules:
        monkeypatch.setattr(f"{module}.time", hand)
    return hand
