"""Pages list what the program has, no more and no less."""

from __future__ import annotations

import builtins
import importlib
import re
import shlex
from collections.abc import Iterator

from simple_golem.command_line import main
from simple_golem.command_line.habit_options import POSSIBLE_HABITS
from tests.helpers.snippets import ROOT
from tests.unit.house_rules.test_promised_names import PROMISED


def test_the_page_on_habits_lists_each_habit() -> None:
    page = (ROOT / "docs" / "local-network" / "habits.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z][^`]+)` \|", page, re.M)
    assert sorted(listed) == sorted(POSSIBLE_HABITS.split(", "))


# What pages name beside our own: classes of Python and of other packages, and examples.
OF_OTHERS = {*dir(builtins), "Decimal", "Future", "MyService"}
NOT_PROSE = ("docs/coming-from/", "docs/architecture.md", "docs/sphinx/")
NAME = re.compile(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)(?:\(|`|\.)")


def public_names() -> set[str]:
    modules = map(importlib.import_module, PROMISED)
    return {name for module in modules for name in module.__all__}


def test_the_classes_that_pages_name_are_there() -> None:
    unknown = {}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        where = page.relative_to(ROOT).as_posix()
        if not where.startswith(NOT_PROSE):
            named = set(NAME.findall(page.read_text(encoding="utf-8")))
            if missing := named - public_names() - OF_OTHERS:
                unknown[where] = missing
    assert unknown == {}


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """The arguments of each `simple-golem` that a page tells its reader to type, in a block or in a line."""
    for page in [
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *(ROOT / "tutorials").glob("*.md"),
    ]:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
        lines = [line for block in blocks for line in block.splitlines()]
        for line in lines + re.findall(r"`(simple-golem [^`…]+)`", text):
            if match := re.search(r"(?:^|/| )simple-golem (.+)$", line):
                yield page.name, shlex.split(match[1].replace("SCRIPT", "script.py"))


def test_the_command_lines_of_pages_are_understood() -> None:
    refused = []
    for page, arguments in command_lines():
        if "--help" not in arguments:
            try:
                main._parser().parse_args(arguments)
            except SystemExit:
                refused.append(f"{page}: {arguments}")
    assert refused == []
    assert len(list(command_lines())) > 10


def test_the_readme_is_one_screen_before_its_tests_and_packages() -> None:
    first, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Tests")
    assert len(first.splitlines()) <= 50
    assert "## What it depends on" in rest
