"""What was heard of a command's output, and what its result says, become lines that are given out once."""

from __future__ import annotations

import random

import pytest

from simple_golem.engine.activity.output_gaps import OutputGaps

GAP = None


def given_out(heard: list[bytes | None], output: bytes, to_the_end: bool) -> list[str]:
    channel = OutputGaps()
    lines: list[str] = []
    for piece in heard:
        if piece is None:
            channel.interrupt()
        else:
            lines += channel.hear(piece)
    return lines + list(channel.end(output, to_the_end))


@pytest.mark.parametrize(
    ("heard", "to_the_end", "lines"),
    [
        ([b"one\ntwo\nthree"], True, ["one", "two", "three"]),
        ([], True, ["one", "two", "three"]),
        ([], False, ["one", "two", "three"]),
        # The first moments were missed: they come late.
        ([b"two\nthree"], True, ["two", "one", "three"]),
        # The stream broke: the rest goes on where it did.
        ([b"one\nt"], False, ["one", "two", "three"]),
        ([b"one\n", GAP], True, ["one", "two", "three"]),
        ([b"two\n"], False, ["two", "one", "three"]),
        ([b"one\n", GAP, b"three"], True, ["one", "two", "three"]),
        ([b"one\n", GAP, GAP, b"three"], True, ["one", "two", "three"]),
        # A result about something else: better nothing than everything twice.
        ([b"other\n"], True, ["other"]),
        ([b"other\n"], False, ["other"]),
    ],
)
def test_every_line_is_given_out_once(heard: list[bytes | None], to_the_end: bool, lines: list[str]) -> None:
    assert given_out(heard, b"one\ntwo\nthree", to_the_end) == lines


def test_however_the_stream_breaks_nothing_is_lost_and_nothing_comes_twice() -> None:
    chance = random.Random(6)
    for _ in range(300):
        words = [f"line {number}" for number in range(chance.randint(0, 12))]
        output = "".join(f"{word}\n" for word in words).encode()
        ends = [0, *(at + 1 for at, byte in enumerate(output) if byte == 0x0A)]
        cuts = sorted(chance.choices(ends, k=4))
        heard = [output[cuts[0] : cuts[1]], GAP, output[cuts[2] : cuts[3]]]
        to_the_end = cuts[3] == len(output)
        assert sorted(given_out(heard, output, to_the_end)) == sorted(words)


def test_output_that_repeats_itself_is_counted_right() -> None:
    output = b"y\n" * 1000
    assert given_out([b"y\n" * 300, GAP, b"y\n" * 200], output, True) == ["y"] * 1000


def test_output_is_kept_up_to_a_megabyte() -> None:
    channel = OutputGaps()
    for _ in range(40):
        channel.hear(b"x" * 65_536)
    assert len(channel.heard) == 1 << 20
    assert channel.end(b"x" * 65_536 * 40, True) != []
