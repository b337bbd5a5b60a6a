"""What providers call themselves, and what they say, reaches no terminal as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_golem import Golem, Service
from simple_golem.command_line.main import main
from simple_golem.errors import ServiceFailed
from simple_golem.model.base.printable import printable
from simple_golem.testing import CommandAnswer, FakeProvider, FakeYagna

NAMES = {
    "terminal": "\x1b[2J\x1b]0;owned\x07name",
    "lines": "a\r\nb\x00\x08\x7fc\x85\u2028d",
    "right to left": "\u202egpj.exe\u2066",
    "a megabyte": "x" * 1_000_000,
    "no text": "\x00\x1b",
}
MOST_CHARACTERS = 5000
SECONDS = 20.0


@pytest.fixture(params=NAMES.values(), ids=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def provider(name: str) -> FakeProvider:
    properties = {"golem.node.id.name": name}
    return FakeProvider(name="hostile", properties=properties, reason=name)


@pytest.fixture
def fake(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeYagna]:
    with FakeYagna([provider]) as fake:
        for key, value in fake.environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield fake


def require_harmless(text: str) -> None:
    """Lines of a bearable length, and nothing in them that is not printed."""
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line[:200])
        assert len(line) < MOST_CHARACTERS


class Failing(Service):
    def run(self) -> None:
        self.shell("false")


def test_a_hostile_name_is_harmless_in_logs_events_errors_and_reports(
    fake: FakeYagna,
    provider: FakeProvider,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG, "simple_golem")
    provider.answers = lambda command: CommandAnswer(
        stderr=provider.reason[:5000], exit_code=1, message=provider.reason
    )
    events: list[object] = []
    golem = Golem(1, on_event=events.append).open()
    cluster = golem.run_service(Failing)
    cluster.wait(SECONDS)
    (instance,) = cluster
    require_harmless(f"{golem.cost_report}\n{instance!r}\n{cluster!r}\n{instance.provider_name}")
    with pytest.raises(ServiceFailed) as caught:
        golem.close()
    require_harmless(str(caught.value))
    for event in events:
        require_harmless(str(event))
    for record in caplog.records:
        if record.levelno > logging.DEBUG:
            require_harmless(record.getMessage())
    out, err = capfd.readouterr()
    require_harmless(out + err)


@pytest.mark.parametrize("step", ["proposals", "agreements_wanted", "activities_wanted"])
def test_a_hostile_reason_is_harmless(
    fake: FakeYagna, provider: FakeProvider, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    caplog.set_level(logging.INFO, "simple_golem")
    setattr(provider, step, "no")
    events: list[object] = []
    with Golem(1, on_event=events.append, raise_failures=False) as golem:
        cluster = golem.run_service(Service, start_timeout=1.0)
        cluster.wait(SECONDS)
        (instance,) = cluster
    assert instance.failure is not None
    require_harmless(str(instance.failure))
    for text in (*map(str, events), *(record.getMessage() for record in caplog.records)):
        require_harmless(text)


def test_a_hostile_reason_of_an_ended_agreement_is_harmless(
    fake: FakeYagna, provider: FakeProvider, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[object] = []
    with Golem(1, on_event=events.append, raise_failures=False) as golem:
        cluster = golem.run_service(Service)
        cluster.wait_until_running(SECONDS)
        provider.terminate_agreement(name)
        cluster.wait(SECONDS)
        (instance,) = cluster
    require_harmless(str(instance.failure))
    for text in (*map(str, events), *(record.getMessage() for record in caplog.records)):
        require_harmless(text)


def test_the_offers_of_hostile_providers_are_a_harmless_table(
    fake: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first offer is waited for; then it is quiet.
    monkeypatch.setattr("simple_golem.engine.market.offer_preview._QUIET_SECONDS", 0.1)
    for arguments in ([], ["--json"]):
        assert main(["offers", "--seconds", "20", *arguments]) == 0
        shown = capsys.readouterr().out
        assert "0x" in shown
        for line in shown.split("\n"):
            assert line.isprintable()


def test_an_ordinary_name_stays_as_it_is() -> None:
    for name in ("prov-1", "Jürgen's машина", "שרת", "a b", "名前"):
        assert printable(name) == name
    assert printable("x" * 501) == "x" * 499 + "…"
    assert printable(" \x1b ") == ""
    assert printable(None) == "None"
