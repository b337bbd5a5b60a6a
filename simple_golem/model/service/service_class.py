"""Checks of a service's class, and what the engine reads from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ...errors import BadCommandList, BadInstanceCount, BadService
from ..commands.commands import Command, as_commands
from .service import METHODS, Service, class_payload


def check_service_class(cls: object) -> type[Service]:
    """Return `cls` if it can be run as a service.

    Raises:
        BadService: it is not a class, not a `Service`, or a method can't work; the message says why.
    """
    if isinstance(cls, Service):
        name = type(cls).__name__
        raise BadService(f"an object was given: give the class itself, {name} without its parentheses")
    if not inspect.isclass(cls):
        raise BadService(f"{cls!r} is not a class: give a subclass of Service")
    if not issubclass(cls, Service):
        raise BadService(f"{cls.__name__} is not a service: write class {cls.__name__}(Service)")
    for method in METHODS:
        _check_kind(cls, method)
        if method != "get_payload":
            _check_signature(cls, method)
    return cls


def has_own_run(cls: type[Service]) -> bool:
    """Return whether the class overrides `run`; if not, it stays running until it is stopped."""
    return cls.run is not Service.run


def has_own_shutdown(cls: type[Service]) -> bool:
    """Return whether the class overrides `shutdown`, which needs time at the end."""
    return cls.shutdown is not Service.shutdown


def payload_of(cls: type[Service]) -> object:
    """Return the class's `payload`, or what its `get_payload` returns: a static, class or bare method.

    Raises:
        BadService: it has the argument `self`, but there is no object yet.
    """
    bare = inspect.isfunction(inspect.getattr_static(cls, "get_payload"))
    if bare and not _takes(cls.get_payload):
        raise BadService(
            f"{cls.__name__}.get_payload is called before there is an object: "
            "write @staticmethod above it, and remove `self`"
        )
    return class_payload(cls)


def service_factories(
    cls: type[Service], number: int | None, params: Sequence[Mapping[str, Any]] | None
) -> list[Callable[[], Service]]:
    """Return for each instance a function that makes its service: the class, with its arguments.

    Args:
        cls: the service.
        number: how many instances; None: as many as `params` has, or 1.
        params: the keyword arguments for each instance; None if the constructor needs none.

    Raises:
        BadInstanceCount: the number is not valid, or differs from that of `params`.
    """
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
        raise BadInstanceCount(f"num_instances is {number!r}: give a whole number, 1 or more")
    if params is None:
        return [cls] * (1 if number is None else number)
    if isinstance(params, (str, Mapping)) or not isinstance(params, Sequence):
        raise BadInstanceCount(f"instance_params is {params!r}: give a list with a dict for each instance")
    for one in params:
        if not isinstance(one, Mapping) or not all(isinstance(name, str) for name in one):
            raise BadInstanceCount(f"instance_params has {one!r}: give a dict of constructor arguments")
    wanted = len(params) if number is None else number
    if not params or len(params) != wanted:
        raise BadInstanceCount(
            f"instance_params has {len(params)} entries for {wanted} instances: give one for each"
        )
    return [partial(cls, **one) for one in params]


def commands_from(class_name: str, method_name: str, value: object) -> tuple[Command, ...]:
    """Return what a method returned as commands.

    Raises:
        BadCommandList: it is something else; the message names class, method and value.
    """
    try:
        return as_commands(value)
    except BadCommandList as error:
        if inspect.iscoroutine(value):
            value.close()  # else Python warns that it was never awaited
        raise BadCommandList(f"{class_name}.{method_name}() returned {error}") from None


def _check_kind(cls: type[Service], method: str) -> None:
    raw = inspect.getattr_static(cls, method)
    function = raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw
    where = f"{cls.__name__}.{method}"
    if not callable(function):
        raise BadService(
            f"{where} is {function!r}, which is not a method: write def {method}(self): return …"
        )
    kind = _kind(function)
    if kind is None:
        return
    if method == "get_payload":
        raise BadService(f"{where} is {kind}: remove `yield` and `async`, and return the payload")
    raise BadService(f"{where} is {kind}: remove `yield` and `async`, and return a list")


def _kind(function: object) -> str | None:
    if inspect.isasyncgenfunction(function):
        return "an async generator"
    if inspect.iscoroutinefunction(function):
        return "a coroutine"
    return "a generator" if inspect.isgeneratorfunction(function) else None


def _check_signature(cls: type[Service], method: str) -> None:
    is_plain = inspect.isfunction(inspect.getattr_static(cls, method))
    if not _takes(getattr(cls, method), *([None] if is_plain else [])):
        raise BadService(
            f"{cls.__name__}.{method} must take `self` and nothing else: write def {method}(self)"
        )


def _takes(function: object, *args: object) -> bool:
    """Return whether a callable accepts exactly these arguments; True if that can't be known."""
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True
