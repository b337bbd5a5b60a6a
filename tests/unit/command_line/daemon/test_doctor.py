"""What `simple-golem doctor` finds well, and what it advises where something is not."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simple_golem.command_line.daemon.marks import Marks
from simple_golem.command_line.main import main
from simple_golem.engine.payment.journal import FOLDER_VARIABLE, Journal
from simple_golem.engine.payment.journal_record import JournalOwner
from simple_golem.testing import Clock, FakeAnswer, FakeRequest, FakeYagna

NOBODY = "http://127.0.0.1:1"
Interceptor = Callable[[FakeRequest], FakeAnswer | None]


class WrongClock(Clock):
    def now(self) -> datetime:
        return super().now() + timedelta(minutes=10)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no earlier session, and a program yagna."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "journals"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "YAGNA_PAYMENT_NETWORK"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    with FakeYagna(2) as fake:
        use(fake, monkeypatch)
        yield fake
        assert fake.leftovers() == []


def use(fake: FakeYagna, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)


def found(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status of the doctor, and its findings by their names."""
    status = main(["doctor", "--json", *options])
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] == (status == 0) == all(one["ok"] for one in said["checks"])
    assert all(one["next"] for one in said["checks"] if not one["ok"])
    return status, {one["check"]: one for one in said["checks"]}


def bad(findings: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, one in findings.items() if not one["ok"]}


def answering(path: str, answer: object, status: int = 200) -> Interceptor:
    return lambda request: FakeAnswer.of_json(answer, status) if request.path == path else None


def test_all_is_well(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    status, findings = found(capsys)
    assert status == 0
    assert list(findings) == [
        "yagna",
        "app key",
        "clock",
        "network",
        "funds on hoodi",
        "other funds",
        "image registry",
        "earlier sessions",
    ]
    assert "0.17.6" in findings["yagna"]["says"]
    assert daemon.node_id in findings["app key"]["says"]
    assert findings["network"]["says"] == "3 connections to other nodes"
    assert findings["funds on hoodi"]["says"] == "1000 tGLM, and 10 tETH for gas"
    assert "1000 GLM on polygon" in findings["other funds"]["says"]


def test_each_line_has_a_mark_and_a_bad_one_its_next_step(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAGNA_APPKEY", "wrong")
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("✓ yagna")
    assert lines[1].startswith("✗ app key")
    assert lines[2].strip().startswith("→ yagna app-key list")
    assert lines[-1] == "1 of 5 is not well; not checked: network, funds"


def test_no_daemon(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGNA_APPKEY", "k")
    monkeypatch.setenv("GOLEM_REGISTRY_URL", NOBODY)
    monkeypatch.setenv("YAGNA_API_URL", NOBODY)
    status, findings = found(capsys)
    assert (status, bad(findings)) == (1, {"yagna", "image registry"})
    assert findings["yagna"]["next"].startswith("yagna service run")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "join.golem.network" in found(capsys)[1]["yagna"]["next"]
    assert (
        "on that machine" in found(capsys, "--api-url", "http://no-such-host.invalid:1")[1]["yagna"]["next"]
    )


def test_what_answers_is_no_yagna(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.intercept(lambda request: FakeAnswer.of_text("hello", 200) if "version" in request.path else None)
    status, findings = found(capsys)
    assert (status, bad(findings)) == (1, {"yagna"})
    assert "is no yagna" in findings["yagna"]["says"]


@pytest.mark.parametrize("key", ["wrong", ""])
def test_a_key_that_is_wrong_or_missing(
    key: str, daemon: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAGNA_APPKEY", key)
    status, findings = found(capsys)
    assert (status, bad(findings)) == (1, {"app key"})
    assert "yagna app-key create" in findings["app key"]["next"]
    assert "network" not in findings  # nothing else could be asked


@pytest.mark.parametrize(
    ("version", "is_well"), [("0.15.2", False), ("0.17.1", False), ("0.17.2", True), ("1.0.0-rc1", True)]
)
def test_an_old_yagna(
    version: str, is_well: bool, daemon: FakeYagna, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"current": {"version": version}, "pending": {"version": "2.0.0"}}
    daemon.intercept(answering("/version/get", answer))
    findings = found(capsys)[1]
    assert bad(findings) == (set() if is_well else {"yagna"})
    assert version in findings["yagna"]["says"]
    assert ("2.0.0" in findings["yagna"]["says"]) == is_well
    assert is_well or "join.golem.network" in findings["yagna"]["next"]


def test_a_clock_that_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeYagna(clock=WrongClock()) as fake:
        use(fake, monkeypatch)
        status, findings = found(capsys)
    assert (status, bad(findings)) == (1, {"clock"})
    assert "seconds behind the clock of the daemon" in findings["clock"]["says"]
    assert "set-ntp true" in findings["clock"]["next"]


def test_no_other_node_is_connected(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    end = daemon.intercept(answering("/_gsb/local/net/Status", {"Ok": {"sessions": 0}}))
    status, findings = found(capsys)
    assert (status, bad(findings)) == (1, {"network"})
    assert "yagna net status" in findings["network"]["next"]
    end()
    central = {"Err": {"RuntimeException": "Not implemented for central network"}}
    daemon.intercept(answering("/_gsb/local/net/Status", central))
    assert bad(found(capsys)[1]) == set()


def test_no_funds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeYagna(funds=Decimal(0)) as fake:
        use(fake, monkeypatch)
        status, findings = found(capsys)
        assert (status, bad(findings)) == (1, {"funds on hoodi"})
        assert findings["funds on hoodi"]["next"] == "yagna payment fund --network hoodi"
        assert "other funds" not in findings
        findings = found(capsys, "--network", "polygon")[1]
        assert findings["funds on polygon"]["next"] == "yagna payment fund --network polygon"


@pytest.mark.parametrize(
    ("network", "gas", "step"),
    [
        ("hoodi", "tETH", "yagna payment fund --network hoodi"),
        ("polygon", "POL", "send some POL to 0x"),
    ],
)
def test_no_gas(
    network: str, gas: str, step: str, daemon: FakeYagna, capsys: pytest.CaptureFixture[str]
) -> None:
    token = "GLM" if network == "polygon" else "tGLM"
    answer = {
        "amount": "5",
        "reserved": "0",
        "token": token,
        "gas": {"balance": "0", "currency_short_name": gas},
    }
    daemon.intercept(answering("/_gsb/local/payment/GetStatus", {"Ok": answer}))
    status, findings = found(capsys, "--network", network)
    assert (status, bad(findings)) == (1, {f"funds on {network}"})
    assert findings[f"funds on {network}"]["next"].startswith(step)


def test_all_funds_are_in_allocations(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"amount": "5", "reserved": "5", "token": "tGLM", "gas": None}
    daemon.intercept(answering("/_gsb/local/payment/GetStatus", {"Ok": answer}))
    assert "yagna payment release-allocations" in found(capsys)[1]["funds on hoodi"]["next"]


def test_a_part_of_the_funds_is_in_allocations(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"amount": "5", "reserved": "1", "token": "tGLM", "gas": None}
    daemon.intercept(answering("/_gsb/local/payment/GetStatus", {"Ok": answer}))
    says = found(capsys)[1]["funds on hoodi"]["says"]
    assert says == "5 tGLM; 1 tGLM is in allocations"


def test_the_chain_does_not_answer(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"Err": {"inner": "Error while sending payment: Unreachable, /home/x/eth.rs:572:18"}}
    daemon.intercept(answering("/_gsb/local/payment/GetStatus", answer))
    status, findings = found(capsys)
    assert (status, bad(findings)) == (1, {"funds on hoodi"})
    assert findings["funds on hoodi"]["says"].endswith("Error while sending payment: Unreachable")
    assert findings["funds on hoodi"]["next"] == "yagna payment driver rpc --network hoodi"


def test_a_daemon_that_does_not_know_the_payment_network(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str]
) -> None:
    only = {"erc20": {"networks": {"polygon": {"default_token": "GLM"}}}}
    daemon.intercept(answering("/_gsb/local/payment/GetDrivers", {"Ok": only}))
    says = found(capsys)[1]["funds on hoodi"]["says"]
    assert says == "this yagna does not know hoodi, only polygon"


@pytest.mark.parametrize("has_key", [True, False])
def test_a_setting_that_is_wrong(
    has_key: bool, daemon: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_key:
        monkeypatch.delenv("YAGNA_APPKEY")
    status, findings = found(capsys, "--network", "tron")
    assert (status, bad(findings)) == (1, {"settings"})
    assert "hoodi" in findings["settings"]["says"]


def test_a_proxy_is_named_and_never_used_for_yagna(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://me:secret@127.0.0.1:1")
    monkeypatch.setenv("GOLEM_REGISTRY_URL", "https://registry.example.invalid")
    monkeypatch.setattr("simple_golem.engine.market.image_registry._CONNECT_SECONDS", 0.5)
    status, findings = found(capsys)
    assert (status, bad(findings)) == (1, {"image registry"})
    assert "HTTPS_PROXY" in findings["proxy"]["says"]
    assert "NO_PROXY" in findings["image registry"]["next"]
    assert "through the proxy 127.0.0.1:" in findings["image registry"]["says"]
    assert "secret" not in json.dumps(findings)


def test_what_earlier_sessions_have_left(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    owner = JournalOwner(daemon.url, daemon.node_id, "erc20-polygon-glm")
    alive = Journal.create(owner, "alive")
    assert alive is not None
    alive.write("allocation planned", until=datetime.now(timezone.utc).isoformat())
    says = found(capsys)[1]["earlier sessions"]["says"]
    assert says == "nothing is left (1 running)"
    alive.close()
    other = Journal.create(JournalOwner("http://elsewhere:1", daemon.node_id, "erc20-hoodi-tglm"), "other")
    assert other is not None
    other.write("allocation", id="a1")
    other.close()
    status, findings = found(capsys)
    assert (status, bad(findings)) == (1, {"earlier sessions"})
    assert findings["earlier sessions"]["says"] == "1 ended without cleaning up, and left allocations: 1"
    assert findings["earlier sessions"]["next"] == "simple-golem cleanup --network polygon"


def test_the_command_that_cleans_up_has_what_the_environment_does_not_say(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal.create(JournalOwner(daemon.url, daemon.node_id, "erc20-polygon-glm"), "killed")
    assert journal is not None
    journal.write("allocation", id="a1")
    journal.write("network", id="n1")
    journal.close()
    monkeypatch.delenv("YAGNA_API_URL")
    finding = found(capsys, "--network", "polygon", "--api-url", daemon.url)[1]["earlier sessions"]
    assert finding["says"].endswith("left allocations: 1, private networks: 1")
    step = f"simple-golem cleanup --network polygon --api-url {daemon.url}"
    assert finding["next"] == step
    main(["status", "--network", "polygon", "--api-url", daemon.url])
    assert capsys.readouterr().out.splitlines()[-1] == f"to end and pay what was left: {step}"
    monkeypatch.setenv("YAGNA_API_URL", daemon.url)
    monkeypatch.setenv("YAGNA_PAYMENT_NETWORK", "polygon")
    assert found(capsys)[1]["earlier sessions"]["next"] == "simple-golem cleanup"
    monkeypatch.setenv("YAGNA_PAYMENT_NETWORK", "tron")
    assert found(capsys, "--network", "polygon")[1]["earlier sessions"]["next"] == step


# --- the marks --------------------------------------------------------------------------------------------


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def written(encoding: str, environ: dict[str, str]) -> str:
    raw = io.BytesIO()
    stream = Terminal(raw, encoding=encoding)
    marks = Marks(stream, environ)
    marks.write("a", True, "fine")
    marks.write("b", False, "bad …", "do this")
    stream.detach()
    return raw.getvalue().decode(encoding)


def test_a_terminal_that_can_not_show_the_marks_gets_ascii() -> None:
    lines = written("ascii", {"NO_COLOR": "1"}).splitlines()
    assert [line.split() for line in lines] == [
        ["ok", "a", "fine"],
        ["no", "b", "bad", "?"],
        ["->", "do", "this"],
    ]


@pytest.mark.parametrize(
    ("environ", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_only_in_terminals_that_want_them(environ: dict[str, str], is_coloured: bool) -> None:
    text = written("utf-8", environ)
    assert ("\x1b[31m" in text) == is_coloured
    assert "✓" in text
