"""The fixture that fails a test which leaves a thread or a process behind, tried on such a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.helpers.child_processes import running_children
from tests.unit.conftest import eventually

CHECKOUT = Path(__file__).resolve().parents[3]
UNTIDY = """
import subprocess, sys, threading

from tests import conftest

conftest.END_SECONDS = 1.0

over = threading.Event()

def test_a_process_leaves_a_thread_and_a_process():
    global child
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    threading.Thread(target=over.wait, name="left-thread").start()

def test_a_tidy_process_leaves_nothing():
    subprocess.run([sys.executable, "-c", ""], check=True)

def teardown_module():
    over.set()
    child.communicate()
"""


def test_a_thread_and_a_process_left_running_are_reported(tmp_path: Path) -> None:
    untidy = tmp_path / "test_untidy.py"
    untidy.write_text(UNTIDY, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--rootdir", tmp_path, untidy]
    ran = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert "AssertionError: left running: process" in ran.stdout
    assert "input()), thread left-thread" in ran.stdout
    assert "2 passed, 1 error" in ran.stdout


def test_a_child_is_listed_while_it_runs() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        # A program has no command line yet at the very begin.
        eventually(lambda: running_children()[child.pid].endswith("-c input()"))
        child.kill()
    assert child.pid not in running_children()
