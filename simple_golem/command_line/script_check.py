"""`simple-golem local check`: runs a script several times as on a real network, and tells what it breaks."""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..background.cancellation import Deadline
from ..errors import BadSetting, GolemError
from ..local.control.as_real import AsReal
from ..local.control.strikes import Strike, of_script
from ..local.local_golem import LocalGolem
from ..model.base.printable import printable
from .network_options import add_network_options, described_network, script_environment

_RUNS = 5
_PACE = 0.05
_SHORTEST_LIMIT_SECONDS = 180.0
_SCRIPT_EXIT_SECONDS = 10.0
_POLL_SECONDS = 0.05
_MOST_ERRORS = 65536
# What a script calls that makes a demand: the line of a rule about demands.
_DEMANDING = ("run_service", "rent", "pool", "spawn", "create_network")
_DEMAND_ROWS = range(47, 61)


@dataclass(frozen=True, slots=True)
class Call:
    """A call from the script to the library.

    Attributes:
        line: of the script.
        function: the name of the function.
        texts: all texts among its arguments.
    """

    line: int
    function: str
    texts: Sequence[str]

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Call:
        return cls(**wire)


@dataclass(frozen=True, slots=True)
class Run:
    """How one run of the script has ended.

    Attributes:
        end: in words.
        succeeded: whether it has ended by itself, with status 0.
        strikes: the rules that have struck, each with the line of the script, None if that is unknown.
    """

    end: str
    succeeded: bool
    strikes: Sequence[tuple[Strike, int | None]]


def add_check_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    command: Callable[[argparse.Namespace], int],
) -> None:
    """Add `local check` to the parser of the tool; the command is `check_script`, or calls it."""
    check = commands.add_parser(
        "check",
        help="run a script several times as on a real network, and show which rules it breaks",
        usage="%(prog)s [OPTIONS] SCRIPT [ARGS…]",
        description="Run a script several times on a local network with the time and the misfortune of a "
        "real one. Prints how each run has ended, and which rules of real providers have struck, with the "
        "line of the script; that a provider was busy does not count. The script has no input, and its "
        "output is not shown. The status is 0 if all runs have succeeded and no rule has struck.",
    )
    add_network_options(check, "script.py")
    check.add_argument(
        "--runs", type=int, default=_RUNS, metavar="N", help=f"how often the script is run (default: {_RUNS})"
    )
    check.add_argument(
        "--seed", type=int, default=1, metavar="N", help="the seed of the first run (default: 1)"
    )
    check.add_argument(
        "--pace",
        type=float,
        default=_PACE,
        metavar="P",
        help=f"1 is a real network's pace (default: {_PACE})",
    )
    check.add_argument("script", nargs=argparse.REMAINDER, metavar="SCRIPT [ARGS…]", help="the script")
    check.set_defaults(command=command, parser=check)


def check_script(options: argparse.Namespace) -> int:
    """Run the script several times, and print what happened; returns the tool's exit status."""
    if not options.script:
        options.parser.error("name the script to check")
    if not os.path.isfile(options.script[0]):
        raise GolemError(f"there is no script {options.script[0]}")
    if options.runs < 1:
        raise BadSetting(f"--runs is {options.runs}: give 1 or more")
    runs: list[Run] = []
    try:
        _run_all(options, runs)
    except (KeyboardInterrupt, SystemExit, GolemError):
        if runs:
            _tell(options, runs)
        raise
    _tell(options, runs)
    are_all_well = len(runs) == options.runs and all(run.succeeded and not run.strikes for run in runs)
    return 0 if are_all_well else 1


def _run_all(options: argparse.Namespace, runs: list[Run]) -> None:
    """Run the script as often as there is time for it, and print and add how each run has ended."""
    # All runs together: 3 minutes, or as long as so many take if each is like the first one.
    deadline, first_took = Deadline(_SHORTEST_LIMIT_SECONDS), 0.0
    for number in range(options.runs):
        if deadline.passed:
            print(f"the time is over: {number} of {options.runs} runs were made", flush=True)
            break
        seed, begun = options.seed + number, time.monotonic()
        # The last one has as long as the first one took, too.
        limit = Deadline(max(deadline.remaining(), first_took))
        run = _run(options, AsReal(seed, options.pace), limit)
        if number == 0:
            first_took = time.monotonic() - begun
            deadline = Deadline(max(_SHORTEST_LIMIT_SECONDS, options.runs * first_took) - first_took)
        runs.append(run)
        print(f"run {number + 1} (seed {seed}): {run.end}", flush=True)


def _run(options: argparse.Namespace, as_real: AsReal, deadline: Deadline) -> Run:
    with tempfile.TemporaryDirectory(prefix="simple-golem-check-") as folder:
        record = Path(folder) / "calls"
        record.touch()
        # With -c the folder of the script comes first among those that modules are imported from.
        starter = "from simple_golem.command_line.traced_script import main; main()"
        with described_network(options, as_real) as network:
            for url in options.web_server:
                network.allow_web_server(url)
            begun = time.monotonic()
            script = subprocess.Popen(
                [sys.executable, "-c", starter, str(record), *options.script],
                env=_with_package(script_environment(network)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # So that its own processes can be ended with it, and that it does not ask at the terminal.
                start_new_session=True,
            )
            status, errors = _status(script, network, deadline)
            seconds = time.monotonic() - begun
        calls = _calls(record)
        strikes = [placed(strike, calls) for strike in of_script(network.strikes)]
    if status == 0:
        return Run(f"succeeded after {seconds:.1f} s", True, strikes)
    if status is None:
        return Run(f"did not end within {seconds:.0f} s, and was ended", False, strikes)
    end = f"failed with status {status}" if status > 0 else f"was ended by {_signal(-status)}"
    reason = ": ".join(part for part in (_place(options.script[0], errors), _last_line(errors)) if part)
    return Run(f"{end} after {seconds:.1f} s" + (f": {reason}" if reason else ""), False, strikes)


def _with_package(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The script must import this very package, wherever it was imported from."""
    folder = str(Path(__file__).resolve().parents[2])
    paths = [path for path in (environment.get("PYTHONPATH", ""), folder) if path]
    return {**environment, "PYTHONPATH": os.pathsep.join(paths)}


def _status(
    script: subprocess.Popen[bytes], network: LocalGolem, deadline: Deadline
) -> tuple[int | None, str]:
    """The status of the script, None if it has not ended in time, and the end of its stderr.

    It has ended in any case. If it has not ended by itself, its own processes are ended, too.
    """
    try:
        network.guard(script.pid)
        errors = _end_of_errors(script, deadline)
        return script.poll(), errors
    finally:
        assert script.stderr is not None
        script.stderr.close()
        if script.poll() is None:
            _end(script)


def _end_of_errors(script: subprocess.Popen[bytes], deadline: Deadline) -> str:
    """Read what the script writes to stderr until it ends or its time is over; returns the end of it.

    One that writes for ever must fill neither the memory nor a disk.
    """
    assert script.stderr is not None
    end, has_ended = b"", False
    while not (deadline.passed or has_ended):
        # Looked at first: what it has written before its end is read, but not what its processes go on to.
        has_ended = script.poll() is not None
        ready, _, _ = select.select([script.stderr], [], [], 0 if has_ended else _POLL_SECONDS)
        if not ready:
            continue
        part = os.read(script.stderr.fileno(), _MOST_ERRORS)
        end = (end + part)[-_MOST_ERRORS:]
        if not part:  # it is closed
            with suppress(subprocess.TimeoutExpired):
                script.wait(deadline.remaining())
            break
    return end.decode(errors="replace")


def _end(script: subprocess.Popen[bytes]) -> None:
    """End the script, and the processes that it has started."""
    os.killpg(script.pid, signal.SIGTERM)
    try:
        script.wait(_SCRIPT_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # Also after a second Ctrl-C. There may be no process any more.
        with suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)
        script.wait()


def _calls(record: Path) -> list[Call]:
    """The calls of the script to the library; a line that is not whole, as after a kill, is none."""
    calls = []
    for line in record.read_text(errors="replace").splitlines():
        with suppress(ValueError, TypeError):
            calls.append(Call.from_wire(json.loads(line)))
    return calls


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _place(script: str, errors: str) -> str:
    """The line of the script that its traceback names last, as `script.py:7`; empty if there is none."""
    lines = re.findall(rf'File "{re.escape(os.path.abspath(script))}", line (\d+)', errors)
    return f"{script}:{lines[-1]}" if lines else ""


def _last_line(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip()]
    return printable(lines[-1]) if lines else ""


def placed(strike: Strike, calls: Iterable[Call]) -> tuple[Strike, int | None]:
    """Return a strike with the line of the script that it is about; None if it is not clear.

    It is the latest call that says most of what was refused. A rule about demands is that of the latest
    demand. Of a transfer, the file of this machine is added, which the provider does not know.
    """
    if strike.row in _DEMAND_ROWS:
        lines = [call.line for call in calls if call.function in _DEMANDING]
        return strike, lines[-1] if lines else None
    refused = set(_words(strike.what))
    best, most = None, 0
    for call in calls:
        said = sum(len(text) for text in set(call.texts) if text in refused)
        if said and said >= most:
            best, most = call, said
    if best is None:
        return strike, None
    return replace(strike, what=_with_file(strike.what, best.texts)), best.line


def _with_file(what: str, texts: Sequence[str]) -> str:
    """Name the file of this machine in an upload or a download, if the call has named it."""
    words = what.split(maxsplit=2)
    if len(words) < 3 or words[:2] not in (["upload", "to"], ["download", "of"]) or len(texts) != 2:
        return what
    kind, _, there = words
    if kind == "upload":
        return f"upload of {shlex.quote(texts[0])} to {there}"
    return f"download of {there} to {shlex.quote(texts[1])}"


def _words(what: str) -> list[str]:
    """What a strike names: the words of a command, and the paths of a transfer."""
    try:
        words = shlex.split(what)
    except ValueError:
        words = what.split()
    return [word for one in words for word in (one, one.removeprefix("container:"))]


def _tell(options: argparse.Namespace, runs: Sequence[Run]) -> None:
    """Print what all runs together have shown, and how to see more of one that has failed."""
    print("\n".join(_told(options.script[0], runs)), flush=True)
    failed = next((number for number, run in enumerate(runs) if not run.succeeded), None)
    if failed is not None:
        again = f"simple-golem local run --as-real --seed {options.seed + failed} --pace {options.pace}"
        advice = (
            f"to see the output of run {failed + 1}, run it alone, with the other options as here: {again} …"
        )
        print(f"simple-golem: {advice}", file=sys.stderr, flush=True)


def _told(script: str, runs: Sequence[Run]) -> list[str]:
    """One line for each rule and line of the script, with how many runs it has struck in."""
    found: dict[tuple[str, int, int | None], list[Strike]] = {}
    counts: dict[tuple[str, int, int | None], int] = {}
    for run in runs:
        keys = {(strike.rule, strike.row, line): strike for strike, line in run.strikes}
        for key, strike in keys.items():
            found.setdefault(key, []).append(strike)
            counts[key] = counts.get(key, 0) + 1
    if not found:
        return ["no rule of real providers has struck"]
    lines = ["rules of real providers that have struck:"]
    for (rule, row, line), strikes in found.items():
        place = f"{script}:{line}" if line is not None else script
        times = f"{counts[rule, row, line]} of {len(runs)} runs"
        lines.append(f"  {place}: {rule} ({row}), {times}: {strikes[0].what}: {strikes[0].text}")
    return lines
