"""Whose lines an error comes from: the user's own are shown, the package's are not."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import EngineThread
from simple_golem.engine.life.user_traceback import user_lines, whereabouts
from tests.helpers.unmeasured import own_environment


def fail_in_the_package() -> None:
    scope = Scope()
    scope.cancel("the reason")
    scope.check()


def test_the_users_own_lines_are_shown_and_the_message() -> None:
    try:
        fail_in_the_package()
    except Exception as error:  # noqa: BLE001 - any will do
        text = user_lines(error)
    assert __file__ in text
    assert "scope.check()" in text
    assert "in fail_in_the_package" in text
    assert text.endswith("ScopeEnded: the reason")
    assert "raise ScopeEnded" not in text
    assert "scope.py" not in text


def test_an_error_without_a_traceback_is_its_message() -> None:
    assert user_lines(ValueError("no lines at all")) == "ValueError: no lines at all"


def test_a_thread_that_waits_is_found_at_the_users_line() -> None:
    gate, begun = threading.Event(), threading.Event()

    def stuck() -> None:
        begun.set()
        gate.wait()  # here it is

    thread = EngineThread("stuck", stuck).start()
    assert begun.wait(20)
    place = whereabouts(thread.ident)
    gate.set()
    assert thread.join(20)
    assert place.startswith(f"{__file__}:")
    assert "gate.wait()" in place or "begun.set()" in place
    assert "threading.py" not in place


def test_a_thread_that_is_no_more_is_nowhere() -> None:
    assert whereabouts(None) == "an unknown place"
    assert whereabouts(-1) == "an unknown place"


# Where it hangs, the process hears no signal: it holds the GIL. So it is another one.
_LOOKS_WHILE_GARBAGE_IS_DUE = """
import gc, threading
from simple_golem.engine.life.user_traceback import whereabouts

class Knot:
    def __init__(self):
        self.itself, self.local = self, threading.local()
        self.local.value = 1

gate = threading.Event()
threads = [threading.Thread(target=gate.wait) for _ in range(60)]
for thread in threads:
    thread.start()
for _ in range(200):
    gc.collect()
    for _ in range(5):
        Knot()
    # It is due among the sixty frames that are looked up.
    gc.set_threshold(gc.get_count()[0] + 20)
    whereabouts(threads[0].ident)
gate.set()
print("looked")
"""


def test_a_thread_is_looked_for_while_garbage_is_to_be_collected() -> None:
    command = [sys.executable, "-c", _LOOKS_WHILE_GARBAGE_IS_DUE]
    told = subprocess.run(
        command, env=own_environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout == "looked\n"


@pytest.mark.parametrize("is_enabled", [True, False])
def test_garbage_is_collected_after_a_look_if_it_was_before(is_enabled: bool) -> None:
    try:
        (gc.enable if is_enabled else gc.disable)()
        whereabouts(threading.get_ident())
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()
