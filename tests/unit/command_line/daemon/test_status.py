"""`simple-golem status`, and the names that `simple-golem cleanup` tells."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Golem
from simple_golem.command_line.main import main
from simple_golem.engine.payment.journal import FOLDER_VARIABLE, Journal, journal_path
from simple_golem.engine.payment.journal_record import JournalOwner
from simple_golem.testing import FakeProvider, FakeYagna
from tests.helpers.recorded_services import started


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with FakeYagna([FakeProvider(debit_note_interval=0.1)]) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake


def found(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["status", "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["status"]) == 0
    return capsys.readouterr().out.splitlines()


def killed(fake: FakeYagna, session: str = "deadbeef0", platform: str = "erc20-hoodi-tglm") -> Journal:
    """A session whose allocation was made, and whose script was killed then."""
    journal = Journal.create(JournalOwner(fake.url, fake.node_id, platform), session)
    assert journal is not None
    journal.write("budget", amount="1")
    journal.write("allocation", id="a1")
    return journal


@pytest.mark.parametrize("unreadable", ["folder", "journal"])
def test_journals_that_can_not_be_read_are_not_nothing(
    unreadable: str,
    daemon: FakeYagna,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Root may read everything: so they are no folder, and no file.
    folder = tmp_path / "sessions"
    if unreadable == "folder":
        folder.touch()
    else:
        (folder / "deadbeef.jsonl").mkdir(parents=True)
        monkeypatch.setattr(os, "open", refusing(os.open, "deadbeef.jsonl"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    told = f"what earlier sessions have left is not known: {folder}"
    step = "run it as the user who ran the scripts, or make the folder and its files yours (chown)"
    (line,) = lines(capsys)
    assert line.startswith(told)
    assert line.endswith(f"; {step}")
    assert found(capsys)["problem"].startswith(told)
    assert main(["cleanup", "--wait", "0.1"]) == 2
    output = capsys.readouterr()
    assert f"not all could be cleaned up: {told}" in output.err
    assert "nothing to clean up" not in output.out
    main(["doctor"])
    earlier = [line for line in capsys.readouterr().out.splitlines() if "earlier sessions" in line]
    assert told in earlier[0]


def refusing(real_open: Any, name: str) -> Any:
    def refuse(path: Any, *options: Any, **more: Any) -> int:
        if str(path).endswith(name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return int(real_open(path, *options, **more))

    return refuse


def test_nothing_is_open(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys) == ["no session runs, and nothing is open"]
    assert found(capsys) == {
        "sessions": [],
        "beside": {"agreements": 0, "allocations": 0},
        "problem": "",
    }


def test_a_session_that_runs_has_its_instances_providers_and_costs(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str]
) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        daemon.wait_for(lambda: golem.cost.amount > 0)
        (session,) = found(capsys)["sessions"]
        assert (session["state"], session["payment_network"], session["budget"]) == ("running", "hoodi", "1")
        assert session["allocations"] == 1
        (row,) = session["instances"]
        assert (row["instance"], row["provider"], row["state"]) == (
            instance.name,
            instance.provider_name,
            "running",
        )
        assert row["provider_id"] == instance.provider_id
        assert 0 < Decimal(row["cost"]) == Decimal(session["cost"])
        # The session hears of an acceptance a moment after the daemon has noted it.
        daemon.wait_for(lambda: Decimal(row["cost"]) <= golem.cost.amount)
        said = lines(capsys)
        assert said[0].startswith(f"session {session['session'][:8]} is running (hoodi, {daemon.url}), ")
        assert said[0].endswith(" of 1 tGLM accepted")
        assert said[1].endswith("tGLM accepted")
        assert said[2].split()[:3] == [instance.name, instance.provider_name, "running"]
        assert len(said) == 3
    assert lines(capsys) == ["no session runs, and nothing is open"]


def test_what_a_killed_session_has_left_is_told_with_the_command_that_ends_it(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        copy = journal_path("copy")
        copy.write_bytes(journal_path(golem._lifecycle.require_open().session.app_session_id).read_bytes())
        states = {one["state"]: one for one in found(capsys)["sessions"]}
        assert states.keys() == {"running", "left"}
        assert states["left"]["instances"][0]["state"] == "left"
        assert lines(capsys)[-1] == "to end and pay what was left: simple-golem cleanup"
        copy.unlink()
        copy.with_suffix(".lock").unlink(missing_ok=True)
        assert instance.state == "running"


def test_a_session_of_another_network_or_daemon_names_it(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(daemon, platform="erc20-polygon-glm").close()
    assert lines(capsys)[-1] == "to end and pay what was left: simple-golem cleanup --network polygon"
    assert lines(capsys)[0].endswith(", 0 of 1 GLM accepted")
    (session,) = found(capsys)["sessions"]
    assert (session["state"], session["cost"], session["instances"]) == ("left", "0", [])
    url = daemon.url
    monkeypatch.setenv("YAGNA_API_URL", "http://127.0.0.1:1")
    said = lines(capsys)
    assert "GLM accepted" not in said[0]
    assert said[1].startswith("the daemon could not be asked for costs: no yagna daemon answers")
    assert said[-1].endswith(f"--network polygon --api-url {url}")
    monkeypatch.delenv("YAGNA_APPKEY")
    assert found(capsys)["problem"]


def test_what_is_on_the_daemon_and_of_no_session_is_counted(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Golem(1) as golem:
        started(golem)
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "of another user"))
        said = lines(capsys)
        assert said == ["on the daemon, of no session of this user: agreements in force: 1, allocations: 1"]
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
