"""Tells users who know an asynchronous library what to write here."""

from __future__ import annotations

from typing import NoReturn, TypeVar

T = TypeVar("T")

_ASYNCHRONOUS = ("__await__", "__aenter__", "__aexit__")


def not_async(cls: type[T]) -> type[T]:
    """Class decorator: `await` and `async with` on its objects raise a clear `TypeError`.

    With a base class instead, `help` would begin with that.
    """
    for name in _ASYNCHRONOUS:
        setattr(cls, name, _refuse_await)
    return cls


def _refuse_await(self: object, *_error: object) -> NoReturn:
    raise TypeError(
        f"no await here: this {type(self).__name__} is used without asyncio; leave out `await`, and "
        "write `with`, not `async with`"
    )
