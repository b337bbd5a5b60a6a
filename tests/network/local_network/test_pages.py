"""The snippets of pages that need files or a server on a provider run on the local network."""

from __future__ import annotations

from pathlib import Path

import pytest

import simple_golem
from tests.helpers.snippets import ON_THE_LOCAL_NETWORK, Names, name_of, pages, run, snippets_of

PAGES = [page for page in pages() if name_of(page) in ON_THE_LOCAL_NETWORK]
OF_US = {name: lambda name=name: getattr(simple_golem, name) for name in simple_golem.__all__}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_snippets_of_a_page_run_on_the_local_network(
    page: Path, golem_environment, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names: Names = {"__name__": "snippet"}
    for where, source in snippets_of(page):
        run(where, source, names, OF_US)


def test_these_pages_are_there():
    assert {name_of(page) for page in PAGES} == ON_THE_LOCAL_NETWORK
