"""Each Python snippet of README, site and docstrings runs: here on a network in memory."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import requests

import simple_golem
from simple_golem import Command, DownloadJson, Golem, Run, Service
from simple_golem.testing import FakeProvider, FakeYagna
from tests.helpers.shell_answers import ShellAnswers
from tests.helpers.snippets import (
    ON_THE_LOCAL_NETWORK,
    ROOT,
    Names,
    docstring_examples,
    name_of,
    pages,
    run,
    snippets_of,
)

SECONDS = 20.0
EXAMPLES = docstring_examples()
PAGES = [page for page in pages() if name_of(page) not in ON_THE_LOCAL_NETWORK]


class MyService(Service):
    def run(self) -> object:
        return Run("/bin/date")


def answer(command: Command) -> object:
    if isinstance(command, DownloadJson):
        return {"mean": 5}
    return "" if isinstance(command, Run) else None


class Waiting(Service):
    pass


def greet(connection: socket.socket) -> None:
    """A web server."""
    with connection:
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a snippet, with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.png").write_bytes(b"a picture")
    (tmp_path / "output").mkdir()
    return tmp_path


@pytest.fixture
def fake(folder: Path) -> Iterator[FakeYagna]:
    answers = ShellAnswers(folder)
    providers = [FakeProvider(f"prov-{number}", answers, servers={80: greet}) for number in (1, 2, 3)]
    with FakeYagna(providers) as fake, patch.dict(os.environ, fake.environment):
        yield fake
        assert fake.leftovers() == []


@pytest.fixture
def given(fake: FakeYagna) -> Iterator[dict[str, Callable[[], Any]]]:
    """What a snippet takes for granted: it goes on where the text before it, or the reader, has begun."""
    golem = Golem(budget=1)

    def cluster() -> Any:
        cluster = golem.open().run_service(Waiting, network=True)
        cluster.wait_until_running(SECONDS)
        return cluster

    yield {
        "golem": golem.open,
        "cluster": cluster,
        "self": lambda: Service().with_answers(answer),
        "MyService": lambda: MyService,
        "lines": list,
        "token": lambda: "a secret",
        "logging": lambda: logging,
        "requests": lambda: requests,
        **{name: lambda name=name: getattr(simple_golem, name) for name in simple_golem.__all__},
    }
    golem.close()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_snippets_of_a_page_run_from_top_to_bottom(page: Path, given: Any) -> None:
    names: Names = {"__name__": "snippet"}
    try:
        for where, source in snippets_of(page):
            run(where, source, names, given)
        for name in [name for name in names if name.startswith("test_")]:
            names[name]()
    finally:
        for golem in [one for one in names.values() if isinstance(one, Golem)]:
            golem.close()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_docstring_runs(name: str, given: Any) -> None:
    run(name, EXAMPLES[name], {"__name__": "example"}, given)


@pytest.mark.parametrize("script", sorted((ROOT / "tutorials").glob("*.py")), ids=lambda path: path.name)
def test_a_tutorial_is_short(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) < 60
