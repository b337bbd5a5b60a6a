"""What the error says of an argument that `golem.rent` does not have."""

from __future__ import annotations

from collections.abc import Iterable

from ..base.similar import nearest_of
from .repo_options import RepoOptions

_OF_SEVERAL = ("num_instances", "instance_params")
_MEANT = {"image": "image_tag", "tag": "image_tag", "hash": "image_hash"}


def unknown_option(options: Iterable[str]) -> TypeError | None:
    """Return the error for the first argument that is not known; None if all are those of `vm.repo`.

    Args:
        options: the arguments that `golem.rent` has not itself.
    """
    known = RepoOptions.__annotations__
    name = next((option for option in options if option not in known), None)
    if name is None:
        return None
    advice = ""
    if name in _OF_SEVERAL:
        advice = f": it rents one machine, and golem.run_service(Service, {name}=…) several"
    elif meant := _MEANT.get(name) or nearest_of(name, known):
        advice = f": did you mean {meant}?"
    return TypeError(f"golem.rent() has no argument {name!r}{advice}")
