"""`simple-golem cleanup` after a killed script, while nobody reads what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from simple_golem.engine.payment.journal import FOLDER_VARIABLE
from simple_golem.model.cost import rounded
from simple_golem.testing import FakeProvider, FakeYagna
from tests.helpers.unmeasured import own_environment

INSTANCES = 3
# Ends as with `kill -9`, while its instances run.
KILLED_SCRIPT = f"""
import os, signal
from simple_golem import Golem
golem = Golem(1)
golem.open()
golem.run_service(num_instances={INSTANCES}).wait_until_running(30)
os.kill(os.getpid(), signal.SIGKILL)
"""
CLEANUP = [sys.executable, "-m", "simple_golem.command_line.main", "cleanup", "--wait", "5"]


def without_a_reader(path: Path) -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def on_a_full_disk(path: Path) -> int:
    return os.open("/dev/full", os.O_WRONLY)


def to_a_file(path: Path) -> int:
    return os.open(path / "output", os.O_WRONLY | os.O_CREAT)


@pytest.mark.parametrize(
    ("output", "status", "said"),
    [
        (without_a_reader, 141, ""),
        (on_a_full_disk, 1, "simple-golem: the output can't be written: No space left on device\n"),
        (to_a_file, 0, ""),
    ],
)
def test_output_that_can_not_be_written_stops_no_cleanup(
    output: Callable[[Path], int], status: int, said: str, tmp_path: Path
) -> None:
    # The encoding of the output has no such letter.
    providers = [FakeProvider(f"prövider-{number}") for number in range(INSTANCES)]
    with FakeYagna(providers) as fake:
        environment = own_environment() | fake.environment
        environment |= {FOLDER_VARIABLE: str(tmp_path), "PYTHONIOENCODING": "ascii"}
        subprocess.run([sys.executable, "-c", KILLED_SCRIPT], env=environment, timeout=60, check=False)
        assert len(fake.leftovers()) > INSTANCES
        stdout = output(tmp_path)
        try:
            cleanup = subprocess.run(
                CLEANUP,
                env=environment,
                timeout=60,
                check=False,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            os.close(stdout)
        assert fake.leftovers() == []
    assert (cleanup.returncode, cleanup.stderr) == (status, said)


def test_the_last_line_says_how_many_agreements_were_ended_and_what_was_paid(tmp_path: Path) -> None:
    with FakeYagna(INSTANCES) as fake:
        environment = own_environment() | fake.environment | {FOLDER_VARIABLE: str(tmp_path)}
        subprocess.run([sys.executable, "-c", KILLED_SCRIPT], env=environment, timeout=60, check=False)
        *steps, total = subprocess.run(
            CLEANUP, env=environment, timeout=60, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.splitlines()
        again = subprocess.run(
            CLEANUP, env=environment, timeout=60, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    amounts = [
        Decimal(found[1]) for step in steps if (found := re.search(r" over ([\d.]+) tGLM paid$", step))
    ]
    assert len(amounts) == INSTANCES
    assert sum(amounts) > 0
    assert total == f"in all: {INSTANCES} agreements ended, {rounded(sum(amounts, Decimal(0)))} tGLM paid"
    assert again == "nothing to clean up\n"


def test_messages_that_can_not_be_written_stop_no_cleanup(tmp_path: Path) -> None:
    with FakeYagna(INSTANCES) as fake:
        environment = own_environment() | fake.environment | {FOLDER_VARIABLE: str(tmp_path)}
        subprocess.run([sys.executable, "-c", KILLED_SCRIPT], env=environment, timeout=60, check=False)
        full = on_a_full_disk(tmp_path)
        try:
            cleanup = subprocess.run(
                CLEANUP, env=environment, timeout=60, check=False, stdout=full, stderr=full
            )
        finally:
            os.close(full)
        assert fake.leftovers() == []
    assert cleanup.returncode == 1


def test_a_terminal_that_is_lost_stops_no_cleanup(tmp_path: Path) -> None:
    # The invoices come after the signal.
    with FakeYagna([FakeProvider(f"prov-{number}", invoice_after=2) for number in range(INSTANCES)]) as fake:
        environment = own_environment() | fake.environment | {FOLDER_VARIABLE: str(tmp_path)}
        subprocess.run([sys.executable, "-c", KILLED_SCRIPT], env=environment, timeout=60, check=False)
        with subprocess.Popen(CLEANUP, env=environment, stdout=subprocess.PIPE) as cleanup:
            assert cleanup.stdout is not None
            assert cleanup.stdout.readline()
            cleanup.send_signal(signal.SIGHUP)
            cleanup.communicate(timeout=60)
        assert cleanup.returncode == 0
        assert fake.leftovers() == []
