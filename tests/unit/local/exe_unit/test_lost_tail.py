"""The last output of a command is lost as in a VM: what was seen there, in numbers."""

from __future__ import annotations

import pytest

from simple_golem.local.exe_unit.lost_tail import LostTail


class Program:
    """Writes to a pipe of which nothing is lost but the tail, at times that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.read = b""
        self.tail = LostTail(self._on_output, lambda: self.now)

    def _on_output(self, data: bytes) -> None:
        self.read += data

    def write(self, size: int, piece: int = 65536) -> None:
        content = bytes(number % 251 for number in range(size))
        for start in range(0, size, piece):
            self.tail.write(content[start : start + piece])


@pytest.mark.parametrize(
    ("written", "lost"),
    [
        (0, 0),
        (1, 0),
        (4096, 0),
        (4097, 1),
        (5000, 904),
        (69632, 65536),
        (204_800, 65536),
        (2 * 1024 * 1024, 65536),
    ],
)
@pytest.mark.parametrize("piece", [4096, 65536, 1_000_000])
def test_a_program_that_ends_right_after_writing_loses_its_tail(written: int, lost: int, piece: int) -> None:
    program = Program()
    program.write(written, piece)
    assert program.tail.end() == lost
    assert program.read == bytes(number % 251 for number in range(written - lost))


def test_a_program_that_waits_after_writing_loses_nothing() -> None:
    program = Program()
    program.write(204_800)
    program.now += 0.2
    assert program.tail.end() == 0
    assert len(program.read) == 204_800


def test_output_is_passed_on_after_a_moment_without_more_of_it() -> None:
    program = Program()
    program.write(10)
    assert program.read == b""
    program.now += 0.06
    program.tail.pass_on()
    assert len(program.read) == 10


def test_a_program_that_writes_slowly_loses_nothing() -> None:
    program = Program()
    for _ in range(1000):
        program.write(100)
        program.now += 0.01
    assert program.tail.end() == 0
    assert len(program.read) == 100_000
