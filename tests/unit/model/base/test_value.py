"""Values behave as frozen dataclasses do that write all their methods themselves."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field

import pytest

from simple_golem.model.base.value import Value


@dataclass(frozen=True)
class Own:
    name: str
    number: int = 0
    seen: float = field(default=0.0, compare=False)
    hidden: str = field(default="", repr=False)
    unhashed: tuple[object, ...] = field(default=(), hash=False)


@dataclass(frozen=True, eq=False, repr=False)
class Shared(Value):
    name: str
    number: int = 0
    seen: float = field(default=0.0, compare=False)
    hidden: str = field(default="", repr=False)
    unhashed: tuple[object, ...] = field(default=(), hash=False)


@dataclass(frozen=True, eq=False, repr=False)
class Other(Value):
    name: str


def test_it_shows_itself_as_others_do() -> None:
    assert repr(Shared("a", 2, 0.5, "x")) == repr(Own("a", 2, 0.5, "x")).replace("Own", "Shared")


@pytest.mark.parametrize(
    "args", [("a",), ("a", 1), ("a", 0, 7.0), ("a", 0, 0.0, "x"), ("b",), ("a", 0, 0.0, "", (1,))]
)
def test_it_is_equal_to_what_others_are_equal_to(args: tuple[str]) -> None:
    assert (Shared("a") == Shared(*args)) is (Own("a") == Own(*args))
    assert (hash(Shared("a")) == hash(Shared(*args))) is (hash(Own("a")) == hash(Own(*args)))


def test_what_is_not_to_be_hashed_need_not_be_hashable() -> None:
    assert hash(Shared("a", unhashed=([],))) == hash(Shared("a"))


def test_it_is_equal_to_nothing_of_another_class_and_never_changes() -> None:
    assert Other("a") != Shared("a")
    assert Shared("a") != "a"
    with pytest.raises(FrozenInstanceError):
        Shared("a").name = "b"  # type: ignore[misc]
