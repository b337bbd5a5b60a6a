"""What batches that did not end in time have left on the provider's side; the next batch removes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ...errors import BatchLost, BatchTimeout, CommandFailed
from ...model.commands.commands import Command
from .file_batch import FileBatch


class Leftovers:
    """Files of the library itself, such as archives of folders; each is removed by a command."""

    def __init__(self) -> None:
        self._removals: list[Command] = []

    @contextmanager
    def of(self, batch: FileBatch) -> Iterator[None]:
        """Remember what a batch leaves that does not end in time inside the `with` statement."""
        try:
            yield
        except BatchTimeout:
            self._removals += batch.removals
            raise

    def remove(self, run: Callable[[Sequence[Command]], object]) -> None:
        """Remove everything, by batches of one command each; blocks until they have ended.

        Args:
            run: runs commands as a batch, after those that were sent before.

        Raises:
            BatchTimeout: there was no time left; what is still there is removed by the next call.
            ScopeEnded, ActivityLost: there will be no next batch.
        """
        while True:
            try:
                removal = self._removals.pop()
            except IndexError:  # another thread may have taken the last one
                return
            try:
                run([removal])
            except BatchTimeout:
                self._removals.append(removal)
                raise
            except (CommandFailed, BatchLost):
                continue
