"""The pages that list other pages can be read without the site: they have a link to each, with a line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.snippets import ROOT

DOCS = ROOT / "docs"
CONTENTS = [page for page in sorted(DOCS.rglob("index.md")) if "{toctree}" in page.read_text("utf-8")]


def listed_by_the_site(page: Path) -> list[Path]:
    """The pages of its toctree, in their order."""
    (block,) = re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    found: list[Path] = []
    for line in block.splitlines():
        if line and not line.startswith(":"):
            found += sorted(page.parent.glob(f"{line}.md"))
    return found


def title(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    if included := re.search(r"^```\{include\} (\S+)$", text, re.M):
        text = (page.parent / included[1]).read_text(encoding="utf-8")
    return text.splitlines()[0].removeprefix("# ")


def test_there_are_such_pages() -> None:
    names = {page.relative_to(DOCS).as_posix() for page in CONTENTS}
    assert {"index.md", "how-to/index.md", "tutorials/index.md", "reference/index.md"} <= names


@pytest.mark.parametrize("page", CONTENTS, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_that_lists_others_has_a_link_and_a_line_for_each(page: Path) -> None:
    links = re.findall(r"^\* \[(.+)\]\((\S+)\): .{4,}$", page.read_text(encoding="utf-8"), re.M)
    assert links == [
        (title(other), other.relative_to(page.parent).as_posix()) for other in listed_by_the_site(page)
    ]
