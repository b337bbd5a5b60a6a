"""How a life has ended: what the next life of its instance has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...model.service.suspended import SuspendedInstance

if TYPE_CHECKING:
    from .failure_report import FailureReport


class LifeAbandoned(Exception):
    """A method of the user returned at last, but its life has gone on without its thread."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a life ended.

    Attributes:
        failure: what went wrong, None if nothing did.
        ran: whether it reached the state running.
        elsewhere: whether another provider might succeed.
        suspended: what a later session needs to resume it, if it was left alive.
        report: what is to be said of the failure, if it was not said yet.
    """

    failure: BaseException | None
    ran: bool
    elsewhere: bool
    suspended: SuspendedInstance | None = None
    report: FailureReport | None = None
