"""What frozen dataclasses have in common: how they show themselves and what makes two of them equal."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Value:
    """Base of dataclasses made with `frozen=True, eq=False, repr=False`, which behave as others do.

    To write these methods anew for each class takes most of the time of making it, and `import simple_golem`
    makes dozens of them.
    """

    def __repr__(self) -> str:
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in _fields(self) if one.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        hashed = (one for one in _fields(self) if (one.compare if one.hash is None else one.hash))
        return hash(tuple(getattr(self, one.name) for one in hashed))


def _fields(value: Any) -> Any:
    return fields(value)


def _compared(value: object) -> tuple[Any, ...]:
    return tuple(getattr(value, one.name) for one in _fields(value) if one.compare)
