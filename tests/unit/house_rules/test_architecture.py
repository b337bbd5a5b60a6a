"""`docs/architecture.md` shows the folders, the threads and the order of locks as they are."""

from __future__ import annotations

import re
from pathlib import Path

import simple_golem
from simple_golem.engine import life

ROOT = Path(simple_golem.__file__).parent
PAGE = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
# Parts that stand on one line in the page.
NOT_SHOWN = {"testing", "local/images/simple-service"}
TREE_LINE = re.compile(r"^(?P<indent> +)(?P<name>[\w.]+?)(?P<folder>/?) {2,}\S")


def shown() -> set[str]:
    """The paths of the page's tree."""
    block = PAGE.partition("simple_golem/\n")[2].partition("```")[0]
    paths: set[str] = set()
    parents: list[str] = []
    for line in block.splitlines():
        match = TREE_LINE.match(line)
        assert match is not None, line
        depth = len(match["indent"]) // 2 - 1
        parents[depth:] = [match["name"]]
        paths.add("/".join(parents))
    return paths


def is_inside(path: str, folders: set[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def test_the_tree_shows_each_folder_and_each_module_at_the_top() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py")} - {"."}
    folders = {folder for folder in folders if not is_inside(folder, NOT_SHOWN)}
    modules = {path.name for path in ROOT.glob("[!_]*.py")}
    assert shown() == folders | modules


def test_the_table_of_threads_shows_each_thread() -> None:
    table = PAGE.partition("## The threads")[2].partition("## ")[0]
    made: set[str] = set()
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] not in ("local", "testing"):
            made |= set(re.findall(r'"(golem-[a-z-]+)[{"]', path.read_text(encoding="utf-8")))
    assert set(re.findall(r"`(golem-[a-z-]+)`", table)) == made


def test_the_order_of_locks_is_that_of_the_code() -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith("`Lifecycle`")]
    steps = [re.findall(r"`(\w+)`", step) for step in line.split("→")]
    listed = re.findall(r"^\d\. (.*)$", life.__doc__ or "", re.M)
    assert steps == [re.findall(r"`(\w+)`", step) for step in listed]
    assert len(steps) > 5
