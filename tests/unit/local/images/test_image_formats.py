"""Real images, made by hand: what is unpacked from them, and what their settings mean."""

from __future__ import annotations

import json
import os
import platform
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.errors import BadImage
from simple_golem.local.images.built_in.golem_files import GolemFiles
from simple_golem.local.images.formats.gvmi import BadMetadata, read_metadata
from simple_golem.local.images.image_cache import ImageCache, UnpackedImage
from simple_golem.local.images.image_config import ImageConfig
from simple_golem.local.images.image_source import ImageSource, SourceKind, source_at
from tests.helpers.hand_made_images import (
    Folder,
    Link,
    docker_archive,
    gvmi,
    oci_archive,
    squashfs,
    tar,
    zlib_gzip,
)

MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
FILES = {
    "etc/name": b"alpine\n",
    "bin/sh": b"#!" + bytes(300_000) + b"end",
    "bin/ash": Link("sh"),
    "empty": Folder(),
    "nothing": b"",
    "n\udcff": b"not UTF-8\n",
}
CONFIG = {
    "Env": ["PATH=/bin"],
    "WorkingDir": "/golem/work",
    "User": "1000:100",
    "Volumes": {"/golem/output": {}, "/golem/input": {}},
    "Entrypoint": ["/bin/sh"],
    "Cmd": ["-c", "true"],
}
READ = ImageConfig(
    "/golem/work", (1000, 100), ("/golem/input", "/golem/output"), ("/bin/sh", "-c", "true"), ("PATH=/bin",)
)
Unpack = Callable[[bytes], UnpackedImage]


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """Unpacks the bytes of an image to a cache of the test."""
    cache = ImageCache(tmp_path / "cache")

    def unpack(content: bytes) -> UnpackedImage:
        (tmp_path / "image").write_bytes(content)
        return source_at(tmp_path / "image").unpacked(cache)

    return unpack


def contents(root: Path) -> dict[str, bytes | str | None]:
    """The files of a root, without those that every root gets."""
    found: dict[str, bytes | str | None] = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            if path.is_symlink():
                found[str(path.relative_to(root))] = os.readlink(path)
            elif path.is_file():
                found[str(path.relative_to(root))] = path.read_bytes()
    added = {"etc/hosts": b"", "etc/resolv.conf": b""}
    return {name: content for name, content in found.items() if added.get(name) != content}


def modes(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode)
        for path in root.rglob("*")
        if not path.is_symlink()
    }


EXPECTED = {
    "etc/name": b"alpine\n",
    "bin/sh": FILES["bin/sh"],
    "bin/ash": "sh",
    "nothing": b"",
    "n\udcff": b"not UTF-8\n",
}


def test_a_golem_image_is_unpacked_with_its_settings(unpack: Unpack) -> None:
    image = unpack(gvmi(squashfs(FILES), CONFIG))
    assert contents(image.roots[0]) == EXPECTED
    assert image.config == READ
    assert (image.roots[0] / "empty").is_dir()
    assert (image.roots[0] / "golem" / "input").is_dir()
    assert os.stat(image.roots[0] / "etc" / "name").st_mtime == 1_000_000_000


def test_a_folder_with_many_files_and_a_deep_one_are_unpacked(unpack: Unpack) -> None:
    many = {f"many/{number:04}": str(number).encode() for number in range(2000)}
    deep = {"/".join("abcdefghij") + "/file": b"deep"}
    assert contents(unpack(squashfs({**many, **deep})).roots[0]) == {**many, **deep}


@pytest.mark.skipif(shutil.which("mksquashfs") is None, reason="apt install squashfs-tools")
@pytest.mark.parametrize("compression", ["gzip", "lzo", "xz", "lz4"])
def test_what_mksquashfs_packs_is_unpacked(unpack: Unpack, tmp_path: Path, compression: str) -> None:
    folder = tmp_path / "files"
    (folder / "bin").mkdir(parents=True)
    for number in range(300):
        (folder / "bin" / f"small-{number}").write_text(f"{number}\n" * 10)
    (folder / "bin" / "large").write_bytes(os.urandom(300_000) + bytes(300_000))
    (folder / "bin" / "link").symlink_to("large")
    os.link(folder / "bin" / "large", folder / "other-name")
    with open(folder / "hole", "wb") as hole:
        hole.truncate(1_000_000)
    packed = tmp_path / "packed"
    subprocess.run(["mksquashfs", folder, packed, "-comp", compression, "-quiet", "-no-progress"], check=True)
    image = unpack(packed.read_bytes())
    assert contents(image.roots[0]) == contents(folder)
    assert os.stat(image.roots[0] / "other-name").st_ino == os.stat(image.roots[0] / "bin" / "large").st_ino


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (squashfs(FILES), "invalid digit found in string"),
        (b"", r"Invalid argument \(os error 22\)"),
        (b"\xff" * 100, "invalid utf-8 sequence of 1 bytes from index 0"),
        (gvmi(squashfs(FILES), CONFIG, crc=1), "Invalid ContainerConfig crc32 sum"),
        (b"hsqs" + b"00009999", r"Invalid argument \(os error 22\)"),
        (gvmi(b"", {"WorkingDir": 1}), "invalid type for WorkingDir: 1"),
    ],
)
def test_settings_that_are_missing_or_damaged_have_the_real_error(
    tmp_path: Path, damaged: bytes, message: str
) -> None:
    (tmp_path / "image.gvmi").write_bytes(damaged)
    with open(tmp_path / "image.gvmi", "rb") as file, pytest.raises(BadMetadata, match=f"^{message}"):
        read_metadata(file)


@pytest.mark.parametrize("user", ["1000", "node", "", "node:node", "1000:node", f"{2**32}:0"])
def test_a_user_that_is_not_two_numbers_is_root(user: str) -> None:
    assert ImageConfig.of({"User": user}).user == (0, 0)


def test_an_image_without_settings_starts_at_its_root() -> None:
    assert ImageConfig.of({"WorkingDir": " ", "Volumes": None}) == ImageConfig()


def test_a_later_layer_adds_changes_and_removes(unpack: Unpack) -> None:
    first = {"bin/sh": b"old", "bin/gone": b"gone", "etc/a": b"a", "etc/b": b"b", "usr/lib/x": b"x"}
    second = {
        "bin/sh": b"new",
        "bin/.wh.gone": b"",
        "etc/c": b"c",
        "etc/.wh..wh..opq": b"",
        "lib": Link("usr/lib"),
    }
    third = {"lib/y": b"y"}
    image = unpack(docker_archive([tar(first), tar(second), zlib_gzip(tar(third))], CONFIG))
    assert contents(image.roots[0]) == {
        "bin/sh": b"new",
        "etc/c": b"c",
        "lib": "usr/lib",
        "usr/lib/x": b"x",
        "usr/lib/y": b"y",
    }
    assert image.config == READ


def test_an_archive_of_the_open_container_initiative_is_unpacked(unpack: Unpack) -> None:
    image = unpack(oci_archive([tar(FILES)], CONFIG, MACHINE))
    assert contents(image.roots[0]) == EXPECTED
    assert image.config == READ


def test_an_image_for_other_machines_is_refused(unpack: Unpack) -> None:
    with pytest.raises(BadImage, match=f"no image for a {MACHINE} machine"):
        unpack(oci_archive([tar(FILES)], CONFIG, "s390x"))
    with pytest.raises(BadImage, match="an image for a s390x machine"):
        unpack(docker_archive([tar(FILES)], CONFIG, architecture="s390x"))


def test_a_plain_archive_is_a_root_without_settings(unpack: Unpack) -> None:
    image = unpack(zlib_gzip(tar(FILES)))
    assert contents(image.roots[0]) == EXPECTED
    assert image.config == ImageConfig()


def test_a_folder_with_a_shell_is_a_root_and_another_one_is_for_golem(tmp_path: Path) -> None:
    (tmp_path / "root" / "bin").mkdir(parents=True)
    (tmp_path / "root" / "bin" / "sh").symlink_to("busybox")
    cache = ImageCache(tmp_path / "cache")
    source = source_at(tmp_path / "root")
    assert isinstance(source, ImageSource)
    assert source.kind is SourceKind.ROOT
    assert contents(source.unpacked(cache).roots[0]) == {"bin/sh": "busybox"}
    (tmp_path / "root" / "etc").mkdir()
    (tmp_path / "root" / "etc" / "new").write_text("new")
    assert contents(source.unpacked(cache).roots[0]) == {"bin/sh": "busybox", "etc/new": b"new"}
    (tmp_path / "files" / "run").mkdir(parents=True)
    assert isinstance(source_at(tmp_path / "files"), GolemFiles)


def test_an_archive_without_a_shell_is_for_golem_as_the_same_folder_is(tmp_path: Path) -> None:
    folder, archive = tmp_path / "files", tmp_path / "files.tar"
    (folder / "sub").mkdir(parents=True)
    (folder / "serve").write_text("#!/bin/sh\n")
    (folder / "sub" / "text").write_text("text")
    (folder / "sub" / "text").chmod(0o600)
    os.link(folder / "sub" / "text", folder / "same")
    (folder / "link").symlink_to("sub/text")
    for name in ("serve", "sub"):
        (folder / name).chmod(0o700 if name == "sub" else 0o600)
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, ".")
    cache = ImageCache(tmp_path / "cache")
    of_folder, of_archive = (source_at(path) for path in (folder, archive))
    assert isinstance(of_archive, GolemFiles)
    assert of_archive.size == archive.stat().st_size
    first, second = (source.unpacked(cache) for source in (of_folder, of_archive))
    assert contents(first.roots[0]) == contents(second.roots[0])
    assert (second.roots[0] / "golem" / "sub" / "text").read_text() == "text"
    assert modes(first.roots[0]) == modes(second.roots[0])
    assert first.roots[1:] == second.roots[1:]
    assert first.config == second.config


@pytest.mark.parametrize("name", ["bin/sh", "usr/bin/env"])
def test_an_archive_with_a_shell_or_programs_is_a_root(tmp_path: Path, name: str) -> None:
    (tmp_path / "root.tar").write_bytes(tar({name: b"#!"}))
    assert isinstance(source_at(tmp_path / "root.tar"), ImageSource)


def test_a_damaged_archive_is_refused_when_its_kind_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(zlib_gzip(tar({"golem/text": bytes(range(256)) * 400}))[:-300])
    with pytest.raises(BadImage, match="the archive is damaged"):
        source_at(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("content", [b"", b"just text" * 100])
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(BadImage, match=r"neither a \.gvmi, nor a tar archive, nor a folder"):
        source_at(tmp_path / "text")


def test_an_image_is_unpacked_once_and_its_hash_computed_once(tmp_path: Path) -> None:
    path = tmp_path / "image.gvmi"
    path.write_bytes(gvmi(squashfs(FILES), CONFIG))
    cache = ImageCache(tmp_path / "cache")
    source = source_at(path)
    first = source.unpacked(cache)
    (first.roots[0] / "mark").touch()
    known = os.stat(path)
    assert (source.unpacked(cache).roots[0] / "mark").exists()
    path.write_bytes(bytes(known.st_size))
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert source.unpacked(ImageCache(tmp_path / "cache")).roots == first.roots
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns + 1))
    with pytest.raises(BadImage, match="no squashfs"):
        source.unpacked(cache)


def test_an_image_that_nobody_has_asked_for_in_a_month_is_removed_when_another_one_comes(
    tmp_path: Path,
) -> None:
    cache = ImageCache(tmp_path / "cache")

    def unpacked(name: str) -> Path:
        return cache.unpacked(name, lambda writer: ImageConfig()).roots[0]

    old, young = unpacked("old"), unpacked("young")
    long_ago = time.time() - 31 * 86400
    os.utime(old.parent, (long_ago, long_ago))
    unpacked("third")
    assert not old.exists()
    assert young.exists()
    os.utime(young.parent, (long_ago, long_ago))
    assert unpacked("young") == young
    unpacked("fourth")
    assert young.exists()


@pytest.mark.parametrize(
    "image", [gvmi(squashfs(FILES), CONFIG), tar(FILES)], ids=["a squashfs", "an archive"]
)
def test_an_unpacking_that_is_broken_off_leaves_nothing(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "image").write_bytes(image)
    scope = Scope()
    cache = ImageCache(tmp_path / "cache", scope.check)
    scope.cancel("the owner has ended")
    with pytest.raises(ScopeEnded):
        source_at(tmp_path / "image").unpacked(cache)
    assert [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()] == []


def test_what_can_not_be_unpacked_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "image.gvmi"
    path.write_bytes(gvmi(squashfs(FILES), CONFIG)[:200])
    with pytest.raises(BadImage, match="damaged"):
        source_at(path).unpacked(ImageCache(tmp_path / "cache"))
    assert [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()] == []


def test_modes_are_kept_without_the_rights_of_owners(unpack: Unpack) -> None:
    image = unpack(tar({"private": Folder(0o700), "bin/sh": b"", "bin/su": b"su"}, mode=0o6711))
    assert stat.S_IMODE(os.stat(image.roots[0] / "bin" / "su").st_mode) == 0o711 | 0o400
    assert stat.S_IMODE(os.stat(image.roots[0] / "private").st_mode) == 0o700


def test_settings_are_kept_in_the_cache(unpack: Unpack) -> None:
    image = unpack(docker_archive([tar(FILES)], CONFIG))
    assert ImageConfig.of(json.loads((image.roots[0].parent / "config.json").read_text())) == READ
