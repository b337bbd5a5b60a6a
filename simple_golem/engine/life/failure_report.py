"""The one report of a failure: what failed, where in the user's code, on which provider, what is next."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass

from ...errors import CommandFailed, GolemError
from ...model.service.service import Service
from .user_traceback import error_lines, is_own_code, keep_user_lines, user_places

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FailureReport:
    """What is known of the failure of one life, before it is known what follows on it.

    Attributes:
        instance: its name.
        provider: name and id of its provider; empty before there is one.
        doing: what it was doing: a method such as `run()`, or some words.
        failure: the error. The frames of this package are removed from its traceback.
        places: the lines of the user's code that the error went through.
    """

    instance: str
    provider: str
    doing: str
    failure: BaseException
    places: tuple[str, ...]

    @classmethod
    def of(
        cls, instance: str, provider: str, doing: str, failure: BaseException, service: Service
    ) -> FailureReport:
        """Make the report; everything that it leaves out is logged at DEBUG."""
        logger.debug("%s: all of its failure, with its causes", instance, exc_info=failure)
        keep_user_lines(failure)
        places = tuple(user_places(failure)) or _place_of_method(service, doing)
        return cls(instance, provider, doing, failure, places)

    def text(self, next_step: str = "") -> str:
        """Return the report in a few lines; `next_step` is what follows, or what can be done."""
        when = f"in {self.doing}" if "()" in self.doing else f"while {self.doing}"
        on = f" on {self.provider}" if self.provider else ""
        lines = [f"{self.instance}{on} failed {when}:", *self.places, *error_lines(self.failure)]
        if next_step:
            lines.append(f"→ {next_step}")
        return "\n  ".join(lines)

    @property
    def advice(self) -> str:
        """What can be done about a failure that no other provider will mend; empty if its message says it."""
        if isinstance(self.failure, CommandFailed):
            return (
                f"To go on after a failed command, catch CommandFailed{self._there}, or execute it with "
                "check=False."
            )
        if isinstance(self.failure, GolemError):
            return ""
        if self.doing == "run()":
            return "It comes from your code: an error that leaves run() ends the instance."
        if "shutdown()" in self.doing:
            return "It comes from your code; the instance has ended all the same."
        return "It comes from your code: no other provider is tried."

    @property
    def _there(self) -> str:
        return f" in {self.doing}" if self.doing.endswith("()") else ""


def _place_of_method(service: Service, doing: str) -> tuple[str, ...]:
    """Where the method is defined whose commands have failed, if it is the user's own."""
    name = next((one for one in ("deploy", "start", "run", "shutdown") if f"{one}()" in doing), None)
    method = getattr(type(service), name) if name else None
    code = getattr(inspect.unwrap(method), "__code__", None) if callable(method) else None
    if code is None or not is_own_code(code):
        return ()
    return (f"{code.co_filename}:{code.co_firstlineno} in {name}",)
