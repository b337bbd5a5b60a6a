"""The environment of child processes whose coverage is not measured: its output would disturb some tests."""

from __future__ import annotations

import os


def own_environment() -> dict[str, str]:
    """The environment for a child: without the variables that would have its coverage measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
