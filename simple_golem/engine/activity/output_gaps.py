"""One command's stdout, or its stderr, put together of what was heard of it and what its result says."""

from __future__ import annotations

from collections.abc import Iterable

from ...model.commands.output import LineCutter

# Of each stretch that was heard without a gap, this much is kept to find it again in the result.
_KEPT_BYTES = 1 << 20


class _Stretch:
    """Output that was heard without a gap: how long it is, and how it begins."""

    def __init__(self) -> None:
        self.length = 0
        self.beginning = bytearray()

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self.beginning += data[: max(0, _KEPT_BYTES - len(self.beginning))]


class OutputGaps:
    """Cuts what is heard into lines, and finds at the end what was not heard.

    An event stream tells nothing of what was before it was opened, and one that broke leaves a gap. So what
    is missing is known at the command's end only, by comparing with its result.
    """

    def __init__(self) -> None:
        self._cutter = LineCutter()
        self._stretches = [_Stretch()]

    def hear(self, data: bytes) -> Iterable[str]:
        """Take the next piece; returns the lines that are complete by it."""
        self._stretches[-1].add(data)
        return self._cutter.feed(data)

    def interrupt(self) -> None:
        """From here on something may be missing."""
        if self._stretches[-1].length:
            self._stretches.append(_Stretch())

    @property
    def heard(self) -> bytes:
        """What was heard, up to the first megabyte of each stretch."""
        return b"".join(bytes(stretch.beginning) for stretch in self._stretches)

    def end(self, output: bytes, to_the_end: bool) -> Iterable[str]:
        """Return the lines that were not given out yet: those missed, and the one that has no end.

        Args:
            output: all that the command wrote, as its result says.
            to_the_end: whether the last stretch goes to the end of the command.
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
                return [], b""  # the result is about something else: better nothing than all of it twice
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
