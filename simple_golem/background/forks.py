"""What a forked child process must not share with its parent.

`os.fork`, and `multiprocessing` with the start method fork, copy the memory of a process and its open
sockets, but not its threads. Two processes that send requests on one connection would get each other's
answers, and a lock that another thread held at the fork is never released in the child. So in a child each
call of an open Golem is refused before it takes a lock, and the child closes its copies of the sockets.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FunctionType
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from ..errors import ForkedGolem

T = TypeVar("T")


class Process:
    """Stands for one process. A process id is not enough: in a new namespace it can be that of the parent."""


_current = Process()
_left_to_parent: WeakKeyDictionary[Any, Callable[[Any], object]] = WeakKeyDictionary()
_called_in_child: list[Callable[[], object]] = []


def current_process() -> Process:
    """Return the process that calls this; a forked child gets another one than its parent."""
    return _current


def refuse_in_child(made_in: Process) -> None:
    """Raise `ForkedGolem` unless the calling process is `made_in`."""
    if made_in is not _current:
        raise ForkedGolem(
            "this Golem was opened in the parent process, which has its threads and connections: "
            "open another Golem in this process, or use it in the parent"
        )


# --- at a fork -----------------------------------------------------------------------------------


def leave_to_parent(thing: T, let_go: Callable[[T], object]) -> None:
    """In each child that is forked while `thing` lives, call `let_go(thing)`; it must not block.

    Args:
        thing: is kept alive by others; it is not compared, so it needs the equality of `object`.
        let_go: releases what the child has of it, with no effect on the parent.
    """
    _left_to_parent[thing] = let_go


def leave_socket_to_parent(carrier: socket.socket) -> None:
    """Have each child that is forked while `carrier` is open close its copy; the peer does not notice it."""
    leave_to_parent(carrier, _close_copy)


def in_child(call: Callable[[], object]) -> Callable[[], object]:
    """In each child that is forked from now on, call `call()` on its one thread; it must not block.

    Returns `call`, so this is a decorator, too.
    """
    _called_in_child.append(call)
    return call


def _close_copy(carrier: socket.socket) -> None:
    # Not `close`, which does nothing while a file object of the socket exists, and not `shutdown`, which acts
    # on the parent's connection.
    file = carrier.detach()
    if file >= 0:
        os.close(file)


def _begin_child() -> None:
    global _current
    _current = Process()
    left = list(_left_to_parent.items())
    _left_to_parent.clear()
    # The newest first: of two Golems, the later one has replaced the signal handlers of the earlier one.
    for thing, let_go in reversed(left):
        with contextlib.suppress(OSError):
            let_go(thing)
    for call in _called_in_child:
        call()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_begin_child)


# --- classes of which a user holds objects -------------------------------------------------------

_REFUSED_METHODS = ("__enter__", "__iter__", "__len__")


def refused_in_children(cls: type[T]) -> type[T]:
    """Class decorator: in a child process all public methods and properties raise `ForkedGolem`.

    The `__exit__` of the class does nothing there, and `name` can be read. The objects can't be pickled.
    An object has an attribute `_made_in`: the process that may use it.
    """
    for name, member in list(vars(cls).items()):
        if isinstance(member, FunctionType) and (not name.startswith("_") or name in _REFUSED_METHODS):
            setattr(cls, name, _refusing(member))
        elif isinstance(member, property) and name != "name" and not name.startswith("_"):
            setter = None if member.fset is None else _refusing(member.fset)
            getter = None if member.fget is None else _refusing(member.fget)
            setattr(cls, name, property(getter, setter, member.fdel, member.__doc__))
        elif name == "__exit__":
            setattr(cls, name, _or_in_child(member, None))
        elif name in ("__repr__", "__str__", "_repr_html_"):
            setattr(cls, name, _or_in_child(member, f"<{cls.__name__} of the parent process>"))
    cls.__reduce__ = _refuse_pickling  # type: ignore[method-assign]
    return cls


def _refusing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def in_own_process(self: Any, *args: Any, **options: Any) -> Any:
        if self._made_in is not _current:
            refuse_in_child(self._made_in)
        return method(self, *args, **options)

    return in_own_process


def _or_in_child(method: Callable[..., Any], answer: object) -> Callable[..., Any]:
    @wraps(method)
    def in_own_process(self: Any, *args: Any) -> Any:
        return method(self, *args) if self._made_in is _current else answer

    return in_own_process


def _refuse_pickling(self: object) -> NoReturn:
    raise ForkedGolem(
        f"this {type(self).__name__} can't be copied or sent to another process, since its threads and "
        "connections are in this process: open another Golem there"
    )


# --- the user's code on an engine thread ---------------------------------------------------------


@contextmanager
def user_code() -> Iterator[None]:
    """While this is open, a thread of the library runs the user's code.

    A child that this code forks ends when it leaves the code: only the parent goes on with the engine's work.
    """
    process = _current
    try:
        yield
    except BaseException as error:
        if _current is not process:
            _end_child(error)
        raise
    if _current is not process:
        _end_child(None)


def _end_child(error: BaseException | None) -> NoReturn:
    """End this process with the status that a program has which `error` leaves."""
    status = 0 if error is None else 1
    if isinstance(error, SystemExit):
        status = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    os._exit(status & 0xFF)
