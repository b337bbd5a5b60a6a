"""`simple-golem shell`: rents one machine, and runs what is typed on it."""

from __future__ import annotations

import argparse
import codecs
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from ...background.cancellation import checked_seconds
from ...errors import (
    ActivityLost,
    BadArgument,
    BatchLost,
    CommandFailed,
    GolemError,
    NotRunning,
    TransferFailed,
)
from ...golem import Golem
from ...model.base.printable import printable
from ...model.commands.file_commands import FileCommand
from ...model.offers.strategy import Strategy
from ...model.payload import vm
from ...services.instance import Instance
from ..colours import dim
from ..daemon.connection_options import add_connection_options
from ..help_format import HelpFormat
from .file_lines import file_command
from .lines import piped_lines, typed_lines
from .remote_shell import RemoteShell
from .words import in_words_of_shell, log_in_words

_TIMEOUT_SECONDS = 180.0
_HASH = re.compile(r"[0-9a-fA-F]{56}")
_EXIT = re.compile(r"\s*exit(?:\s+([0-9]{1,3}))?\s*")
_FAILED = 1
_INTERRUPTED = 130
_LINES = """\
  put LOCAL [REMOTE]    copy a file or a folder to the machine
  get REMOTE [LOCAL]    copy a file back, or a folder: REMOTE ends with /
  Ctrl-C                end the command that runs
  Ctrl-D, exit          end the machine, and show what it cost
  help                  show these lines
"""
_DESCRIPTION = f"""\
Rent one machine, and run what is typed on it. Each line is run by /bin/sh; the working folder stays.

{_LINES}
If standard input is no terminal, it is a script: the status is that of its last command.
"""
_EXAMPLES = """\
examples:
  simple-golem shell --image golem/alpine:latest --budget 0.5
  echo 'uname -a' | simple-golem shell
  simple-golem local run --shell
"""


def add_shell_command(commands: Any) -> None:
    """Add the command to the parser of the tool."""
    shell = commands.add_parser(
        "shell",
        help="rent one machine, and run what is typed on it",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=HelpFormat,
    )
    shell.add_argument("--image", metavar="TAG_OR_HASH", help="the image (default: golem/alpine:latest)")
    shell.add_argument("--min-mem-gib", type=float, default=0.5, metavar="GIB", help="the least memory")
    shell.add_argument(
        "--min-storage-gib", type=float, default=2.0, metavar="GIB", help="the least disk space"
    )
    shell.add_argument("--min-cpu-threads", type=int, default=1, metavar="N", help="the fewest threads")
    shell.add_argument(
        "--budget", default="1", metavar="GLM", help="what may be spent at most (default: 1 GLM)"
    )
    shell.add_argument(
        "--max-price-per-hour", metavar="GLM", help="the highest price of an hour, without processor time"
    )
    shell.add_argument(
        "--max-price-per-cpu-hour", metavar="GLM", help="the highest price of an hour of processor time"
    )
    shell.add_argument("--max-start-price", metavar="GLM", help="the highest price of the start")
    shell.add_argument(
        "--timeout",
        type=float,
        default=_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"the longest time to wait for the machine (default: {_TIMEOUT_SECONDS:g})",
    )
    add_connection_options(shell)
    shell.set_defaults(command=run_shell)


def run_shell(options: argparse.Namespace) -> int:
    """Rent a machine, run the lines, and print the cost; returns the status of the last line."""
    with log_in_words(_tell):
        try:
            return _rent_and_run(options)
        except GolemError as error:
            raise GolemError(in_words_of_shell(str(error))) from error


def _rent_and_run(options: argparse.Namespace) -> int:
    for stream, name in ((sys.__stdin__, "input"), (sys.__stdout__, "output")):
        if stream is None:
            raise BadArgument(f"standard {name} is closed: run simple-golem shell without <&- or >&-")
    timeout = checked_seconds(options.timeout, "--timeout")
    strategy = Strategy(
        max_price_per_hour=options.max_price_per_hour,
        max_price_per_cpu_hour=options.max_price_per_cpu_hour,
        max_start_price=options.max_start_price,
    )
    is_hash = _HASH.fullmatch(options.image or "") is not None
    payload = vm.repo(
        image_hash=options.image if is_hash else None,
        image_tag=None if is_hash else options.image,
        min_mem_gib=options.min_mem_gib,
        min_storage_gib=options.min_storage_gib,
        min_cpu_threads=options.min_cpu_threads,
    )
    golem = Golem(
        options.budget,
        api_url=options.api_url,
        subnet_tag=options.subnet,
        payment_network=options.network,
        strategy=strategy,
    )
    try:
        with golem:
            _tell("renting a machine")
            begun = time.monotonic()
            machine = golem.rent(timeout, payload=payload, name="shell")
            _tell(f"{_provider(machine)} is ready after {time.monotonic() - begun:.1f} s")
            return _run_lines(machine)
    finally:
        if golem.instances:
            _tell(f"it cost {golem.cost}")


def _run_lines(machine: Instance) -> int:
    """Run all lines; returns the status of the last one."""
    interactive = sys.stdin.isatty()
    status = 0
    try:
        shell = RemoteShell(machine, _terminal_writer() if sys.stdout.isatty() else _write, _tell, _note)
        if interactive:
            _tell("put and get copy files, Ctrl-C ends a command, Ctrl-D the machine")
        lines = typed_lines(lambda: _prompt(machine, shell), _tell) if interactive else piped_lines()
        for line in lines:
            if ended := _EXIT.fullmatch(line):
                return int(ended[1]) % 256 if ended[1] else status
            if line.strip() == "help":
                sys.stderr.write(_LINES)
                status = 0
            elif line.strip():
                status = _run_line(machine, shell, line, status, interactive)
    except (NotRunning, ActivityLost, BatchLost) as error:
        raise GolemError(f"the machine is lost, and no other one is rented: {error}") from error
    return status


def _run_line(machine: Instance, shell: RemoteShell, line: str, status: int, interactive: bool) -> int:
    command: FileCommand | None = None
    try:
        command = file_command(line, shell.folder)
        if command is None:
            return shell.run(line, previous_code=status, interruptible=interactive)
        machine.execute(command)
    except (BadArgument, CommandFailed, TransferFailed) as error:
        text = str(error) if command is None else str(error).replace(repr(command), line.strip())
        _tell(in_words_of_shell(text))
        return _FAILED
    except KeyboardInterrupt:
        if not interactive or command is None:
            raise
        _tell("^C: a transfer can't be ended alone. It goes on, and the next command waits for it")
        return _INTERRUPTED
    return 0


def _prompt(machine: Instance, shell: RemoteShell) -> str:
    return f"{_provider(machine)}:{printable(shell.folder)}$ "


def _provider(machine: Instance) -> str:
    return printable(machine.provider_name or machine.name)


def _terminal_writer() -> Callable[[bytes], None]:
    """Return what writes output to a terminal, without the signs by which a provider could control it."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def write(data: bytes) -> None:
        text = decoder.decode(data)
        sys.stdout.write("".join(sign if sign.isprintable() or sign in "\n\r\t" else "�" for sign in text))
        sys.stdout.flush()

    return write


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _note(text: str) -> None:
    """Tell what stands back behind the output of the commands."""
    sys.stderr.write(dim(f"simple-golem: {text}", sys.stderr) + "\n")
    sys.stderr.flush()


def _tell(text: str) -> None:
    sys.stderr.write(f"simple-golem: {text}\n")
    sys.stderr.flush()
