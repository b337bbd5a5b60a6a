"""What users may import: the promised modules, their `__all__`, and what pages and tutorials use of them."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import simple_golem
from simple_golem import errors, events

PROMISED = (
    "simple_golem",
    "simple_golem.errors",
    "simple_golem.events",
    "simple_golem.local",
    "simple_golem.testing",
)
CHECKOUT = Path(__file__).resolve().parents[3]
# The page on the architecture is for those who change the library.
PAGES = (
    CHECKOUT / "README.md",
    *sorted((CHECKOUT / "tutorials").glob("*.md")),
    *sorted(path for path in (CHECKOUT / "docs").rglob("*.md") if path.name != "architecture.md"),
)
SCRIPTS = sorted((CHECKOUT / "tutorials").glob("*.py"))
TREE_LINE = re.compile(r"^(?P<branch>[│ ├└─]*)(?P<name>\w+)(?: +\((?P<builtin>\w+)\))?(?: |$)")


def python_of(page: Path) -> Iterator[str]:
    """The Python snippets of a page."""
    yield from re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def imports_of(source: str) -> Iterator[tuple[str, str]]:
    """What a script imports of this package: module and name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "simple_golem":
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("simple_golem"))


@pytest.mark.parametrize("name", PROMISED)
def test_all_lists_what_is_there_once_and_in_order(name: str) -> None:
    module = importlib.import_module(name)
    assert [one for one in module.__all__ if not hasattr(module, one)] == []
    assert len(set(module.__all__)) == len(module.__all__)
    assert module.__all__ == sorted(module.__all__)


@pytest.mark.parametrize("name", PROMISED)
def test_everything_promised_has_a_docstring_of_its_own(name: str) -> None:
    module = importlib.import_module(name)
    things = [getattr(module, one) for one in module.__all__ if one != "__version__"]
    assert [one for one in things if not (one.__doc__ or "").strip()] == []


@pytest.mark.parametrize(("module", "base"), [(errors, errors.GolemError), (events, events.Event)])
def test_no_error_and_no_event_is_left_out(module: ModuleType, base: type) -> None:
    assert {one.__name__ for one in subclasses_of(base)} <= set(module.__all__)


def subclasses_of(base: type) -> Iterator[type]:
    for one in base.__subclasses__():
        # Tests have subclasses of their own, and so may a module, for itself alone.
        if one.__module__.partition(".")[0] == "simple_golem" and not one.__name__.startswith("_"):
            yield one
            yield from subclasses_of(one)


def test_the_docstring_of_errors_draws_their_tree_as_it_is() -> None:
    drawn: set[tuple[str, str, str | None]] = set()
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = TREE_LINE.match(line.removeprefix("    "))
        if not line.startswith("    ") or match is None:
            continue
        depth = len(match["branch"]) // 4
        parents[depth:] = [match["name"]]
        if depth:
            drawn.add((match["name"], parents[depth - 1], match["builtin"]))
    assert drawn == set(real_tree())


def real_tree() -> Iterator[tuple[str, str, str | None]]:
    for one in subclasses_of(errors.GolemError):
        parent, *others = one.__bases__
        yield one.__name__, parent.__name__, others[0].__name__ if others else None


@pytest.mark.parametrize("path", [*PAGES, *SCRIPTS], ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_pages_and_tutorials_import_promised_names_only(path: Path) -> None:
    sources = python_of(path) if path.suffix == ".md" else iter([path.read_text(encoding="utf-8")])
    imported = [pair for source in sources for pair in imports_of(source)]
    unknown = [(module, name) for module, name in imported if module not in PROMISED]
    assert unknown == []
    unlisted = [
        (module, name)
        for module, name in imported
        if name and name not in importlib.import_module(module).__all__
    ]
    assert unlisted == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_pages_name_promised_modules_only(page: Path) -> None:
    named = set(re.findall(r"\bsimple_golem\.[a-z_]+\b", page.read_text(encoding="utf-8")))
    functions = {f"simple_golem.{name}" for name in simple_golem.__all__}
    assert named <= {*PROMISED, *functions}


@pytest.mark.parametrize("name", PROMISED)
def test_the_reference_has_everything_promised(name: str) -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "docs/reference").glob("*.md"))
    whole = set(re.findall(r"^\.\. automodule:: (\S+)\n   :members:", pages, re.M))
    described = set(re.findall(r"^\.\. auto(?:class|function|exception):: (\S+)", pages, re.M))
    promised = {f"{name}.{one}" for one in importlib.import_module(name).__all__ if one != "__version__"}
    # Errors that stand in the first module, too, are described with the others; a module by its functions.
    elsewhere = {f"simple_golem.{one}" for one in errors.__all__} - {"simple_golem.ServiceStopped"}
    if name not in whole:
        assert promised - described - elsewhere - {"simple_golem.vm"} == set()


def test_each_tutorial_has_its_page_on_the_site() -> None:
    """Such a page is one line: it includes `tutorials/NAME.md`."""
    for tutorial in (CHECKOUT / "tutorials").glob("*.md"):
        page = CHECKOUT / "docs" / "tutorials" / tutorial.name
        assert page.read_text(encoding="utf-8") == f"```{{include}} ../../tutorials/{tutorial.name}\n```\n"


def test_the_pages_were_read() -> None:
    found = [pair for page in PAGES for source in python_of(page) for pair in imports_of(source)]
    assert ("simple_golem", "Golem") in found
    assert ("simple_golem", "constraint") in found
