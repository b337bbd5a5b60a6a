"""The registry of a local network: the questions that a payload asks of Golem's own."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from simple_golem.local.images.image_registry import Registry
from simple_golem.local.images.image_store import BUILT_IN, ImageStore
from tests.helpers.hand_made_images import tar

ALPINE = BUILT_IN[0]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "ten-bytes").write_text("0123456789")
    (tmp_path / "image.tar").write_bytes(tar({"bin/sh": b"shell"}))
    options = [f"mine:1={tmp_path / 'files'}", f"mine:2={tmp_path / 'image.tar'}"]
    registry = Registry(ImageStore.with_options(options))
    yield registry
    registry.close()


def ask(registry: Registry, path: str = "/v1/image/info", **query: str) -> requests.Response:
    return requests.get(registry.url + path, params=query, timeout=5)


@pytest.mark.parametrize("query", [{"tag": ALPINE.tag}, {"hash": ALPINE.hash}])
def test_an_image_is_found_by_tag_and_by_hash(registry: Registry, query: dict[str, str]) -> None:
    answer = ask(registry, count="true", **query)
    assert answer.status_code == 200
    found = answer.json()
    assert found["sha3"] == ALPINE.hash
    assert found["tag"] == ALPINE.tag
    assert found["http"].startswith("http://127.0.0.1:")
    assert found["https"].startswith("https://127.0.0.1:")


def test_an_image_of_an_option_has_the_size_of_its_folder(registry: Registry) -> None:
    assert ask(registry, tag="mine:1").json()["size"] == 10


def test_an_unknown_image_is_answered_with_those_that_are_here_and_with_the_option(
    registry: Registry,
) -> None:
    answer = ask(registry, tag="nobody/has:it")
    assert answer.status_code == 404
    message = answer.json()["message"]
    assert "golem/alpine:latest" in message
    assert "mine:1" in message
    assert "--image nobody/has:it=PATH" in message


@pytest.mark.parametrize("query", [{}, {"tag": "a", "hash": "b"}])
def test_neither_or_both_of_tag_and_hash_is_a_bad_question(registry: Registry, query: dict[str, str]) -> None:
    assert ask(registry, **query).status_code == 400


def test_the_file_of_an_image_is_served_with_its_size(registry: Registry, tmp_path: Path) -> None:
    url = ask(registry, tag="mine:2").json()["http"]
    assert (head := requests.head(url, timeout=5)).status_code == 200
    content = (tmp_path / "image.tar").read_bytes()
    assert head.headers["Content-Length"] == str(len(content))
    assert head.content == b""
    assert requests.get(url, timeout=5).content == content


@pytest.mark.parametrize("tag", ["golem/simple-service:latest", "mine:1"])
def test_an_image_without_a_file_is_served_as_an_archive_of_its_root(registry: Registry, tag: str) -> None:
    url = ask(registry, tag=tag).json()["http"]
    length = requests.head(url, timeout=30).headers["Content-Length"]
    content = requests.get(url, timeout=30).content
    assert length == str(len(content))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
    assert {"./bin/sh", "./usr/local/bin/python3"} <= set(names)
    assert ("./golem/ten-bytes" in names) == (tag == "mine:1")


def test_the_file_of_an_unknown_image_is_not_found(registry: Registry) -> None:
    answer = ask(registry, "/v1/image/download", hash="ab" * 28)
    assert answer.status_code == 404
    assert "no image abab" in answer.json()["message"]


def test_other_methods_are_refused(registry: Registry) -> None:
    assert requests.post(f"{registry.url}/v1/image/info", timeout=5).status_code == 405


def test_other_pages_are_not_found(registry: Registry) -> None:
    assert ask(registry, "/v1/image/list").status_code == 404


def test_a_closed_registry_does_not_listen() -> None:
    registry = Registry(ImageStore())
    registry.close()
    with pytest.raises(requests.ConnectionError):
        ask(registry, tag="golem/alpine:latest")


def test_a_requestor_can_look_whether_the_file_of_an_image_is_there(registry: Registry) -> None:
    there = ask(registry, hash=ALPINE.hash).json()["http"]
    answer = requests.head(there, timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")
    assert requests.head(there.replace(ALPINE.hash, "0" * 56), timeout=5).status_code == 404
