"""What an import costs a user who has installed the wheel, bytecode included."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import simple_golem

EVERYTHING = (
    "import simple_golem, simple_golem.engine.market.offer_preview, "
    "simple_golem.events, simple_golem.services.open_golem, simple_golem.engine.life.life, "
    "simple_golem.engine.life.batch_runner, "
    "simple_golem.engine.network.networks, simple_golem.services.pool.pool_builder"
)
"""Loads what an open Golem may need, however much of it is left for later."""

_SOURCES = ("pyproject.toml", "setup.cfg", "README.md", "LICENSE", "simple_golem")
_OF_A_BUILD = shutil.ignore_patterns("__pycache__", "*.pyc")
_LONGEST_SECONDS = 300.0


class NoMeasure(Exception):
    """The package can't be installed, or an import failed."""


@contextmanager
def installed_package() -> Iterator[str]:
    """Install this checkout's package and what it requires into a new environment; gives its interpreter.

    Blocks for ten seconds, and needs a package index. The environment is deleted at the end.

    Raises:
        NoMeasure: it can't be installed.
    """
    root = Path(simple_golem.__file__).parents[1]
    with tempfile.TemporaryDirectory(prefix="simple-golem-import-") as name:
        # A copy, so that the build leaves nothing in the checkout.
        sources, environment = Path(name, "sources"), Path(name, "environment")
        sources.mkdir()
        for source in _SOURCES:
            if (root / source).is_dir():
                shutil.copytree(root / source, sources / source, ignore=_OF_A_BUILD)
            else:
                shutil.copy(root / source, sources)
        python = str(environment / "bin" / "python")
        _run([sys.executable, "-m", "venv", str(environment)])
        _run([python, "-m", "pip", "install", "-q", "--compile", str(sources)])
        yield python


def import_milliseconds(
    programs: Mapping[str, tuple[str, str]], python: str, rounds: int
) -> dict[str, list[float]]:
    """Measure programs that only import something, in turns, and subtract what a bare interpreter takes.

    Args:
        programs: by name, an interpreter and the import statement that it runs.
        python: the interpreter whose bare start is subtracted.
        rounds: how often each is run.

    Returns:
        For each name, the milliseconds of processor time of each round.

    Raises:
        NoMeasure: an import failed.
    """
    result: dict[str, list[float]] = defaultdict(list)
    for program in programs.values():
        # The first time reads the files from the disk.
        _processor_milliseconds(*program)
    for _ in range(rounds):
        bare = _processor_milliseconds(python, "pass")
        for name, program in programs.items():
            result[name].append(_processor_milliseconds(*program) - bare)
    return result


def _processor_milliseconds(python: str, statement: str) -> float:
    """From the start of the process to its end: to take down what was loaded is part of the price."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Isolated, so that neither the working folder nor PYTHONPATH shows it another package.
    _run([python, "-I", "-c", statement])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def _run(command: list[str]) -> None:
    # An environment's own interpreter is found by its path, not by what the caller has activated.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    try:
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_LONGEST_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise NoMeasure(f"{' '.join(command)} has not ended: {error}") from error
    if run.returncode != 0:
        raise NoMeasure(f"{' '.join(command)} ended with {run.returncode}: {run.stderr}")
