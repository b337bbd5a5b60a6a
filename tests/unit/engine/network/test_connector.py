"""What a try to connect comes to that ends with its time: the machine may be busy, and each step late."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.engine.network.connector import Connector
from simple_golem.errors import PortRefused, PortTimeout
from simple_golem.yagna.transport.socket_lost import SocketLost
from tests.helpers.hand_deadline import HandDeadline


class Late:
    """A connection on its way, whose answer is there; the time is over when somebody looks."""

    def __init__(self, deadline: HandDeadline, answer: bytes) -> None:
        self._end, other = socket.socketpair()
        if answer:
            other.sendall(answer)
        self._other = other
        self.opened = False
        deadline.left = 0.0

    def fileno(self) -> int:
        return self._end.fileno()

    def receive(self) -> list[bytes]:
        self.opened = True
        return [self._end.recv(100)]

    def shutdown(self) -> None: ...

    def close(self) -> None:
        self._end.close()
        self._other.close()


class Api:
    """Answers one try after the other: what it returns, or raises."""

    def __init__(self, *answers: Callable[[], Any]) -> None:
        self._answers: Iterator[Callable[[], Any]] = iter(answers)

    def connect(self, network_id: str, ip: str, port: int) -> Any:
        return next(self._answers)()


@pytest.fixture
def deadline() -> HandDeadline:
    return HandDeadline()


def opened(deadline: Deadline, *answers: Callable[[], Any], scope: Scope | None = None) -> Sequence[bytes]:
    api: Any = Api(*answers)
    channel, first = Connector(api).open("n1", "192.168.0.2", 80, "db-1", deadline, scope or Scope())
    channel.close()
    return first


def refused() -> Any:
    raise SocketLost("HTTP 400", 400)


def test_an_answer_that_is_there_counts_though_the_time_is_over(deadline: HandDeadline) -> None:
    assert opened(deadline, lambda: Late(deadline, b"welcome")) == [b"welcome"]


def test_a_port_that_has_refused_is_told_so_if_the_time_ends_in_the_pause(deadline: HandDeadline) -> None:
    class Paused(Scope):
        def wait(self, seconds: float | None = None) -> bool:
            deadline.left = 0.0
            return False

    with pytest.raises(PortRefused, match="port 80 of db-1 refuses connections"):
        opened(deadline, refused, scope=Paused())


def test_a_port_that_has_refused_is_told_so_if_the_last_try_has_hardly_any_time(
    deadline: HandDeadline,
) -> None:
    def refused_with_little_time_left() -> Any:
        deadline.left = 0.2
        refused()

    with pytest.raises(PortRefused, match="port 80 of db-1 refuses connections"):
        opened(deadline, refused_with_little_time_left, lambda: Late(deadline, b""))


def test_a_port_that_does_not_answer_any_more_has_not_refused(deadline: HandDeadline) -> None:
    with pytest.raises(PortTimeout, match="port 80 of db-1 did not answer in time"):
        opened(deadline, refused, lambda: Late(deadline, b""))


def test_a_try_for_which_there_is_no_time_says_so(deadline: HandDeadline) -> None:
    deadline.left = 0.0
    with pytest.raises(PortTimeout, match="no time was left to connect to port 80 of db-1"):
        opened(deadline)
