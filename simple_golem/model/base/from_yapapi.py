"""Tells users who know yapapi what a name of it is called here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import NoContext


class FromYapapi:
    """A class whose counterpart in yapapi has other names: the error of such a name says what to write."""

    _counterpart: ClassVar[str]

    if not TYPE_CHECKING:  # else type checkers would allow any attribute

        def __getattr__(self, name: str) -> Any:
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
            if not name.startswith("_") and (advice := advice_on(kind._counterpart, name)):
                message += f"; coming from yapapi: {advice}"
            raise AttributeError(message, name=name, obj=self)


def advice_on(counterpart: str, name: str) -> str | None:
    """What to write in place of yapapi's name; None if it has no such name."""
    names: dict[str, dict[str, str]] = import_module(".yapapi_names", __package__).NAMES
    return names[counterpart].get(name)
