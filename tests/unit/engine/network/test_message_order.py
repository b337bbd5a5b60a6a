"""The order of messages to instances: one question to the daemon at a time, for all connections."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from simple_golem.engine.network.message_order import MessageOrder
from simple_golem.yagna.transport.socket_lost import SocketLost


class Questions:
    """In place of the connection to the daemon: the test gives the answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[int | SocketLost | None] = []
        self.refuses = self.is_closed = False
        self.unsent = 3

    def fileno(self) -> int:
        return 5

    def get(self, path: str) -> None:
        self.asked.append(path)
        if self.refuses:
            raise SocketLost("no connection")

    def flush(self) -> None:
        raise SocketLost("reset")

    def receive(self) -> int | None:
        answer = self.answers.pop(0)
        if isinstance(answer, SocketLost):
            raise answer
        return answer

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def questions() -> Questions:
    return Questions()


@pytest.fixture
def order(questions: Questions) -> MessageOrder:
    api = SimpleNamespace(
        order_questions=lambda: questions,
        order_question_path=lambda network_id, ip: f"{network_id}/{ip}",
        confirms_order=lambda status: status == 400,
    )
    return MessageOrder(api)  # type: ignore[arg-type]


def test_those_that_wait_for_one_network_share_a_question(order: MessageOrder, questions: Questions) -> None:
    told: list[tuple[int, bool]] = []
    for number in range(3):
        order.confirm("net", "ip", lambda is_known, number=number: told.append((number, is_known)))
    assert questions.asked == ["net/ip"]
    questions.answers = [None, 400, 400]
    order.receive()
    assert told == []
    order.receive()
    # The answer says nothing of what came after the question.
    assert (told, questions.asked) == ([(0, True)], ["net/ip"] * 2)
    order.receive()
    assert told == [(0, True), (1, True), (2, True)]
    assert (order.fileno(), order.unsent) == (5, 3)


def test_what_is_no_answer_is_told_and_the_next_one_is_asked_for(
    order: MessageOrder, questions: Questions
) -> None:
    told: list[bool] = []
    order.confirm("one", "ip", told.append)
    order.confirm("two", "ip", told.append)
    order.confirm("three", "ip", told.append)
    questions.answers = [404, SocketLost("gone"), 400]
    for _ in range(3):
        order.receive()
    assert told == [False, False, True]
    order.confirm("four", "ip", told.append)
    order.flush()
    assert told[3:] == [False]
    questions.refuses = True
    order.confirm("five", "ip", told.append)
    assert told[4:] == [False]


def test_after_the_end_nobody_is_told(order: MessageOrder, questions: Questions) -> None:
    told: list[bool] = []
    order.confirm("net", "ip", told.append)
    order.close()
    assert questions.is_closed
    questions.answers = [400]
    order.receive()
    assert told == []
