"""Each mistake of the page on common mistakes raises the error that the page names, with the next step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import simple_golem
from simple_golem import Golem, GolemError, Service
from simple_golem.testing import CommandAnswer, FakeProvider, FakeYagna
from tests.helpers.snippets import ROOT

SECONDS = 20.0
ROW = re.compile(r"^\| `([^`]+)` \| `(\w+)` \| (.+) \|$", re.M)
ROWS = ROW.findall((ROOT / "docs/concepts/mistakes.md").read_text(encoding="utf-8"))
# What a message must contain, so that its reader knows the next step.
NEXT_STEP = {
    "Golem()": "'budget'",
    'Golem(budget="ten")': "write e.g. budget=1",
    'Golem(budget=1, api_url="127.0.0.1:7465").open()': "http://127.0.0.1:7465",
    'Golem(budget=1, api_url="http://127.0.0.1:1").open()': "yagna service run",
    'Golem(budget=1, app_key="wrong").open()': "yagna app-key list",
    'Golem(budget=1, payment_network="ethereum").open()': "with real money: mainnet, polygon",
    "Golem(budget=1).rent()": "with Golem(budget=1) as golem:",
    'Run("date")': "Run.shell('date')",
    'Run("/bin/echo hello")': "Run('/bin/echo', 'hello')",
    'Run(["/bin/echo", "hello"])': "Run('/bin/ls', '-l', '/')",
    'vm.repo(min_mem_gib="4")': "give a positive number of GiB",
    'golem.rent(image_tag="no/such-image:latest")': "does not know no/such-image:latest",
    'golem.rent(image="golem/alpine:latest")': "did you mean image_tag?",
    "golem.run_service(MyService())": "MyService without its parentheses",
    "golem.run_service(MyService, num_instances=0)": "1 or more",
    "golem.run_service(MyService, expiration=15)": "give a timedelta",
    'golem.run_service(MyService, network="192.168.0.0/24")': "give True",
    'golem.on_event("print")': "give a function",
    "golem.map(print, [1, 2, 3])": "golem.pool(n).map(function, items)",
    "golem.execute_tasks(print, [1, 2, 3])": "golem.pool(n).map(function, items)",
    'machine.run("date")': "write shell(line)",
    'machine.upload("a.txt", "/golem/work/a.txt")': "write execute(Upload(local, remote))",
    'machine.execute(Upload("~/a.txt", "/golem/work/a.txt"))': "os.path.expanduser",
    'machine.execute("uname -a")': "write Run.shell('uname -a')",
    'machine.execute(Run("/bin/date"), Run("/bin/date")).stdout': "results[0].stdout",
    'machine.shell("exit 3")': "exit code 3",
    'machine.execute(Upload("no-such-file", "/golem/work/x"))': "no-such-file does not exist",
    'machine.execute(Download("/golem/output/nothing", "x"))': "there is nothing of this name there",
    "machine.connect(80)": "network=True",
    'machine.wait_for("runing")': "the states are pending",
    'cluster.wait("10")': "a number of seconds",
    "cluster.wait_until_running(count=5)": "the number of instances",
    "golem.top_up(-1)": "a positive amount",
}


class MyService(Service):
    pass


def fails_if_told(command: dict[str, Any]) -> CommandAnswer:
    return CommandAnswer(exit_code=3 if "exit 3" in command["run"]["args"] else 0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    with FakeYagna([FakeProvider(answers=fails_if_told) for _ in range(2)]) as fake:
        fake.unknown_images.add("no/such-image:latest")
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
        assert fake.leftovers() == []


def names_for(golem: Golem, written: str) -> dict[str, Any]:
    """What the page takes for granted."""
    names = {name: getattr(simple_golem, name) for name in simple_golem.__all__}
    names |= {"golem": golem, "MyService": MyService}
    if "machine." in written:
        names["machine"] = golem.rent()
    if "cluster." in written:
        names["cluster"] = golem.run_service(MyService)
        names["cluster"].wait_until_running(SECONDS)
    return names


@pytest.mark.parametrize(("written", "error", "instead"), ROWS, ids=[row[0] for row in ROWS])
def test_a_mistake_is_told_with_the_next_step(
    fake: FakeYagna, written: str, error: str, instead: str
) -> None:
    with Golem(budget=1, raise_failures=False) as golem:
        names = names_for(golem, written)
        with pytest.raises((GolemError, TypeError, AttributeError)) as caught:
            eval(written, names)
    assert type(caught.value).__name__ == error
    assert NEXT_STEP[written] in str(caught.value)


def test_more_than_twenty_mistakes_were_read() -> None:
    assert len(ROWS) > 20
    assert {row[0] for row in ROWS} == set(NEXT_STEP)
