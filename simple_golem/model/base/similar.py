"""The name that a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# `golem/alpine` is like `golem/alpine:latest`, and `me/mine:latest` is not.
_LEAST_LIKENESS = 0.75


def nearest_of(written: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like a misspelt one; None if none is like it."""
    return next(iter(difflib.get_close_matches(written, list(names), n=1, cutoff=_LEAST_LIKENESS)), None)
