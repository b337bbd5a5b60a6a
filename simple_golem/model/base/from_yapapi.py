"""Tells users who know yapapi, or other libraries, what a name of these is called here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from ...errors import NoContext

T = TypeVar("T")

# What other libraries for remote machines, or other objects of this one, have as methods: by our class.
_FILES = dict.fromkeys(("upload", "put"), "execute(Upload(local, remote))") | dict.fromkeys(
    ("download", "get"), "execute(Download(remote, local))"
)
_ELSEWHERE: dict[str, dict[str, str]] = {
    "Golem": {
        "execute": "golem.rent().execute(Run(…)), which rents a machine",
        "map": "golem.pool(n).map(function, items)",
        "shell": "golem.rent().shell(line), which rents a machine",
        "submit": "golem.pool(n).submit(function, item)",
    },
    "Cluster": {"close": "stop()"},
    "Instance": {
        **_FILES,
        "close": "stop()",
        "run": "shell(line), or execute(Run(…))",
        "shutdown": "stop(), which calls the `shutdown` of the service",
        "start": "wait_for('running'): an instance starts by itself",
    },
    "Service": _FILES,
}


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
        ours = next(base.__name__ for base in kind.__mro__ if base.__name__ in _ELSEWHERE)
        if advice := _ELSEWHERE[ours].get(name):
            message += f"; write {advice}"
        elif not name.startswith("_") and (advice := advice_on(counterpart, name)):
            message += f"; coming from yapapi: {advice}"
        raise AttributeError(message, name=name, obj=self)

    def with_advice(cls: type[T]) -> type[T]:
        cls.__getattr__ = missing  # type: ignore[attr-defined]
        return cls

    return with_advice


def advice_on(counterpart: str, name: str) -> str | None:
    """What to write in place of yapapi's name; None if it has no such name."""
    names: dict[str, dict[str, str]] = import_module(".yapapi_names", __package__).NAMES
    return names[counterpart].get(name)
