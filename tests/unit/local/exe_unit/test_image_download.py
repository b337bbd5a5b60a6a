"""The image of a demand: its URL must be reachable for the provider, and its hash must fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.local.exe_unit.image_download import NoImage, image_of
from simple_golem.local.images.image_cache import ImageCache
from simple_golem.local.images.image_registry import Registry
from simple_golem.local.images.image_store import BUILT_IN, ImageStore
from simple_golem.local.transfer.web_files import Web
from tests.helpers.hand_made_images import gvmi, squashfs, tar

ALPINE = BUILT_IN[0].hash
IMAGE = gvmi(squashfs({"bin/sh": b"shell"}), {})
HASH = hashlib.sha3_224(IMAGE).hexdigest()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Registry]:
    """A web server with an image that the registry does not have."""
    (tmp_path / "image.gvmi").write_bytes(IMAGE)
    (tmp_path / "no-image.tar").write_bytes(tar({"x": b"x"}) + b"more")
    options = [f"me/elsewhere:1={tmp_path / 'image.gvmi'}"]
    server = Registry(ImageStore.with_options(options, ImageCache(tmp_path / "elsewhere")))
    yield server
    server.close()


@pytest.fixture
def images(tmp_path: Path) -> Iterator[ImageStore]:
    """The images of a registry."""
    images = ImageStore(cache=ImageCache(tmp_path / "cache"))
    registry = Registry(images)
    yield images
    registry.close()


@pytest.fixture
def web(elsewhere: Registry) -> Web:
    web = Web()
    web.allow(elsewhere.url)
    return web


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_image_of_the_registry_is_not_downloaded(images: ImageStore, scheme: str) -> None:
    served_at = str(images.served_at).replace("http", scheme)
    url = f"{served_at}/v1/image/download?hash={ALPINE}"
    assert image_of(f"hash:sha3:{ALPINE}:{url}", images, Web(), Scope()) == BUILT_IN[0]


def test_an_image_that_the_registry_does_not_have_is_told_with_the_option(images: ImageStore) -> None:
    with pytest.raises(NoImage, match=f"no image {HASH} here.*--image {HASH}=PATH"):
        image_of(f"hash:sha3:{HASH}:{images.served_at}/v1/image/download?hash={HASH}", images, Web(), Scope())


def test_an_image_at_a_url_is_downloaded_once_and_can_be_unpacked(
    images: ImageStore, web: Web, elsewhere: Registry
) -> None:
    url = f"{elsewhere.url}/v1/image/download?hash={HASH}"
    image = image_of(f"hash:sha3:{HASH.upper()}:{url}", images, web, Scope())
    assert (image.hash, image.tag) == (HASH, None)
    assert (images.unpacked(image.source).roots[0] / "bin" / "sh").read_bytes() == b"shell"
    assert images.lookup(hash=HASH) == image
    assert [path.name for path in images.downloads.iterdir()] == [HASH]


def test_a_wrong_hash_has_the_real_error(images: ImageStore, web: Web, elsewhere: Registry) -> None:
    url = f"{elsewhere.url}/v1/image/download?hash={HASH}"
    with pytest.raises(NoImage) as failed:
        image_of(f"hash:sha3:{ALPINE}:{url}", images, web, Scope())
    assert str(failed.value) == (
        "Incorrect hash provided or downloaded image is corrupted: "
        f"calculated hash {HASH} differs from the expected one {ALPINE}"
    )
    assert list(images.downloads.iterdir()) == []


def test_the_page_of_an_error_has_the_wrong_hash(images: ImageStore, web: Web, elsewhere: Registry) -> None:
    with pytest.raises(NoImage, match="Incorrect hash provided"):
        image_of(f"hash:sha3:{ALPINE}:{elsewhere.url}/none", images, web, Scope())


def test_a_url_that_the_provider_does_not_reach_is_an_error_though_the_hash_is_known(
    images: ImageStore, elsewhere: Registry
) -> None:
    with pytest.raises(NoImage, match="ConnectionRefused"):
        image_of(f"hash:sha3:{ALPINE}:{elsewhere.url}/image", images, Web(), Scope())


def test_a_download_that_is_no_image_is_refused(images: ImageStore, web: Web, elsewhere: Registry) -> None:
    url = f"{elsewhere.url}/v1/image/info?tag=golem/alpine:latest"
    with pytest.raises(NoImage) as failed:
        image_of(f"hash:sha3:{ALPINE}:{url}", images, web, Scope())
    found = str(failed.value).partition("calculated hash ")[2].partition(" ")[0]
    with pytest.raises(NoImage, match="is no image"):
        image_of(f"hash:sha3:{found}:{url}", images, web, Scope())


@pytest.mark.parametrize("package", ["http://127.0.0.1/image", "hash:sha3:xyz:http://127.0.0.1/image", ""])
def test_a_package_without_a_hash_is_refused(images: ImageStore, package: str) -> None:
    with pytest.raises(NoImage, match="hash required"):
        image_of(package, images, Web(), Scope())
