"""The arguments of `vm.repo`, for other calls that have them, too."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypedDict


class RepoOptions(TypedDict, total=False):
    """The arguments of `vm.repo`, which explains them."""

    image_hash: str | None
    image_tag: str | None
    image_url: str | None
    min_mem_gib: float
    min_storage_gib: float
    min_cpu_threads: int
    min_cpu_cores: int | None
    gpu: bool | str
    min_gpu_mem_gib: float | None
    capabilities: Collection[str]
    constraints: Sequence[str]
