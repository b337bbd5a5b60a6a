"""The programs that `Run.background` has started in an activity, and which of them have ended."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable

from ...background.cancellation import Scope, ScopeEnded
from ...errors import GolemError, PortRefused
from ...model.base.printable import printable
from ...model.commands.background import words_in_background
from ...model.commands.commands import Run
from ...model.commands.environment import SHELL
from ...model.commands.failure import with_advice
from ...model.commands.results import Result
from .activity import Activity

logger = logging.getLogger(__name__)

_MOST_PROGRAMS = 3
_MOST_LINE = 300
_ANSWER_SECONDS = 5.0
_REFUSES = "refuses connections"

# For each program its process id, its log and its name.
_WHICH_HAVE_ENDED = """\
while test $# -gt 0; do
  if kill -0 "$1" 2>/dev/null || test -d "/proc/$1"; then :
  elif test -s "$2"; then echo "$3 has ended; the end of its log $2:"; tail -n 5 "$2"
  else echo "$3 has ended; its log $2 is empty"
  fi
  shift 3
done
exit 0
"""


class BackgroundPrograms:
    """Remembers the latest programs of one activity, and finds out which of them have ended.

    Any thread may call any method.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: deque[tuple[str, str, str]] = deque(maxlen=_MOST_PROGRAMS)

    def note(self, results: Iterable[Result]) -> None:
        """Remember the programs that commands have started, from the results of these."""
        for result in results:
            command = result.command
            if not isinstance(command, Run) or not result.success:
                continue
            in_background = words_in_background((command.program, *command.args))
            pid = result.stdout.strip()
            if in_background is not None and pid.isdecimal():
                log, words = in_background
                with self._lock:
                    self._started.append((pid, log, words[0]))

    @property
    def question(self) -> Run | None:
        """The command that prints which of the programs have ended; None if there are none."""
        with self._lock:
            words = [word for program in self._started for word in program]
        return Run(SHELL, "-c", _WHICH_HAVE_ENDED, SHELL, *words) if words else None


def ended_programs(activity: Activity, question: Run, scope: Scope) -> str:
    """Return which programs have ended, with the last lines of their logs; empty if that is not known.

    Blocks for one short command, for five seconds at most, and not at all while a batch is under way.

    Args:
        activity: is asked.
        question: that of its programs.
        scope: cancelling it ends the wait for the answer.
    """
    if not activity.is_idle:
        return ""
    try:
        results = activity.run([question], scope, scope, _ANSWER_SECONDS)
    except (GolemError, ScopeEnded) as failure:
        logger.debug("%s could not be asked about its programs: %s", activity.provider, failure)
        return ""
    first, *more = results[0].stdout.splitlines() or [""]
    lines = "".join(f"\n  {with_advice(printable(line, _MOST_LINE))}" for line in more)
    return f"{printable(first, _MOST_LINE)}{lines}"


def explained_refusal(error: PortRefused, activity: Activity, question: Run, scope: Scope) -> PortRefused:
    """Return the error of a port with what `ended_programs` says, or itself if nothing more is known."""
    ended = ended_programs(activity, question, scope)
    if not ended:
        return error
    where = str(error).partition(_REFUSES)[0]
    explained = PortRefused(f"{where}{_REFUSES}: no server listens there, and {ended}")
    explained.__cause__ = error.__cause__
    return explained
