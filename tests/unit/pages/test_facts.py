"""Pages list what the program has, no more and no less."""

from __future__ import annotations

import builtins
import importlib
import re

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
