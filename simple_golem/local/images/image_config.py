"""The settings of an image: what Docker calls the configuration of a container."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_USER = re.compile(r"\+?(\d+):\+?(\d+)")
_MOST_ID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What the runtime takes from an image's settings.

    It does not take the environment: the programs of a real activity have none.

    Attributes:
        work_folder: where commands start.
        user: the ids of user and group that commands run with.
        volumes: the folders that files can be transferred to and from; they are empty at first.
        entry_point: the command of the image, which `start-entrypoint` starts.
        environment: `NAME=VALUE` of each variable that the image sets; only shown to users.
    """

    work_folder: str = "/"
    user: tuple[int, int] = (0, 0)
    volumes: tuple[str, ...] = ()
    entry_point: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    @classmethod
    def of(cls, wire: Mapping[str, Any]) -> ImageConfig:
        """Read the JSON of a container's configuration.

        Raises:
            ValueError: it is not one.
        """
        if not isinstance(wire, Mapping):
            raise ValueError(f"invalid type: {type(wire).__name__}, expected struct ContainerConfig")
        folder = _text(wire, "WorkingDir")
        return cls(
            folder if folder.strip() else "/",
            _ids(_text(wire, "User")),
            tuple(sorted(str(path) for path in _of_kind(wire, "Volumes", Mapping, {}))),
            (*_texts(wire, "Entrypoint"), *_texts(wire, "Cmd")),
            tuple(_texts(wire, "Env")),
        )

    def to_wire(self) -> Mapping[str, Any]:
        """The JSON that `of` reads."""
        return {
            "WorkingDir": self.work_folder,
            "User": f"{self.user[0]}:{self.user[1]}",
            "Volumes": {path: {} for path in self.volumes},
            "Entrypoint": list(self.entry_point),
            "Env": list(self.environment),
        }


def _ids(user: str) -> tuple[int, int]:
    """The ids of `UID:GID`; every other way to name a user means root there."""
    found = _USER.fullmatch(user.strip())
    ids = (int(found[1]), int(found[2])) if found else (0, 0)
    return ids if max(ids) <= _MOST_ID else (0, 0)


def _of_kind(wire: Mapping[str, Any], name: str, kind: Any, empty: Any) -> Any:
    value = wire.get(name)
    if value is None:
        return empty
    if not isinstance(value, kind):
        raise ValueError(f"invalid type for {name}: {value!r}")
    return value


def _text(wire: Mapping[str, Any], name: str) -> str:
    return str(_of_kind(wire, name, str, ""))


def _texts(wire: Mapping[str, Any], name: str) -> list[str]:
    return [str(item) for item in _of_kind(wire, name, (list, tuple), [])]
