"""Clusters, instances, offers and costs as tables: for `print`, and for notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from simple_golem import Golem, Service, vm
from simple_golem.model.base.table import html_table, text_table
from simple_golem.testing import FakeProvider, FakeYagna

SECONDS = 20.0
# A name that a provider gives itself, to do harm in a notebook or a terminal.
EVIL = "<script>alert('hi')</script>\x1b[31m"
# The sign that would change the colour is gone already when the name is read.
SHOWN = "<script>alert('hi')</script> [31m"


class Idle(Service):
    pass


class Cells(HTMLParser):
    """The texts of all cells, and all tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture
def golem(monkeypatch: pytest.MonkeyPatch) -> Iterator[Golem]:
    with FakeYagna([FakeProvider("prov-1"), FakeProvider(EVIL, per_second=1)]) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        with Golem(budget=100) as golem:
            yield golem


def cells_of(thing: object) -> list[list[str]]:
    cells = Cells(thing._repr_html_())  # type: ignore[attr-defined]
    assert cells.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    return cells.rows


def test_a_cluster_is_printed_as_a_table_of_its_instances(golem: Golem) -> None:
    cluster = golem.run_service(Idle, num_instances=2)
    cluster.wait_until_running(SECONDS)
    head, first, second = str(cluster).splitlines()
    assert re.split("  +", head) == ["instance", "state", "provider", "seconds", "accepted", "come up since"]
    names = r"(?:prov-1|<script>alert\('hi'\)</script> \[31m)"
    assert re.fullmatch(rf"Idle-1 +running +{names} +\d+ +0 tGLM +[\d.]+ tGLM", first)
    assert re.fullmatch(rf"Idle-2 +running +{names} +\d+ +0 tGLM +[\d.]+ tGLM", second)
    assert repr(cluster) == "<Cluster of 2 Idle: Idle-1 running, Idle-2 running>"


def test_a_notebook_shows_tables_with_the_texts_of_providers_escaped(golem: Golem) -> None:
    cluster = golem.run_service(Idle, num_instances=2)
    cluster.wait_until_running(SECONDS)
    for thing in (golem, cluster):
        head, *rows = cells_of(thing)
        assert head == ["instance", "state", "provider", "seconds", "accepted", "come up since"]
        assert {row[2] for row in rows} == {"prov-1", SHOWN}
        assert {row[0] for row in rows} == {"Idle-1", "Idle-2"}
    (_, row) = cells_of(cluster.instances[0])
    assert row[:2] == ["Idle-1", "running"]
    cluster.stop()
    assert {row[1] for row in cells_of(cluster)[1:]} == {"terminated"}
    assert SHOWN in {row[1] for row in cells_of(golem.cost_report)}


def test_offers_are_a_table_the_best_one_first(golem: Golem) -> None:
    offers = golem.offers()
    assert isinstance(offers, tuple)
    head, first, second = cells_of(offers)
    assert head[:3] == ["provider", "tGLM per hour", "per cpu-hour"]
    assert [first[0], second[0]] == ["prov-1", SHOWN]
    assert second[1] == "3600"
    lines = str(offers).splitlines()
    assert "tGLM per hour" in lines[0]
    assert lines[1].startswith("prov-1 ")


def test_an_explanation_is_a_table_of_conditions_between_two_lines(golem: Golem) -> None:
    html = golem.explain(vm.repo(min_mem_gib=1000))._repr_html_()
    assert html.startswith("<p>of 2 providers on the market, none fulfil all conditions</p><table>")
    assert "<tr><td>2</td><td>2</td><td>(golem.inf.mem.gib&gt;=1000)</td><td>8</td></tr></tbody>" in html
    assert "<p>the nearest demand that has answers: (golem.inf.mem.gib&gt;=8) in place of" in html
    assert golem.explain()._repr_html_() == "<p>of 2 providers on the market, 2 fulfil all conditions</p>"


def test_a_golem_that_is_not_open_says_so() -> None:
    assert Golem(1, app_key="key")._repr_html_() == "<p>Golem: not open</p>"


def test_nothing_is_a_table_with_a_head_alone(golem: Golem) -> None:
    assert len(cells_of(golem)) == 1


def test_no_text_of_a_cell_disturbs_a_terminal_or_a_page() -> None:
    rows = [("a\x1b[2J\n", "<b>&'\"")]
    assert text_table(("x", "y"), rows).splitlines() == ["x       y", "a [2J   <b>&'\""]
    html = html_table(("x", "y"), rows, "<i>")
    assert Cells(html).rows == [["x", "y"], ["a [2J ", "<b>&'\""]]
    assert "<b>" not in html
    assert "<i>" not in html
