"""Images: found by tag and hash, given by options, and the simple service inside one of them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simple_golem.background.threads import EngineThread
from simple_golem.errors import BadImage, GolemError
from simple_golem.local.images.built_in.golem_files import GolemFiles
from simple_golem.local.images.image_cache import ImageCache
from simple_golem.local.images.image_config import ImageConfig
from simple_golem.local.images.image_store import BUILT_IN, ImageStore, LocalImage
from simple_golem.local.images.root_writer import RootWriter

SIMPLE_SERVICE = "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of the simple service's image, with its files in a folder of the test."""
    image = ImageStore().lookup(hash=SIMPLE_SERVICE)
    assert image is not None
    assert isinstance(image.source, GolemFiles)
    assert image.source.folder is not None
    folder = image.source.folder / "run"
    places = {
        "OBSERVATIONS_STORE": str(tmp_path / "store.db"),
        "OBSERVATIONS_PID_FILE": str(tmp_path / "pid"),
    }

    def run(program: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-B", str(folder / program), *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, **places},
        )

    return run


def folder_of(image: LocalImage) -> Path | None:
    return image.source.folder if isinstance(image.source, GolemFiles) else None


def test_a_built_in_image_is_found_by_its_tag_and_by_its_hash() -> None:
    store = ImageStore()
    for image in BUILT_IN:
        assert store.lookup(tag=image.tag) == image
        assert store.lookup(hash=image.hash.upper()) == image


def test_an_image_nobody_has_is_none_and_its_message_shows_the_option() -> None:
    store = ImageStore()
    assert store.lookup(tag="me/unknown:latest") is None
    message = store.missing("me/unknown:latest")
    assert "golem/alpine:latest" in message
    assert "--image me/unknown:latest=PATH" in message


@pytest.mark.parametrize("tag", ["golem/alpine", "golem/alpin:latest", "alpine:latest"])
def test_the_message_names_the_image_that_may_be_meant_first(tag: str) -> None:
    message = ImageStore().missing(tag)
    assert message.startswith(f"no image {tag} here: did you mean golem/alpine:latest? There are: ")


def test_the_message_names_no_image_of_quite_another_name() -> None:
    assert "did you mean" not in ImageStore().missing("me/mine:latest")


def test_an_option_adds_an_image_with_a_hash_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "hello.txt").write_text("hello")
    image = ImageStore.with_options([f"me/mine:1={tmp_path}"]).lookup(tag="me/mine:1")
    assert image is not None
    assert (len(image.hash), folder_of(image), image.source.size) == (56, tmp_path, 5)


def test_an_option_with_a_hash_is_found_by_that_hash(tmp_path: Path) -> None:
    image = ImageStore.with_options([f"{'ab' * 28}={tmp_path}"]).lookup(hash="ab" * 28)
    assert image is not None
    assert (image.tag, folder_of(image)) == (None, tmp_path)


def test_an_option_wins_over_a_built_in_image_which_keeps_its_hash(tmp_path: Path) -> None:
    store = ImageStore.with_options([f"golem/simple-service:latest={tmp_path}"])
    image = store.lookup(hash=SIMPLE_SERVICE)
    assert image is not None
    assert folder_of(image) == tmp_path


@pytest.mark.parametrize("option", ["just-a-tag", "=folder", "tag=", "me/mine:1=/no/such/folder"])
def test_an_option_that_makes_no_sense_is_named_in_the_error(option: str) -> None:
    with pytest.raises(BadImage, match=option) as caught:
        ImageStore.with_options([option])
    assert isinstance(caught.value, GolemError)


def test_an_image_for_which_the_disk_has_no_room_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    def unpack(writer: RootWriter) -> ImageConfig:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(
        BadImage, match="make room on that disk, or set XDG_CACHE_HOME to a folder on another"
    ):
        ImageCache(tmp_path).unpacked("key", unpack)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_the_simple_service_answers_with_statistics(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    for value in ("1", "2", "6"):
        assert run("simple_service.py", "--add", value).returncode == 0
    assert json.loads(run("simple_service.py", "--stats").stdout) == {
        "count": 3,
        "mean": 3.0,
        "median": 2.0,
        "deviation": 2.6458,
        "min": 1.0,
        "max": 6.0,
    }
    assert [row["value"] for row in json.loads(run("simple_service.py", "--dump").stdout)] == [1.0, 2.0, 6.0]


def test_the_simple_service_has_statistics_before_the_first_number(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    assert run("simple_service.py", "--init").returncode == 0
    assert json.loads(run("simple_service.py", "--stats").stdout)["count"] == 0


def test_observations_are_simulated_between_start_and_stop(
    run: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    assert run("simulate_observations_ctl.py", "--start").returncode == 0
    try:
        assert run("simulate_observations_ctl.py", "--start").returncode == 1
        give_up = time.monotonic() + 30
        while json.loads(run("simple_service.py", "--stats").stdout)["count"] < 2:
            assert time.monotonic() < give_up, "nothing was observed"
            time.sleep(0.1)
    finally:
        assert run("simulate_observations_ctl.py", "--stop").returncode == 0
    assert run("simulate_observations_ctl.py", "--stop").returncode == 1


def test_two_threads_may_hash_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, cache = tmp_path / "image", ImageCache(tmp_path / "cache")
    file.write_bytes(b"an image")
    write_text, others = Path.write_text, list[EngineThread]()

    def written_meanwhile(path: Path, *args: Any, **options: Any) -> int:
        written = write_text(path, *args, **options)
        if not others:
            others.append(EngineThread("other", cache.hash_of, file))
            assert others[0].start().join(20)
        return written

    monkeypatch.setattr(Path, "write_text", written_meanwhile)
    assert cache.hash_of(file) == others[0].result
