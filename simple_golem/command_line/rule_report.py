"""Shows which rules of real providers have struck on a local network."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable

from ..background.cancellation import Scope
from ..background.threads import EngineThread
from ..local.control import rules
from ..local.control.strikes import Strike, StrikeLog, of_script
from ..local.local_golem import LocalGolem
from ..local.machine.folders import strikes_folder

_POLL_SECONDS = 0.5
_NO_OFFER = (rules.SUBNET.name, rules.PAYMENT_NETWORK.name)


class NoOfferLines:
    """Says at once when a demand gets no offer, since it asks for a subnet or network that is not offered.

    Without it the user would only see that nothing comes. A thread does it, until the `with` block ends.
    """

    def __init__(self, network: LocalGolem, say: Callable[[str], object]) -> None:
        self._network = network
        self._say = say
        self._scope = Scope()
        self._thread = EngineThread("no-offer-lines", self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._scope.cancel("the network ends")
        self._thread.join()

    def _run(self) -> None:
        said: set[str] = set()
        while not self._scope.wait(_POLL_SECONDS):
            for strike in self._network.strikes:
                if strike.rule in _NO_OFFER and strike.text not in said:
                    said.add(strike.text)
                    self._say(strike.text)


def add_logs_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `local logs` to the parser of the tool."""
    logs = commands.add_parser(
        "logs",
        help="show what local providers have refused or changed by a rule",
        description="Show what the providers of the latest local network have refused or changed by a rule "
        "of real providers: the time, the provider, the rule with its number, what it was, and the text.",
        epilog="example: simple-golem local logs | grep prov-2",
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
    """Say in one line how many rules have struck; those are left out that no script can avoid."""
    times = Counter(strike.rule for strike in of_script(strikes))
    if not times:
        return "no rule of real providers has struck"
    count = f"{len(times)} rule{'' if len(times) == 1 else 's'}"
    each = ", ".join(f"{rule} {number} time{'' if number == 1 else 's'}" for rule, number in times.items())
    return f"{count} of real providers struck: {each}; see simple-golem local logs"
