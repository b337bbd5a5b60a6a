"""The app key is told to the daemon alone, and what is kept on disk is the user's alone."""

from __future__ import annotations

import logging
import os
import stat
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_golem import DownloadBytes, Golem, Run, Service, UploadBytes
from simple_golem.errors import GolemError
from simple_golem.testing import FakeAnswer, FakeProvider, FakeRequest, FakeYagna

KEY = "b1946ac92492d2347c6235b4d2611184"
SECONDS = 20.0


def answer(connection: object) -> None:
    connection.sendall(b"welcome")  # type: ignore[attr-defined]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeYagna]:
    with FakeYagna([FakeProvider(servers={7: answer})], app_key=KEY) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path / "deep" / "state"))
        yield fake


def test_the_app_key_is_in_no_log_event_repr_or_journal(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[object] = []
    golem = Golem(1, on_event=told.append)
    written = ""
    with golem:
        cluster = golem.run_service(Service, network=True)
        (instance,) = cluster.wait_until_running(SECONDS)
        instance.execute(UploadBytes(b"some data", "/golem/work/data"), DownloadBytes("/golem/work/data"))
        instance.execute(Run("/bin/true"))
        with instance.connect(7) as connection:
            assert connection.recv(7) == b"welcome"
        told += [golem, cluster, instance, instance.service, vars(golem), golem.cost_report]
        journals = list(tmp_path.rglob("*.jsonl"))
        written = "".join(path.read_text() for path in journals)
    assert '"is": "agreement"' in written
    assert len(caplog.records) > 50
    assert len(told) > 20
    for text in (written, caplog.text, *map(str, told), *map(repr, told)):
        assert KEY not in text


@pytest.mark.parametrize("status", [401, 403, 500, None])
def test_the_app_key_is_in_no_error(fake: FakeYagna, status: int | None) -> None:
    def refuse(request: FakeRequest) -> FakeAnswer | None:
        return None if status is None else FakeAnswer.of_message("no", status)

    fake.intercept(refuse)
    if status is None:
        fake.go_down()
    with pytest.raises(GolemError) as caught:
        Golem(1).open()
    assert KEY not in "".join(traceback.format_exception(caught.value))
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in f"{error!r} {vars(error)}"
        error = error.__cause__ or error.__context__


def test_a_key_in_the_url_is_not_told() -> None:
    with pytest.raises(GolemError) as caught:
        Golem(1, app_key=KEY, api_url="ftp://127.0.0.1").open()
    assert KEY not in str(caught.value)


def test_journals_and_locks_are_the_users_alone_whatever_the_umask(fake: FakeYagna, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Golem(1):
            kept = [path for path in tmp_path.rglob("*") if path.is_file()]
            modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in kept}
            folders = {stat.S_IMODE(path.parent.stat().st_mode) for path in kept}
    finally:
        os.umask(before)
    assert modes == {".jsonl": 0o600, ".lock": 0o600}
    assert folders == {0o700}
