"""The root of a built-in image, which the user's cache has for all tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from simple_golem.local.images.built_in.small_root import SmallRoot
from simple_golem.local.images.image_cache import ImageCache


@pytest.fixture(scope="session")
def python_roots() -> Sequence[Path]:
    """The folders of a root with a shell, the usual programs, and Python."""
    return SmallRoot(with_python=True).unpacked(ImageCache()).roots
