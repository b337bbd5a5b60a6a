"""One session that is killed, sometimes a cleanup that is killed, too, and then a cleanup that is not."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simple_golem.testing import FakeYagna
from simple_golem.yagna.client import Yagna
from tests.helpers.unmeasured import own_environment
from tests.soak.fault_runs.providers import providers

_CHECKOUT = Path(__file__).resolve().parents[3]
# A session makes all that it can leave behind within this time.
LATEST_KILL_SECONDS = 1.5
LATEST_KILL_OF_CLEANUP_SECONDS = 1.0
_PATIENCE = 60.0
# The daemon lists nobody's addresses of files. That of a file that was on its way stays until the daemon is
# restarted: nothing answers there any more, and nobody can read the file.
UNREACHABLE = "service"


@dataclass
class KillOutcome:
    """What has become of a killed session.

    Attributes:
        kind: what was killed.
        left: what the session had left on the daemon when it was killed, without its ids.
        broken: what must not be, in words.
    """

    seed: int
    kind: str
    killed_after: float = 0.0
    left: Sequence[str] = ()
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


KINDS = (
    "a session",
    "a session and its cleanup",
    "one of two sessions with the same key",
    "a session on a full disk",
)
# There is room for the beginning of a journal, and the disk is full in the middle of some later line.
_FULL_BYTES = (700, 3000)


def kill_seed(seed: int) -> KillOutcome:
    """Do what the seed says; blocks until the cleanup has ended."""
    of_random = random.Random(seed)
    outcome = KillOutcome(seed, KINDS[seed % len(KINDS)])
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, FakeYagna(providers(), seed=f"kill {seed}") as fake:
        environment = _environment(fake, folder)
        with contextlib.ExitStack() as survivors:
            if outcome.kind == KINDS[2]:
                other = survivors.enter_context(_victim(fake, seed + 1, environment, "--rounds", "2"))
            limit = ["--most-bytes", str(of_random.randint(*_FULL_BYTES))] if outcome.kind == KINDS[3] else []
            with _victim(fake, seed, environment, *limit) as victim:
                outcome.killed_after = of_random.uniform(0.0, LATEST_KILL_SECONDS)
                time.sleep(outcome.killed_after)
                outcome.left = sorted({one.split()[0] for one in fake.leftovers()})
                _kill(victim)
                noted = _whole_lines(folder)
            if outcome.kind == KINDS[1]:
                _wait_for_the_last_request(fake)
                with _cleanup(environment) as cleanup:
                    time.sleep(of_random.uniform(0.0, LATEST_KILL_OF_CLEANUP_SECONDS))
                    _kill(cleanup)
            if outcome.kind == KINDS[2]:
                # While the other one works.
                _clean_up(environment, outcome)
                _await_end(other, outcome)
        _wait_for_the_last_request(fake)
        _clean_up(environment, outcome)
        unknown = {UNREACHABLE} | (_networks_not_in(noted, fake) if outcome.kind == KINDS[3] else set())
        left = [one for one in fake.leftovers() if not one.startswith(tuple(unknown))]
        outcome.broken += [f"left after cleanup: {one}" for one in left]
        outcome.broken += [f"a journal is left: {one.name}" for one in Path(folder).glob("*.jsonl")]
    outcome.seconds = time.monotonic() - began
    return outcome


def _wait_for_the_last_request(fake: FakeYagna) -> None:
    """Block until the daemon has carried out all requests of a killed process."""
    assert fake._server is not None
    until = time.monotonic() + _PATIENCE
    while fake._server._connections and time.monotonic() < until:
        time.sleep(0.01)


def _whole_lines(folder: str) -> str:
    """What all journals say, without lines that are cut off."""
    return "".join(one.read_text().rpartition("\n")[0] for one in Path(folder).glob("*.jsonl"))


def _networks_not_in(noted: str, fake: FakeYagna) -> set[str]:
    """Networks whose mark no journal could note, since the disk was full.

    The daemon does not list whose they are. Without instances they cost nothing, and they end with it.
    """
    yagna = Yagna(fake.url, fake.app_key)
    try:
        networks = yagna.network.networks()
    finally:
        yagna.close()
    return {f"network {one.network_id}" for one in networks if f'"{one.gateway}"' not in noted}


def _environment(fake: FakeYagna, folder: str) -> Mapping[str, str]:
    return {
        **own_environment(),
        **fake.environment,
        "SIMPLE_GOLEM_STATE": folder,
        "PYTHONPATH": str(_CHECKOUT),
    }


@contextlib.contextmanager
def _victim(
    fake: FakeYagna, seed: int, environment: Mapping[str, str], *more: str
) -> Iterator[subprocess.Popen[str]]:
    """A session in a process of its own, from the moment at which it begins."""
    words = ["tests.soak.kills.victim", fake.url, fake.app_key, str(seed), *more]
    with _process(words, environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process


@contextlib.contextmanager
def _cleanup(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    words = ["simple_golem.command_line.main", "cleanup", "--wait", "5", "--suspended"]
    code = "import sys; from simple_golem.command_line.main import main; sys.exit(main(sys.argv[1:]))"
    with _process(["-c", code, *words[1:]], environment) as process:
        yield process


@contextlib.contextmanager
def _process(words: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *(words if words[0] == "-c" else ["-m", *words])]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, cwd=_CHECKOUT, stdout=pipe, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def _clean_up(environment: Mapping[str, str], outcome: KillOutcome) -> None:
    with _cleanup(environment) as cleanup:
        _await_end(cleanup, outcome)


def _await_end(process: subprocess.Popen[str], outcome: KillOutcome) -> None:
    """Block until a process has ended; it has to end well."""
    try:
        told, _ = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        outcome.broken.append(f"{process.args} hangs")
        return
    if process.returncode:
        outcome.broken.append(f"{process.args} has ended with {process.returncode}: {told}")
