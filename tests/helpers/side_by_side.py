"""Cases of one test that mostly wait, at the same time."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor


def side_by_side(cases: Mapping[str, Callable[[], object]], at_once: int | None = None) -> None:
    """Run all cases, each in a thread of its own; blocks until all have ended.

    Args:
        at_once: how many run at the same time; None: all.

    Raises:
        AssertionError: with the names of those that failed, and with their tracebacks.
    """
    with ThreadPoolExecutor(at_once or len(cases), "case") as pool:
        futures = {name: pool.submit(case) for name, case in cases.items()}
    errors = {name: error for name, future in futures.items() if (error := future.exception())}
    told = "".join(
        f"\n{name}:\n{''.join(traceback.format_exception(error))}" for name, error in errors.items()
    )
    assert not errors, f"{', '.join(errors)} failed{told}"
