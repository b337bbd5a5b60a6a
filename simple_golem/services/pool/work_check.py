"""What a pool refuses to call for its items."""

from __future__ import annotations

import functools
import inspect

from ...errors import BadService, BadWork
from ...model.service.service import Service
from ...model.service.service_class import check_service_class, has_own_run


def check_work(work: object) -> None:
    """Check that a pool can call `work(machine, …)` and use what it returns.

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
    if not _takes_an_argument(work):
        raise BadWork(
            f"{name} takes no machine: its first argument is the machine, e.g. def {name}(machine, …)"
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


@functools.lru_cache(maxsize=64)
def _takes_an_argument_cached(work: object) -> bool:
    return _has_room_for_one(work)


def _takes_an_argument(work: object) -> bool:
    try:
        return _takes_an_argument_cached(work)
    except TypeError:  # it has no hash
        return _has_room_for_one(work)


def _has_room_for_one(work: object) -> bool:
    try:
        parameters = inspect.signature(work).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True  # a function in C need not say what it takes
    kinds = inspect.Parameter
    return any(
        one.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.VAR_POSITIONAL)
        for one in parameters
    )
