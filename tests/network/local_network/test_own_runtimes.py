"""Runtimes of the user's own on a network: one that is called for each command has its tutorial."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_golem import DownloadBytes, Golem, Payload, Run, UploadBytes
from simple_golem.errors import CommandFailed
from simple_golem.local.local_golem import LocalGolem
from tests.helpers import staying_program


@pytest.fixture
def own_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalGolem]:
    program = tmp_path / "program"
    program.write_text(f"#!{sys.executable}\n{Path(staying_program.__file__).read_text()}")
    program.chmod(0o755)
    with LocalGolem(1, runtimes={"staying": program}, chain=False) as network:
        for name, value in network.environment.items():
            monkeypatch.setenv(name, value)
        yield network


@pytest.mark.usefixtures("own_network")
def test_a_runtime_that_stays_runs_what_a_script_says() -> None:
    with Golem(1) as golem:
        machine = golem.rent(payload=Payload(runtime="staying"))
        assert machine.execute(Run("echo", "a b", absolute=False)).stdout == "echo a b\n"
        with pytest.raises(CommandFailed, match="no such thing") as failed:
            machine.execute(Run("fail", absolute=False))
        assert failed.value.exit_code == 7
        machine.execute(UploadBytes(b"kept", "/golem/data/file"))
        assert machine.execute(DownloadBytes("/golem/data/file")).data == b"kept"
