"""Lines of output: cut out of pieces, and what they can be given to."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest

from simple_golem.errors import BadCommand
from simple_golem.model.commands.commands import Run
from simple_golem.model.commands.output import LONGEST_LINE, LineCutter, OutputLine


def lines_of(*pieces: bytes) -> list[str]:
    cutter = LineCutter()
    return [*(line for piece in pieces for line in cutter.feed(piece)), *cutter.end()]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b"one\n"], ["one"]),
        ([b"one\n\ntwo"], ["one", "", "two"]),
        ([b"o", b"n", b"e\nt", b"wo\n"], ["one", "two"]),
        ([b"dos\r\n", b"cut\r", b"\nmac\rold"], ["dos", "cut", "mac\rold"]),
        ([b"\xc3", b"\xa4\n"], ["ä"]),
        ([b"a\xff\n", b"\xc3"], ["a\ufffd", "\ufffd"]),
        ([b"\xf0\x9f\n", b"\x98"], ["\ufffd", "\ufffd"]),
    ],
)
def test_lines_are_cut_wherever_the_pieces_end(pieces: list[bytes], lines: list[str]) -> None:
    assert lines_of(*pieces) == lines


def test_a_line_is_told_as_soon_as_it_ends() -> None:
    cutter = LineCutter()
    assert list(cutter.feed(b"one\ntw")) == ["one"]
    assert list(cutter.feed(b"o\n")) == ["two"]
    assert list(cutter.end()) == []


@pytest.mark.parametrize("extra", [-1, 0, 1, LONGEST_LINE, LONGEST_LINE + 1])
@pytest.mark.parametrize("step", [1000, 10**6])
def test_a_very_long_line_comes_in_pieces(extra: int, step: int) -> None:
    whole = b"x" * (LONGEST_LINE + extra)
    body = whole + b"\nlast"
    lines = lines_of(*(body[at : at + step] for at in range(0, len(body), step)))
    assert lines[-1] == "last"
    assert "".join(lines[:-1]).encode() == whole
    assert all(0 < len(line) <= LONGEST_LINE for line in lines)


def test_text_after_an_end_begins_a_new_line() -> None:
    cutter = LineCutter()
    cutter.feed(b"one\xc3")
    assert list(cutter.end()) == ["one\ufffd"]
    assert list(cutter.feed(b"\xa4two\n")) == ["\ufffdtwo"]


def test_a_line_is_text_that_knows_where_it_comes_from() -> None:
    line = OutputLine("a\x1b[2Jb\tc", "Hello-1", is_stderr=True)
    assert line == "a\x1b[2Jb\tc"
    assert (line.instance, line.is_stderr) == ("Hello-1", True)
    assert line.printable == "Hello-1: a [2Jb c"


# the command


def test_limits_are_asked_of_the_provider() -> None:
    def captured(command: Run) -> object:
        capture = command.to_exe_script()["run"]["capture"]
        assert capture["stdout"] == capture["stderr"]
        return capture["stdout"]

    assert captured(Run("/bin/a")) == {"atEnd": {}}
    assert captured(Run("/bin/a", binary=True)) == {"atEnd": {"format": "bin"}}
    assert captured(Run("/bin/a", keep_first=10)) == {"atEnd": {"head": 10, "format": "bin"}}
    assert captured(Run("/bin/a", keep_last=65536)) == {"atEnd": {"tail": 65536, "format": "bin"}}
    assert captured(Run("/bin/a", stream=True)) == {"stream": {"format": "bin"}}
    assert captured(Run("/bin/a", stream=print, keep_first=7)) == {"stream": {"limit": 7, "format": "bin"}}
    assert captured(Run.shell("a", keep_last=1)) == {"atEnd": {"tail": 1, "format": "bin"}}


@pytest.mark.parametrize("stream", [True, print, [].append, logging.getLogger("a.b")])
def test_a_command_that_streams_is_a_value(stream: object) -> None:
    one, other = (Run("/bin/a", stream=stream) for _ in range(2))  # type: ignore[arg-type]
    assert one == other
    assert hash(one) == hash(other)
    assert one != Run("/bin/a")
    assert copy.deepcopy(Run("/bin/a", stream=True)) == Run("/bin/a", stream=True)
    assert "stream=" in repr(one)


def test_a_command_with_options_can_be_pasted_and_sent_to_another_process() -> None:
    for command in (
        Run("/bin/a", "b", binary=True, keep_first=3),
        Run("a", absolute=False, keep_last=3),
        Run.shell("a", stream=True),
    ):
        assert eval(repr(command)) == command
        assert pickle.loads(pickle.dumps(command)) == command


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep_first": 0}, "keep_first=65536"),
        ({"keep_last": -1}, "keep_last=65536"),
        ({"keep_first": True}, "number of bytes"),
        ({"keep_last": "1k"}, "number of bytes"),
        ({"keep_first": 1, "keep_last": 1}, "one of keep_first, keep_last and keep_all"),
        ({"keep_first": 1, "keep_all": True}, "one of keep_first, keep_last and keep_all"),
        ({"keep_last": 1, "keep_all": True}, "one of keep_first, keep_last and keep_all"),
        ({"stream": True, "keep_last": 1}, "write keep_first"),
        ({"stream": True, "keep_all": True}, "leave out keep_all or stream"),
        ({"keep_all": 1}, "keep_all is True or False"),
        ({"stream": "log"}, "logging.Logger"),
        ({"stream": None}, "stream is None"),
        ({"stream": list}, "a function"),
        ({"binary": 1}, "True or False"),
    ],
)
def test_options_that_can_not_work_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(BadCommand, match=words):
        Run("/bin/a", **options)  # type: ignore[arg-type]
