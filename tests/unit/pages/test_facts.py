"""Pages list what the program has, no more and no less."""

from __future__ import annotations

import re

from simple_golem.command_line.habit_options import POSSIBLE_HABITS
from tests.helpers.snippets import ROOT


def test_the_page_on_habits_lists_each_habit() -> None:
    page = (ROOT / "docs" / "local-network" / "habits.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z][^`]+)` \|", page, re.M)
    assert sorted(listed) == sorted(POSSIBLE_HABITS.split(", "))
