"""What `LocalGolem.leftovers` reads from a daemon."""

from __future__ import annotations

import time

import pytest

from simple_golem import Golem
from simple_golem.errors import LocalNetworkError
from simple_golem.local.control.leftovers import Leftovers
from simple_golem.local.control.messages import DaemonAddress
from simple_golem.testing import FakeYagna


def test_what_is_left_has_a_line_each(fake: FakeYagna) -> None:
    leftovers = Leftovers(address_of(fake))
    with Golem(1) as golem:
        golem.rent(10)
        kinds = {line.split()[0] for line in leftovers.read()}
        assert kinds >= {"allocation", "agreement", "activity"}
    assert leftovers.read() == []


def test_nobody_waits_for_a_daemon_that_was_killed() -> None:
    with FakeYagna() as fake:
        leftovers = Leftovers(address_of(fake))
    began = time.monotonic()
    with pytest.raises(LocalNetworkError, match=r"call restart_requestor_daemon\(\)"):
        leftovers.read()
    assert time.monotonic() - began < 10  # with repetitions it takes 30 s


def address_of(fake: FakeYagna) -> DaemonAddress:
    return DaemonAddress(fake.url, fake.environment["YAGNA_APPKEY"])
