"""A deadline that passes when the test says so."""

from __future__ import annotations

from simple_golem.background.cancellation import Deadline


class HandDeadline(Deadline):
    """Has as much time left as the test says, whatever time passes."""

    def __init__(self, left: float = 60.0) -> None:
        super().__init__()
        self.left = left

    def remaining(self) -> float:
        return self.left

    @property
    def passed(self) -> bool:
        return self.left <= 0
