"""What a forked child does with the sockets, locks and objects of its parent."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

from simple_golem import Golem
from simple_golem.background import forks
from simple_golem.background.file_lock import FileLock, is_locked
from simple_golem.background.threads import InstancePool, on_engine_thread
from simple_golem.errors import ForkedGolem
from simple_golem.testing import FakeYagna
from tests.helpers.forked_children import in_forked_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")


@forks.refused_in_children
class Held:
    """What a user holds in the tests."""

    def __init__(self) -> None:
        self._made_in = forks.current_process()
        self.left_with: list[object] = []
        self._colour = "red"

    name = "held"

    @property
    def colour(self) -> str:
        """Its colour."""
        return self._colour

    @colour.setter
    def colour(self, colour: str) -> None:
        self._colour = colour

    def double(self, number: int, *, more: int = 0) -> int:
        """Twice the number."""
        return 2 * number + more

    def __len__(self) -> int:
        return 3

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.left_with.append(error)

    def __repr__(self) -> str:
        return f"<Held: {self._colour}>"


def test_in_its_own_process_a_class_works_as_usual() -> None:
    held = Held()
    with held as same:
        assert same is held
    assert held.left_with == [None]
    held.colour = "blue"
    assert (held.colour, held.double(2, more=1), len(held), repr(held)) == ("blue", 5, 3, "<Held: blue>")
    assert Held.double.__doc__ == "Twice the number."
    assert Held.colour.__doc__ == "Its colour."


def test_in_a_child_everything_but_the_name_and_the_text_is_refused() -> None:
    held = Held()

    def child() -> str:
        refused = 0
        uses: list[Callable[[], object]] = [
            lambda: held.colour,
            lambda: setattr(held, "colour", "blue"),
            lambda: held.double(2),
            lambda: len(held),
            held.__enter__,
        ]
        for use in uses:
            try:
                use()
            except ForkedGolem:
                refused += 1
        held.__exit__(None, None, None)
        return f"{refused} of {len(uses)}, {held.name}, {held!r}, {held.left_with}"

    assert in_forked_child(child) == "5 of 5, held, <Held of the parent process>, []"


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_belongs_to_an_open_golem_can_not_be_sent_to_another_process(
    send: Callable[[object], object],
) -> None:
    with pytest.raises(ForkedGolem, match="this Held can't be copied or sent to another process"):
        send(Held())


def test_a_child_closes_its_copy_of_a_socket_and_the_parent_goes_on() -> None:
    before = open_sockets()
    here, there = socket.socketpair()
    with here, there:
        forks.leave_socket_to_parent(here)
        file = here.makefile("rb")  # `close` alone would wait for its end

        def child() -> str:
            there.close()
            return f"{here.fileno()} {open_sockets() - before}"

        assert in_forked_child(child) == "-1 set()"
        here.sendall(b"hello")
        assert there.recv(5) == b"hello"
        there.sendall(b"world\n")
        assert file.readline() == b"world\n"
        file.close()


def open_sockets() -> set[str]:
    """The sockets of this process, as Linux names them."""
    handles = [one for one in Path("/proc/self/fd").iterdir() if one.exists() or one.is_symlink()]
    return {name for one in handles if (name := os.readlink(one)).startswith("socket:")}


def test_a_socket_that_is_closed_before_the_fork_is_ignored_by_the_child() -> None:
    here, there = socket.socketpair()
    forks.leave_socket_to_parent(here)
    here.close()
    there.close()
    assert in_forked_child(lambda: "ended well") == "ended well"


def test_a_file_lock_ends_with_the_parent_although_a_child_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = FileLock(path)
    begun_reading, begun_writing = os.pipe()
    end_reading, end_writing = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        os.write(begun_writing, b"!")
        os.read(end_reading, 1)
        os._exit(0)
    os.read(begun_reading, 1)
    assert is_locked(path)
    lock.release()
    assert not is_locked(path)
    os.write(end_writing, b"!")
    assert os.waitpid(pid, 0) == (pid, 0)
    for handle in (begun_reading, begun_writing, end_reading, end_writing):
        os.close(handle)


def test_an_error_of_one_callback_does_not_keep_others_from_running() -> None:
    class Thing:
        let_go = False

    def fails(thing: Thing) -> None:
        raise OSError("no such file")

    first, second = Thing(), Thing()
    forks.leave_to_parent(first, fails)
    forks.leave_to_parent(second, lambda thing: setattr(thing, "let_go", True))
    assert in_forked_child(lambda: f"{first.let_go} {second.let_go}") == "False True"
    assert not second.let_go


def test_the_newest_thing_is_let_go_first() -> None:
    things = [socket.socket() for _ in range(3)]
    order: list[int] = []
    for thing in things:
        forks.leave_to_parent(thing, lambda one: order.append(things.index(one)))
    assert in_forked_child(lambda: str(order)) == "[2, 1, 0]"
    for thing in things:
        thing.close()


def test_a_child_has_the_signal_handlers_from_before_the_first_golem(fake: FakeYagna) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Golem(1), Golem(1):
        assert signal.getsignal(signal.SIGTERM) is not before
        assert in_forked_child(lambda: str(signal.getsignal(signal.SIGTERM) is before)) == "True"
        assert signal.getsignal(signal.SIGTERM) is not before


# --- user code on a thread of the library --------------------------------------------------------


@pytest.mark.parametrize(
    ("leave", "status", "told"),
    [
        (lambda: None, 0, ""),
        (lambda: sys.exit(), 0, ""),
        (lambda: sys.exit(0), 0, ""),
        (lambda: sys.exit(7), 7, ""),
        (lambda: sys.exit("no luck"), 1, ""),
        (lambda: {}["nothing"], 1, "KeyError: 'nothing'\n"),
    ],
)
def test_a_child_ends_where_it_leaves_the_users_code(
    leave: Callable[[], object], status: int, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    children: list[int] = []

    def live() -> str:
        with forks.user_code():
            child = os.fork()
            if child == 0:  # pragma: no cover - in the child
                leave()
            else:
                children.append(child)
        if not children:  # pragma: no cover - a child that goes on with the work of the parent
            os._exit(99)
        return "the parent goes on"

    pool = InstancePool("forking", live)
    pool.start()
    assert pool.close(10) == []
    assert pool.life.result == "the parent goes on"
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.endswith(told)
    assert bool(err) == bool(told)


def test_user_code_that_does_not_fork_is_left_as_usual() -> None:
    with forks.user_code():
        pass
    with pytest.raises(KeyError), forks.user_code():
        raise KeyError("as ever")


def test_a_child_that_was_forked_on_a_thread_of_the_library_is_on_none() -> None:
    said: list[str] = []

    def live() -> None:
        assert on_engine_thread()
        said.append(in_forked_child(lambda: str(on_engine_thread())))

    pool = InstancePool("forking", live)
    pool.start()
    assert pool.close(10) == []
    assert said == ["False"]
