"""JSON values that can't change, so that they are hashable and can be shared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn


class FrozenDict(dict[str, Any]):
    """A dict that never changes.

    It is a dict, so that `json.dumps`, `==` and `{**frozen}` work as usual.
    """

    def __hash__(self) -> int:  # type: ignore[override]  # dict sets it to None
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        # The default would fill an empty copy item by item.
        return FrozenDict, (dict(self),)

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("this mapping can't be changed; make a new one, e.g. {**old, 'key': value}")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


def freeze(value: object) -> Any:
    """Copy a JSON value into one that can't change: lists become tuples, mappings `FrozenDict`s.

    Raises:
        TypeError: a part of it can't be written as JSON; the message shows the part.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
        return FrozenDict((key, freeze(item)) for key, item in value.items())
    raise TypeError(f"{value!r} can't be written as JSON")
