"""The template of a network's daemons, where it can't be copied."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from simple_golem.errors import LocalNetworkError
from simple_golem.local.daemon.data_template import Template


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (errno.ENOSPC, "; make room on that disk, or set TMPDIR to a folder on another one"),
        (errno.EIO, ""),
    ],
)
def test_data_that_can_not_be_copied_are_told_in_one_line(
    number: int, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "template" / "near" / "data").mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / "template" / "near" / "data" / name).write_text("data")
    (tmp_path / "template" / "app_keys.json").write_text("{}")

    def copy(source: str, target: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shutil, "copy2", copy)
    with pytest.raises(LocalNetworkError) as told:
        Template(tmp_path / "template").copy_to("near", tmp_path / "net")
    message = str(told.value)
    assert message.startswith(f"the data of a daemon can't be copied to {tmp_path}/net/data/")
    assert message.endswith(f": {os.strerror(number)}{step}")
