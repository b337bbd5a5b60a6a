"""Tells users who know an asynchronous library what to write here."""

from __future__ import annotations

from typing import NoReturn


class NotAsync:
    """A class whose objects are used without `await`: `await` and `async with` raise a clear `TypeError`."""

    def _refuse_await(self, *_error: object) -> NoReturn:
        raise TypeError(
            f"no await here: this {type(self).__name__} is used without asyncio; leave out `await`, and "
            "write `with`, not `async with`"
        )

    __await__ = __aenter__ = __aexit__ = _refuse_await
