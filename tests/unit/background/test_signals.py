"""What signals do to a `with` in the main thread, each tried in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from simple_golem.background.signals import EndSignals, Terminated, shortening
from tests.helpers.unmeasured import own_environment

BODY = """
import os, signal, sys
from simple_golem.background.signals import EndSignals, Terminated, shortening

def send(name):
    os.kill(os.getpid(), getattr(signal, name))
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    # Coverage, where it is measured, has a handler of its own for SIGTERM, and words of its own on stderr.
    environment = own_environment()
    return subprocess.run(
        [sys.executable, "-c", BODY + script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_leaves_through_every_with_and_its_number_is_in_the_status(name: str, status: int) -> None:
    ended = run(
        f"signals = EndSignals()\nsignals.handle()\n"
        f"try:\n    send({name!r})\nfinally:\n    print('cleaned up', flush=True)\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "cleaned up\n", "")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_an_ignored_signal_stays_ignored(name: str) -> None:
    ended = run(
        f"signal.signal(signal.{name}, signal.SIG_IGN)\n"
        f"signals = EndSignals()\nsignals.handle()\n"
        f"send({name!r})\n"
        f"with shortening(lambda: print('shortened'), is_ending=False):\n    send({name!r})\n"
        f"signals.restore()\n"
        f"assert signal.getsignal(signal.{name}) is signal.SIG_IGN\n"
        f"print('went on')\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "went on\n", "")


def test_the_handlers_of_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    signals = EndSignals()
    signals.handle()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] != before
    signals.restore()
    signals.restore()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated), (signal.SIGHUP, Terminated)],
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_signal_while_closing_shortens_it_and_is_raised_at_its_end(
    number: signal.Signals, kind: type[BaseException]
) -> None:
    steps: list[str] = []

    def close() -> None:
        with shortening(lambda: steps.append("shortened"), is_ending=False):
            signal.raise_signal(number)
            steps.append("closed")

    with pytest.raises(kind) as raised:
        close()
    assert steps == ["shortened", "closed"]
    if kind is Terminated:
        assert raised.value.code == 128 + number  # type: ignore[attr-defined]


def test_a_signal_that_is_known_already_is_not_raised_once_more() -> None:
    steps: list[str] = []
    with shortening(lambda: steps.append("shortened"), is_ending=True):
        signal.raise_signal(signal.SIGINT)
    assert steps == ["shortened"]


def test_in_another_thread_no_handler_is_touched() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def in_thread() -> None:
        signals = EndSignals()
        signals.handle()
        with shortening(lambda: None, is_ending=False):
            seen.append((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)))
        signals.restore()

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join(10)
    assert seen == [before]


def test_a_handler_that_python_has_not_set_is_followed_by_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a handler, as of a program in C that embeds Python, is None for Python."""
    real, number = signal.signal, signal.SIGINT
    before = signal.getsignal(number)

    def unknown_before(number: int, handler: Any) -> Any:
        old = real(number, handler)
        return None if number == signal.SIGINT and callable(handler) else old

    try:
        monkeypatch.setattr(signal, "signal", unknown_before)
        with shortening(lambda: None, is_ending=False):
            pass
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        real(number, before)
