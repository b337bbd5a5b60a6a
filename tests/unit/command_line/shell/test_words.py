"""The shell says what the library says without its Python."""

from __future__ import annotations

import ast
import logging

import pytest

from simple_golem.command_line.shell import words
from simple_golem.command_line.shell.words import PHRASES, in_words_of_shell, log_in_words
from tests.helpers.snippets import ROOT


@pytest.fixture(scope="module")
def said() -> list[str]:
    """All constant texts of the library, outside of the command line."""
    files = [path for path in (ROOT / "simple_golem").rglob("*.py") if "command_line" not in path.parts]
    return [
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("phrase", PHRASES)
def test_each_phrase_is_one_of_the_library(phrase: str, said: list[str]) -> None:
    # The name of the call is filled in.
    constant = phrase.rpartition("run_service")[2]
    assert any(constant in text for text in said)


@pytest.mark.parametrize(
    ("message", "meant"),
    [
        ("Download.remote is '/a\\0': no file", "the remote path is '/a\\0': no file"),
        (
            "copy the file first: Run('/bin/cp', '-L', '/golem/work/a', …)",
            "copy the file first: cp -L '/golem/work/a' …",
        ),
        ("min_mem_gib is -1: give a number", "--min-mem-gib is -1: give a number"),
        ("of the budget are left", "of the budget are left"),
    ],
)
def test_names_of_python_become_options_and_commands(message: str, meant: str) -> None:
    assert in_words_of_shell(message) == meant


def test_warnings_of_the_library_are_told_in_the_same_words() -> None:
    told: list[str] = []
    before = list(logging.getLogger("simple_golem").handlers)
    logger = logging.getLogger("simple_golem.services.somewhere")
    with log_in_words(told.append):
        logger.warning("%s it would be started again", "with run_service(…, respawn_running=True)")
        logger.info("not told")
    logger.warning("not told any more")
    assert told == ["it is not started again"]
    assert logging.getLogger("simple_golem").handlers == before


def test_no_option_of_the_shell_is_forgotten() -> None:
    source = (ROOT / "simple_golem" / "command_line" / "shell" / "command.py").read_text(encoding="utf-8")
    options = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    own = {one for one in options if isinstance(one, str) and one.startswith("--") and " " not in one}
    assert own - {"--timeout", "--"} <= set(words._OPTIONS.values())
