"""What `help` shows of a public name: what users need, on two screens."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.house_rules.test_promised_names import PROMISED

SCREEN = 50
# These have many methods: `help(Golem.rent)` has one screen for one of them.
SCREENS = {"Golem": 6, "Instance": 4, "Cluster": 3, "LocalGolem": 3, "Service": 3}
# Type hints that stand for what their method explains.
EXPLAINED = {"Answers", "AnyService", "Commands", "ErrorClasses", "Listener", "RepoOptions", "Score"}
EXPLAINED |= {"ShellOptions", "StopBaseT", "WaitBaseT"}
OF_PYTHON = {"Any", "BaseException", "Callable", "Concatenate", "Decimal", "Future", "Iterable", "Iterator"}
OF_PYTHON |= {
    "Mapping",
    "Sequence",
    "P",
    "PathLike",
    "PurePath",
    "T",
    "TracebackType",
    "Unpack",
    "None",
    "False",
    "True",
}
# Their objects are made by the library: all that users do with them is done by their methods.
MADE_BY_THE_LIBRARY = ("Golem", "Cluster", "Instance", "Network", "Pool", "HttpProxy", "TcpProxy", "Service")


def public_things() -> Iterator[tuple[str, Any]]:
    for module in map(importlib.import_module, PROMISED):
        for name in module.__all__:
            thing = getattr(module, name)
            if not isinstance(thing, str):
                yield name, thing


NAMED = list(public_things())


def members_of(kind: type) -> Iterator[tuple[str, Any]]:
    """The public members that `help` describes: those of our own classes, which are not fields."""
    for base in kind.__mro__:
        if base.__module__.startswith("simple_golem"):
            for name, member in vars(base).items():
                if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                    yield name, member


def lines_of(thing: Any) -> int:
    """The lines that `help` has of a name, but for what Python itself adds: that differs by its version."""
    lines = 1 + len((inspect.getdoc(thing) or "").splitlines())
    if inspect.isclass(thing):
        lines += sum(1 + lines_of(member) for _, member in members_of(thing))
    return lines


@pytest.mark.parametrize(("name", "thing"), NAMED, ids=lambda one: one if type(one) is str else "")
def test_the_help_of_a_name_fits_two_screens_and_shows_no_address(name: str, thing: Any) -> None:
    assert lines_of(thing) <= SCREEN * SCREENS.get(name, 2)
    assert re.findall(r".* at 0x\w+.*", pydoc.plain(pydoc.render_doc(thing))) == []


def methods_of(kind: type) -> Iterator[tuple[str, Any]]:
    for name, member in inspect.getmembers(kind, inspect.isroutine):
        if not name.startswith("_"):
            yield f"{kind.__name__}.{name}", member


def test_the_help_of_a_method_fits_one_screen() -> None:
    lengths = {
        name: lines_of(method)
        for _, thing in NAMED
        if inspect.isclass(thing)
        for name, method in methods_of(thing)
    }
    assert {name: lines for name, lines in lengths.items() if lines > SCREEN} == {}


CLASSES = [(name, thing) for name, thing in NAMED if inspect.isclass(thing)]


@pytest.mark.parametrize(("name", "kind"), CLASSES, ids=lambda one: one if type(one) is str else "")
def test_what_help_shows_before_the_methods_of_a_class_fits_two_screens(name: str, kind: type) -> None:
    whole = pydoc.plain(pydoc.render_doc(kind))
    before = re.split(r"^ \|  [\w ]+ (?:defined here|inherited from .*):$", whole, maxsplit=1, flags=re.M)[0]
    assert len(before.splitlines()) <= 2 * SCREEN
    assert len(before) < len(whole)


@pytest.mark.parametrize("name", ["Golem", "Cluster", "Instance", "Network", "Pool", "Service"])
def test_help_of_what_users_hold_begins_with_no_base_class_of_the_library(name: str) -> None:
    kind = getattr(importlib.import_module("simple_golem"), name)
    bases = [base for base in kind.__mro__[1:] if base.__module__.startswith("simple_golem")]
    assert bases == []


@pytest.mark.parametrize("name", MADE_BY_THE_LIBRARY)
def test_public_methods_have_nothing_to_do_with_what_is_not_for_users(name: str) -> None:
    public = {one for one, _ in public_things()}
    foreign = {}
    for method_name, method in methods_of(getattr(importlib.import_module("simple_golem"), name)):
        hints = " ".join(f"{one.annotation}" for one in inspect.signature(method).parameters.values())
        hints += f" {inspect.signature(method).return_annotation}"
        if inner := {*re.findall(r"\b[A-Z]\w*", hints)} - public - EXPLAINED - OF_PYTHON:
            foreign[method_name] = inner
    assert foreign == {}


def test_help_of_the_package_begins_with_what_there_is() -> None:
    package = importlib.import_module("simple_golem")
    named = set(re.findall(r"\b\w+\b", package.__doc__ or ""))
    shown_by_one = {"Command", "ServiceFailed", "ServiceStopped", "__version__"}
    files = {name for name in package.__all__ if name.startswith(("Upload", "Download"))}
    assert set(package.__all__) - named - shown_by_one - files == set()
