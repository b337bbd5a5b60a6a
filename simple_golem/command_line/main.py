"""`simple-golem`: the command line tool."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .._version import __version__
from ..errors import GolemError, LocalNetworkError
from ..local.control.habits import ProviderHabits
from ..local.images.image_store import ImageStore
from ..local.local_golem import DEFAULT_FUNDS, DEFAULT_PROVIDERS, DEFAULT_SUBNET, MOST_PROVIDERS, LocalGolem
from ..model.cost import plain
from .daemon_commands import add_daemon_commands
from .habit_options import POSSIBLE_HABITS, spelled_habits

_FAILED = 2
# How long a network with a chain stays for what is still to be paid; the daemon pays one after the other.
_SETTLE_SECONDS = 20.0
_PAYMENT_SECONDS = 2.0
# What asks a process to end, beside Ctrl-C; Windows knows only the first.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
# Settings of a yagna that the user may have elsewhere, which would lead a script away from the local one.
_LEADING_ASTRAY = (
    "YAGNA_MARKET_URL",
    "YAGNA_ACTIVITY_URL",
    "YAGNA_PAYMENT_URL",
    "YAGNA_NET_URL",
    "YAGNA_PAYMENT_DRIVER",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; returns its exit status.

    Args:
        arguments: what was typed after `simple-golem`; by default the process's own arguments.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except GolemError as error:
        print(f"simple-golem: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return _die_of(signal.SIGINT)
    return status


def local_run(options: argparse.Namespace) -> int:
    """Run a script on a local network of its own; returns the script's exit status."""
    command = [sys.executable, *_what_to_run(options)]
    with _terminating_signals(), _network(options) as network:
        status = _run(command, network)
        # Who has ended it by a signal wants to wait for nothing.
        if options.chain and 0 <= status < 128:
            _tell_payments(network, _SETTLE_SECONDS + options.providers * _PAYMENT_SECONDS)
    # Shells and make have to see that it was Ctrl-C, or they go on with the next command.
    return _die_of(signal.SIGINT) if status == -signal.SIGINT else _shell_status(status)


def local_up(options: argparse.Namespace) -> int:
    """Keep a local network up until it is interrupted; prints what to export."""
    with _terminating_signals(), _network(options) as network:
        print("\n".join(f"export {name}={value}" for name, value in network.environment.items()), flush=True)
        _say("Ctrl-C ends it")
        try:
            network.wait()
        except (KeyboardInterrupt, SystemExit):
            return 0
    raise GolemError("the local network has ended by itself")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simple-golem", description="Run services on the Golem Network from plain, blocking Python."
    )
    parser.add_argument("--version", action="version", version=f"simple-golem {__version__}")
    tools = parser.add_subparsers(metavar="COMMAND", required=True)
    add_daemon_commands(tools)
    local = tools.add_parser("local", help="a whole Golem network on this machine, offline")
    commands = local.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run",
        help="run a script on a network of its own",
        usage="%(prog)s [OPTIONS] SCRIPT [ARGS…]   (or -m MODULE, or -c CODE, as with python)",
        description="Start a local network, run a script on it, and end it with the script.",
    )
    _add_network_options(run)
    rest = argparse.REMAINDER
    run.add_argument("-m", dest="module", nargs=rest, help="run a module, as with python -m")
    run.add_argument("-c", dest="code", nargs=rest, help="run code, as with python -c")
    run.add_argument("script", nargs=rest, metavar="SCRIPT [ARGS…]", help="what to run; the rest is its own")
    run.set_defaults(command=local_run, parser=run)
    up = commands.add_parser(
        "up",
        help="keep a network up, and print what to export",
        description="Start a local network, print what to export, and keep it up until Ctrl-C.",
    )
    _add_network_options(up)
    up.set_defaults(command=local_up)
    return parser


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--providers",
        type=int,
        default=DEFAULT_PROVIDERS,
        metavar="N",
        help=f"how many providers, 1 to {MOST_PROVIDERS} (default: {DEFAULT_PROVIDERS})",
    )
    parser.add_argument(
        "--subnet",
        default=DEFAULT_SUBNET,
        help=f"where they offer; demands in other subnets are answered too (default: {DEFAULT_SUBNET})",
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="TAG_OR_HASH=FOLDER",
        help="an image for payloads: a folder that is laid over an activity's /golem; may be repeated",
    )
    parser.add_argument(
        "--habit",
        action="append",
        default=[],
        metavar="PROVIDER=HABIT",
        help="how a provider misbehaves, as in --habit prov-2=dies-after:5; may be repeated. "
        f"The habits are {POSSIBLE_HABITS}",
    )
    parser.add_argument(
        "--chain",
        action="store_true",
        help="have a chain, on which invoices are really paid, and a budget is refused that nobody has",
    )
    parser.add_argument(
        "--funds",
        metavar="GLM",
        help=f"how much the requestor has on the chain (default: {DEFAULT_FUNDS})",
    )


def _what_to_run(options: argparse.Namespace) -> list[str]:
    if options.module:
        return ["-m", *options.module]
    if options.code:
        return ["-c", *options.code]
    if not options.script:
        options.parser.error("which script is to be run?")
    if not os.path.exists(options.script[0]):
        raise GolemError(f"there is no script {options.script[0]}")
    return list(options.script)


@contextmanager
def _network(options: argparse.Namespace) -> Iterator[LocalGolem]:
    ImageStore.with_options(options.image)
    images = dict(option.split("=", 1) for option in options.image)
    network = LocalGolem(
        _providers(options), options.subnet, images, chain=options.chain, funds=options.funds
    )
    count = f"{options.providers} provider{'' if options.providers == 1 else 's'}"
    _say(f"starting a local Golem network with {count}")
    begun = time.monotonic()
    with network:
        _say(f"it is up after {time.monotonic() - begun:.1f} s, in subnet {options.subnet!r}")
        if options.chain:
            _say(f"the requestor has {options.funds or DEFAULT_FUNDS} tGLM on the chain {network.chain.url}")
        yield network


def _providers(options: argparse.Namespace) -> int | list[ProviderHabits]:
    """How many, or how each of them behaves; an impossible number is told by the network itself."""
    if not options.habit or not 1 <= options.providers <= MOST_PROVIDERS:
        return int(options.providers)
    return spelled_habits(options.habit, options.providers)


def _say(what: str) -> None:
    print(f"simple-golem: {what}", file=sys.stderr, flush=True)


def _tell_payments(network: LocalGolem, timeout: float) -> None:
    """The network ends with the script, and payments take a moment longer: wait for them, and tell them."""
    try:
        if not network.settle(timeout):
            _say("not all that the script has accepted could be paid")
        transfers = network.chain.transfers()
    except GolemError as error:
        _say(f"what was paid can't be told: {error}")
        return
    names = {provider.node_id: provider.name for provider in network.providers}
    for one in transfers:
        to = names.get(one.recipient, one.recipient)
        _say(f"{plain(one.amount)} tGLM paid to {to}, transaction {one.transaction}")


# --- a script, and the signals meanwhile ---------------------------------------------------------


def _run(command: Sequence[str], network: LocalGolem) -> int:
    """Run the script to its end, whatever signals come; returns its status as `subprocess` has it."""
    environment = {name: value for name, value in os.environ.items() if name not in _LEADING_ASTRAY}
    with _ForwardedSignals() as signals:
        script = subprocess.Popen(command, env=environment | network.environment)
        try:
            network.guard(script.pid)
        except LocalNetworkError:
            script.kill()
            script.wait()
            raise
        signals.forward_to(script)
        return script.wait()


class _ForwardedSignals:
    """While a script lives its signals are not the tool's: what the tool gets alone, it passes on.

    A Ctrl-C is not passed on: the terminal gives it to the script itself.
    """

    def __init__(self) -> None:
        self._script: subprocess.Popen[bytes] | None = None
        self._waiting: list[int] = []

    def __enter__(self) -> _ForwardedSignals:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDING)}
        for number, handler in self._before.items():
            # What is ignored from the start, as under nohup, stays so for the script as well.
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._received)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def forward_to(self, script: subprocess.Popen[bytes]) -> None:
        self._script = script
        for number in self._waiting:
            script.send_signal(number)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._script is None:
            # The script may not have been there yet when the terminal gave it to everybody.
            self._waiting.append(number)
        elif number in _ENDING:
            self._script.send_signal(number)


@contextmanager
def _terminating_signals() -> Iterator[None]:
    """SIGTERM and the end of the terminal leave through the clean-up, as Ctrl-C does."""
    before: Mapping[signal.Signals, Any] = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _shell_status(status: int) -> int:
    return status if status >= 0 else 128 - status


def _die_of(number: signal.Signals) -> int:
    """End this process by a signal, as its parent expects of it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


if __name__ == "__main__":
    sys.exit(main())
