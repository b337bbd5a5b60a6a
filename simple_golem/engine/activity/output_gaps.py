"""The stdout or stderr of one command, put together from the event stream and the command's result."""

from __future__ import annotations

from collections.abc import Iterable

from ...model.commands.output import LineCutter

# Of each stretch without a gap, this much is kept, to find the stretch again in the result.
_KEPT_BYTES = 1 << 20


class _Stretch:
    """Output that has arrived without a gap: its length, and its beginning."""

    def __init__(self) -> None:
        self.length = 0
        self.beginning = bytearray()

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self.beginning += data[: max(0, _KEPT_BYTES - len(self.beginning))]


class OutputGaps:
    """Cuts the output that arrives into lines, and finds at the end what has not arrived.

    An event stream does not bring what was written before it was opened, and one that breaks leaves a gap.
    What is missing is only known at the command's end, from its result.
    """

    def __init__(self) -> None:
        self._cutter = LineCutter()
        self._stretches = [_Stretch()]

    def hear(self, data: bytes) -> Iterable[str]:
        """Add the next piece; returns the lines that are complete now."""
        self._stretches[-1].add(data)
        return self._cutter.feed(data)

    def interrupt(self) -> None:
        """Note that output may be missing from here on."""
        if self._stretches[-1].length:
            self._stretches.append(_Stretch())

    @property
    def heard(self) -> bytes:
        """What has arrived, up to the first mebibyte of each stretch."""
        return b"".join(bytes(stretch.beginning) for stretch in self._stretches)

    def end(self, output: bytes, to_the_end: bool) -> Iterable[str]:
        """Return the lines that were not returned yet: the missing ones, and the last one without an end.

        Args:
            output: all that the command wrote, from its result.
            to_the_end: whether the last stretch reaches to the end of the command.
        """
        missed, rest = self._missed(output, to_the_end)
        lines: list[str] = []
        for gap in missed:
            cutter = LineCutter()
            lines += [*cutter.feed(gap), *cutter.end()]
        return [*lines, *self._cutter.feed(rest), *self._cutter.end()]

    def _missed(self, output: bytes, to_the_end: bool) -> tuple[list[bytes], bytes]:
        """The gaps before each stretch, and what follows the last one."""
        gaps: list[bytes] = []
        end = 0
        for stretch in self._stretches:
            if not stretch.length:
                continue
            is_last = to_the_end and stretch is self._stretches[-1]
            begin = self._place(stretch, output, end, is_last)
            if begin < 0:
                return [], b""  # the result does not match the stream: rather nothing than everything twice
            if begin > end:
                gaps.append(output[end:begin])
            end = begin + stretch.length
        return gaps, b"" if to_the_end and self._stretches[-1].length else output[end:]

    @staticmethod
    def _place(stretch: _Stretch, output: bytes, after: int, is_last: bool) -> int:
        at_the_end = len(output) - stretch.length
        if is_last and at_the_end >= after and output.startswith(stretch.beginning, at_the_end):
            return at_the_end
        return output.find(stretch.beginning, after)
