"""The Python snippets of pages and docstrings, run from top to bottom, as somebody would who copies them."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("simple_golem", "simple_golem.errors", "simple_golem.events", "simple_golem.local")
# Their snippets need files or a server on a provider, which no provider in memory has.
ON_THE_LOCAL_NETWORK = {"how-to/files.md", "how-to/web-server.md", "guide/private-networks.md"}
# One has two files; tests/network/local_network/test_tutorials.py runs them. The other has tests for pytest;
# tests/network/local_network/test_pytest_plugin.py runs them.
RUN_ELSEWHERE = {"how-to/python-script.md", "how-to/tests.md"}
# A page is one script: the same names go on from snippet to snippet.
Names = dict[str, Any]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
EXAMPLE = re.compile(r"^Examples?:\n((?:(?:    .*)?\n)+)", re.M)


def pages() -> list[Path]:
    """All pages with Python; those of tutorials show scripts, which are run by tests of their own."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    with_python = [page for page in found if BLOCK.search(page.read_text(encoding="utf-8"))]
    return [page for page in with_python if name_of(page) not in RUN_ELSEWHERE]


def name_of(page: Path) -> str:
    """The name of a page, from the folder `docs` on."""
    return page.relative_to(ROOT).as_posix().removeprefix("docs/")


def snippets_of(page: Path) -> Iterator[tuple[str, str]]:
    """Where each snippet is, and its source, with its lines where they are in the page."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        before = text[: match.start(1)].count("\n")
        yield str(page), "\n" * before + match[1]


def docstring_examples() -> dict[str, str]:
    """The examples in docstrings of public names, by name."""
    found: dict[str, str] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            members = [(name, thing)]
            if inspect.isclass(thing) or inspect.ismodule(thing):
                members += [
                    (f"{name}.{member}", value)
                    for member, value in vars(thing).items()
                    if not member.startswith("_")
                ]
            for full_name, value in members:
                match = EXAMPLE.search((inspect.getdoc(value) or "") + "\n")
                if match and not isinstance(value, (str, int)):
                    found[full_name] = inspect.cleandoc("\n" + match[1])
    return found


def missing_names(source: str, names: Mapping[str, Any]) -> list[str]:
    """The names that a snippet reads but that neither it nor an earlier one has made."""
    tree = ast.parse(source)
    names_in = [one for one in ast.walk(tree) if isinstance(one, ast.Name)]
    read = {one.id for one in names_in if isinstance(one.ctx, ast.Load)}
    made = {one.id for one in names_in if not isinstance(one.ctx, ast.Load)}
    for one in ast.walk(tree):
        if isinstance(one, (ast.FunctionDef, ast.ClassDef)):
            made.add(one.name)
        elif isinstance(one, ast.arg):
            made.add(one.arg)
        elif isinstance(one, (ast.Import, ast.ImportFrom)):
            made |= {(alias.asname or alias.name).partition(".")[0] for alias in one.names}
    return sorted(read - made - set(names) - set(vars(builtins)))


def run(where: str, source: str, names: Names, given: Mapping[str, Callable[[], Any]]) -> None:
    """Run a snippet; what it takes for granted is made by `given`."""
    for name in missing_names(source, names):
        if name in given:
            names[name] = given[name]()
    exec(compile(source, where, "exec"), names)
