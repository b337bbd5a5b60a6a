"""What a pool refuses to call for its items."""

from __future__ import annotations

import functools
import inspect

from ...errors import BadService, BadWork
from ...model.service.service import Service
from ...model.service.service_class import check_service_class, has_own_run


def check_work(work: object, arguments: int, names: tuple[str, ...] = ()) -> None:
    """Check that a pool can call `work(machine, …)` and use what it returns.

    Args:
        work: what the user has given.
        arguments: how many arguments follow the machine.
        names: the names of further arguments.

    Raises:
        BadWork: it can't; the message says why.
    """
    if not callable(work):
        raise BadWork(
            f"{work!r} is not a function: give one that takes the machine, e.g. "
            "lambda machine: machine.shell('date').stdout"
        )
    inner = work.func if isinstance(work, functools.partial) else work
    name = getattr(inner, "__qualname__", repr(inner))
    if inspect.isgeneratorfunction(inner):
        raise BadWork(f"{name} is a generator: strike out `yield`, return one result")
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise BadWork(f"{name} is async: strike out `async` and `await`, the pool calls it on a thread")
    if not _accepts(work, 1):
        raise BadWork(
            f"{name} takes no machine: its first argument is the machine, e.g. def {name}(machine, …)"
        )
    if not _accepts(work, 1 + arguments, names):
        items = () if arguments == 0 else ("an item",) if arguments == 1 else (f"{arguments} arguments",)
        given = " and ".join(("the machine", *items, *(f"{one}=…" for one in names)))
        raise BadWork(
            f"{name} can't be called with {given}: its first argument is the machine, e.g. "
            "def work(machine, item)"
        )


def check_pool_service(service: object) -> type[Service]:
    """Return the class that prepares the machines of a pool.

    Raises:
        BadService: it is no service, or has a `run()` of its own.
    """
    checked = check_service_class(service)
    if has_own_run(checked):
        raise BadService(
            f"{checked.__name__} has a run() of its own, and a pool's machines work on items: what it does "
            "for one item belongs into the function that is given to the pool"
        )
    return checked


def _accepts(work: object, arguments: int, names: tuple[str, ...] = ()) -> bool:
    """Whether a function can be called with so many arguments, or may be, and with some more by name."""
    try:
        return _accepts_cached(work, arguments, names)
    except TypeError:  # it has no hash
        return _has_room(work, arguments, names)


@functools.lru_cache(maxsize=64)
def _accepts_cached(work: object, arguments: int, names: tuple[str, ...]) -> bool:
    return _has_room(work, arguments, names)


def _has_room(work: object, arguments: int, names: tuple[str, ...]) -> bool:
    try:
        signature = inspect.signature(work)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True  # a function in C need not say what it takes
    try:
        signature.bind_partial(*[None] * arguments, **dict.fromkeys(names))
    except TypeError:
        return False
    return True
