"""`simple-golem local images`, and the advice to install busybox."""

from __future__ import annotations

from pathlib import Path

import pytest

from simple_golem.command_line import image_commands
from simple_golem.command_line.image_commands import advice_about_busybox
from simple_golem.command_line.main import main


def test_the_images_are_listed_with_what_can_be_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "greeting.txt").write_text("hello")
    assert main(["local", "images", "--image", f"me/mine:1={tmp_path}"]) == 0
    titles, *rows, writable = capsys.readouterr().out.splitlines()
    assert titles.split() == ["tag", "hash", "MB", "volumes", "working", "folder", "from"]
    tags = ["golem/alpine:latest", "golem/hello-world:latest", "golem/simple-service:latest", "me/mine:1"]
    assert [row.split()[0] for row in rows] == tags
    assert rows[-1].endswith(f", {tmp_path}")
    assert "/golem/in /golem/out" in rows[2]
    assert writable in (image_commands._WRITABLE, image_commands._READ_ONLY)


def test_an_image_that_is_none_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "images", "--image", "a=/no/such/image"]) == 2
    assert "there is no image /no/such/image" in capsys.readouterr().err


def test_busybox_is_advised_once_on_a_machine_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_commands, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(image_commands, "busybox", lambda: Path("/bin/busybox"))
    assert advice_about_busybox() is None
    monkeypatch.setattr(image_commands, "busybox", lambda: None)
    assert "apt install busybox-static" in str(advice_about_busybox())
    assert advice_about_busybox() is None
