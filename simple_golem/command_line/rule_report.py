"""Shows which rules of real providers have struck on a local network."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable

from ..local.control.strikes import Strike, StrikeLog
from ..local.machine.folders import strikes_folder


def add_logs_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `local logs` to the parser of the tool."""
    logs = commands.add_parser(
        "logs",
        help="show what local providers have refused or changed by a rule",
        description="Show what the providers of the latest local network have refused or changed by a rule "
        "of real providers: the time, the provider, the rule with its number, what it was, and the text.",
    )
    logs.set_defaults(command=show_logs)


def show_logs(options: argparse.Namespace) -> int:
    """Print the strikes of the network that was started last."""
    log = StrikeLog.latest(strikes_folder())
    strikes = () if log is None else log.read()
    if log is None:
        print("no local network has run yet")
    else:
        print("\n".join(map(str, strikes)) or "no rule has struck on the latest local network")
    return 0


def summary(strikes: Iterable[Strike]) -> str:
    """Say in one line how many rules have struck."""
    times = Counter(strike.rule for strike in strikes)
    if not times:
        return "no rule of real providers has struck"
    count = f"{len(times)} rule{'' if len(times) == 1 else 's'}"
    each = ", ".join(f"{rule} {number} time{'' if number == 1 else 's'}" for rule, number in times.items())
    return f"{count} of real providers struck: {each}; see simple-golem local logs"
