"""Tells users who know yapapi what a name of it is called here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from ...errors import NoContext

T = TypeVar("T")

# What other libraries for remote machines have as methods, and how an instance does it.
_UPLOAD, _DOWNLOAD = "execute(Upload(local, remote))", "execute(Download(remote, local))"
_BY_EXECUTE = {"upload": _UPLOAD, "put": _UPLOAD, "download": _DOWNLOAD, "get": _DOWNLOAD}


def from_yapapi(counterpart: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: where a name of yapapi's class `counterpart` is missing, the error says what to write.

    With a base class instead, `help` would begin with that. Type checkers don't see that any attribute is
    asked for, and report those that are missing.
    """

    def missing(self: Any, name: str) -> Any:
        kind = type(self)
        if hasattr(kind, name):
            # A property has raised an AttributeError of its own: that one is meant.
            return object.__getattribute__(self, name)
        if name == "_ctx":
            raise NoContext(
                "there is no self._ctx: `script = self._ctx.new_script(); script.run(a, b); "
                "yield script` becomes `self.execute(Run(a, b))`, or return [Run(a, b)]"
            )
        message = f"{kind.__name__!r} object has no attribute {name!r}"
        if not name.startswith("_") and (advice := advice_on(counterpart, name)):
            message += f"; coming from yapapi: {advice}"
        elif counterpart == "Service" and name in _BY_EXECUTE:
            message += f"; write {_BY_EXECUTE[name]}"
        raise AttributeError(message, name=name, obj=self)

    def with_advice(cls: type[T]) -> type[T]:
        cls.__getattr__ = missing  # type: ignore[attr-defined]
        return cls

    return with_advice


def advice_on(counterpart: str, name: str) -> str | None:
    """What to write in place of yapapi's name; None if it has no such name."""
    names: dict[str, dict[str, str]] = import_module(".yapapi_names", __package__).NAMES
    return names[counterpart].get(name)
