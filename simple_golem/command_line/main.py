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
from ..local.local_golem import DEFAULT_FUNDS, DEFAULT_SUBNET, LocalGolem
from ..model.cost import plain
from .daemon.commands import add_daemon_commands
from .image_commands import add_image_commands, advice_about_busybox
from .network_options import (
    add_chain_option,
    add_fortune_options,
    add_image_option,
    add_network_options,
    network_of,
    script_environment,
)
from .output import OutputLost, ToolOutput
from .rule_report import NoOfferLines, add_logs_command, summary
from .script_check import add_check_command, check_script
from .shell.command import add_shell_command

_ERROR_STATUS = 2
_THIS_TOOL = "import sys; from simple_golem.command_line.main import main; sys.exit(main())"
# How long a network with a chain waits for payments after the script; the daemon pays them one by one.
_SETTLE_TIMEOUT_SECONDS = 20.0
_SETTLE_TIMEOUT_SECONDS_PER_PROVIDER = 2.0
# The signals that end a process, besides Ctrl-C. Windows has only the first.
_END_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool.

    Args:
        arguments: the arguments after `simple-golem`; by default those of this process.

    Returns:
        The exit status of the tool.
    """
    with ToolOutput() as output:
        status = _run_tool(arguments)
    return status or output.status


def _run_tool(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except OutputLost:
        return 0  # `ToolOutput` says it, and has a status for it
    except GolemError as error:
        print(f"simple-golem: {error}", file=sys.stderr)
        return _ERROR_STATUS
    except KeyboardInterrupt:
        return _end_by_signal(signal.SIGINT)
    return status


def local_run(options: argparse.Namespace) -> int:
    """Run a script on a new local network; returns the script's exit status."""
    command = [sys.executable, *_what_to_run(options)]
    with _terminating_signals(), _network(options) as network:
        status = _run(command, network)
        # After a signal the user wants the tool to end at once.
        if options.chain and 0 <= status < 128:
            timeout = _SETTLE_TIMEOUT_SECONDS + options.providers * _SETTLE_TIMEOUT_SECONDS_PER_PROVIDER
            _show_payments(network, timeout)
        _say(summary(network.strikes))
    # A shell or make must see that the signal was Ctrl-C, or it goes on with the next command.
    return _end_by_signal(signal.SIGINT) if status == -signal.SIGINT else _shell_status(status)


def local_up(options: argparse.Namespace) -> int:
    """Keep a local network up until a signal ends it; prints the environment variables for scripts."""
    with _terminating_signals(), _network(options) as network:
        print("\n".join(f"export {name}={value}" for name, value in network.environment.items()), flush=True)
        _say("press Ctrl-C to end it")
        try:
            network.wait()
        except (KeyboardInterrupt, SystemExit):
            return 0
    raise GolemError("the local network has ended unexpectedly")


def local_check(options: argparse.Namespace) -> int:
    """Run a script several times on local networks; returns 0 if all was well."""
    with _terminating_signals():
        return check_script(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="simple-golem", description="Run services on the Golem Network from plain, blocking Python."
    )
    parser.add_argument("--version", action="version", version=f"simple-golem {__version__}")
    tools = parser.add_subparsers(metavar="COMMAND", required=True)
    add_daemon_commands(tools)
    add_shell_command(tools)
    local = tools.add_parser("local", help="a Golem network on this machine, offline")
    commands = local.add_subparsers(metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run",
        help="run a script on a new local network",
        usage="%(prog)s [OPTIONS] SCRIPT [ARGS…]   (or -m MODULE, or -c CODE, as with python, or --shell)",
        description="Start a local network, run a script on it, and end the network after the script.",
    )
    add_network_options(run, "--providers 2 --habit prov-2=dies-after:5 script.py")
    rest = argparse.REMAINDER
    add_chain_option(run)
    add_fortune_options(run)
    run.add_argument("-m", dest="module", nargs=rest, help="run a module, as with python -m")
    run.add_argument("-c", dest="code", nargs=rest, help="run code, as with python -c")
    run.add_argument(
        "--shell",
        nargs=rest,
        metavar="OPTIONS",
        help="rent a machine and run what is typed on it, as `simple-golem shell` does, with its options",
    )
    run.add_argument(
        "script", nargs=rest, metavar="SCRIPT [ARGS…]", help="the script to run, and its arguments"
    )
    run.set_defaults(command=local_run, parser=run)
    up = commands.add_parser(
        "up",
        help="keep a local network up, and print its environment variables",
        description="Start a local network, print its environment variables, and keep it up until Ctrl-C.",
    )
    add_network_options(up, "--chain --funds 10")
    add_chain_option(up)
    add_fortune_options(up)
    up.set_defaults(command=local_up)
    add_image_commands(commands, add_image_option)
    add_logs_command(commands)
    add_check_command(commands, local_check)
    return parser


def _what_to_run(options: argparse.Namespace) -> list[str]:
    if options.module:
        return ["-m", *options.module]
    if options.code:
        return ["-c", *options.code]
    if options.shell is not None:
        return ["-c", _THIS_TOOL, "shell", *options.shell]
    if not options.script:
        options.parser.error("name the script to run, or use -m, -c or --shell")
    if not os.path.exists(options.script[0]):
        raise GolemError(f"there is no script {options.script[0]}")
    return list(options.script)


@contextmanager
def _network(options: argparse.Namespace) -> Iterator[LocalGolem]:
    network = network_of(options)
    count = f"{options.providers} provider{'' if options.providers == 1 else 's'}"
    _say(f"starting a local Golem network with {count}")
    begun = time.monotonic()
    with network:
        named = " and ".join(map(repr, options.subnet or [DEFAULT_SUBNET]))
        _say(f"the network is up after {time.monotonic() - begun:.1f} s, in subnet {named}")
        if advice := advice_about_busybox():
            _say(advice)
        for url in options.web_server:
            network.allow_web_server(url)
        if options.chain:
            _say(f"the requestor has {options.funds or DEFAULT_FUNDS} tGLM on the chain {network.chain.url}")
        with NoOfferLines(network, _say):
            yield network


def _say(text: str) -> None:
    print(f"simple-golem: {text}", file=sys.stderr, flush=True)


def _show_payments(network: LocalGolem, timeout: float) -> None:
    """Wait for the payments, which come after the end of the script, and print them."""
    try:
        if not network.settle(timeout):
            _say("not all invoices that the script has accepted could be paid")
        transfers = network.chain.transfers()
    except GolemError as error:
        _say(f"the payments can't be shown: {error}")
        return
    names = {provider.node_id: provider.name for provider in network.providers}
    for one in transfers:
        to = names.get(one.recipient, one.recipient)
        _say(f"{plain(one.amount)} tGLM paid to {to}, transaction {one.transaction}")


# --- the script and signals -----------------------------------------------------------------


def _run(command: Sequence[str], network: LocalGolem) -> int:
    """Run the script, and wait for its end also after signals; returns its status as `subprocess` does."""
    with _ForwardedSignals() as signals:
        script = subprocess.Popen(command, env=script_environment(network))
        try:
            network.guard(script.pid)
        except LocalNetworkError:
            script.kill()
            script.wait()
            raise
        signals.forward_to(script)
        return script.wait()


class _ForwardedSignals:
    """Forwards SIGTERM and SIGHUP from the tool to the script while the script runs.

    Ctrl-C is not forwarded, because the terminal sends it to the script too.
    """

    def __init__(self) -> None:
        self._script: subprocess.Popen[bytes] | None = None
        self._waiting: list[int] = []

    def __enter__(self) -> _ForwardedSignals:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_END_SIGNALS)}
        for number, handler in self._before.items():
            # A signal that is ignored from the start, as under nohup, stays ignored.
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
            # The script may not have existed yet when the terminal sent the signal.
            self._waiting.append(number)
        elif number in _END_SIGNALS:
            self._script.send_signal(number)


@contextmanager
def _terminating_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit, so that the network is ended, as with Ctrl-C."""
    before: Mapping[signal.Signals, Any] = {number: signal.getsignal(number) for number in _END_SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _exit_by_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_by_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _shell_status(status: int) -> int:
    return status if status >= 0 else 128 - status


def _end_by_signal(number: signal.Signals) -> int:
    """End this process by a signal, so that its parent process sees the signal."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


if __name__ == "__main__":
    sys.exit(main())
