"""What is kept of a command's output."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from simple_golem.local.exe_unit.output_limits import CapturedOutput


def after(mode: dict[str, Any] | None, *pieces: bytes) -> object:
    output = CapturedOutput(mode)
    for piece in pieces:
        output.write(piece)
    told = output.output()
    return list(told) if isinstance(told, array) else told


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        (None, None),
        ({"atEnd": {}}, "abcdefgh"),
        ({"stream": {}}, "abcdefgh"),
        ({"atEnd": {"head": 3}}, "abc"),
        ({"atEnd": {"tail": 3}}, "fgh"),
        ({"atEnd": {"headTail": 5}}, "abcgh"),
        ({"atEnd": {"part": {"head": 3}, "format": None}}, "abc"),
        ({"stream": {"limit": 5}}, "abcde"),
        ({"atEnd": {"head": 2, "format": "bin"}}, [97, 98]),
        ({"stream": {"limit": 2, "format": "binary"}}, [97, 98]),
        ({"atEnd": {"head": 0}}, None),
    ],
)
def test_as_much_is_kept_as_the_mode_says(mode: dict[str, Any] | None, kept: object) -> None:
    assert after(mode, b"abcd", b"e", b"fgh") == kept


def test_no_output_is_none() -> None:
    assert after({"atEnd": {}}) is None


def test_bytes_that_are_not_text_become_a_replacement_character() -> None:
    assert after({"atEnd": {}}, "ä".encode() + b"\xff") == "ä\ufffd"
    assert after({"atEnd": {}}, "ä€".encode()) == "ä€"


def test_only_what_is_kept_is_streamed_and_only_in_that_mode() -> None:
    streamed = CapturedOutput({"stream": {"limit": 3}})
    assert [streamed.write(piece) for piece in (b"ab", b"cd", b"e")] == ["ab", "c", None]
    assert CapturedOutput({"atEnd": {}}).write(b"ab") is None
