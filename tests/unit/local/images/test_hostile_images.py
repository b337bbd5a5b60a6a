"""Images that mean harm: nothing outside their root is written, read or made."""

from __future__ import annotations

import io
import os
import random
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from simple_golem.errors import BadImage, LocalNetworkError
from simple_golem.local.images.formats.archive import unpack_archive
from simple_golem.local.images.formats.squashfs import unpack_squashfs
from simple_golem.local.images.root_writer import Limits, RootWriter
from simple_golem.local.sandbox.sandbox import Sandbox
from tests.helpers.hand_made_images import (
    BLOCK_SIZE,
    Device,
    Files,
    Folder,
    Link,
    docker_archive,
    files_of,
    shell_root,
    squashfs,
    tar,
)

Unpack = Callable[..., Path]


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """Unpacks layers, or the bytes of a squashfs, beside a file that belongs to somebody else."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")

    def unpack(*layers: bytes, limits: Limits | None = None) -> Path:
        writer = RootWriter(tmp_path / "root", limits)
        if layers[0].startswith(b"hsqs"):
            unpack_squashfs(io.BytesIO(layers[0]), writer)
        else:
            (tmp_path / "image.tar").write_bytes(docker_archive(layers, {}))
            unpack_archive(str(tmp_path / "image.tar"), writer)
        writer.finish()
        return tmp_path / "root"

    return unpack


@pytest.fixture(autouse=True)
def nothing_outside_is_changed(tmp_path: Path) -> Iterator[None]:
    """Proves after each test that the neighbour of the root is as it was."""
    yield
    if (tmp_path / "outside").exists():
        assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]
        assert (tmp_path / "outside" / "secret").read_text() == "secret"
        assert os.stat(tmp_path / "outside" / "secret").st_nlink == 1


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A layer with a shell."""
    return tar(files_of(shell_root(tmp_path_factory.mktemp("shell"), ["sh", "ls"])))


def hard_link(name: str, target: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.LNKTYPE, target
        archive.addfile(member)
    return out.getvalue()


@pytest.mark.parametrize(
    "layers",
    [
        [{"../outside/secret": b"changed"}],
        [{"a/../../outside/secret": b"changed"}],
        [{"../outside/.wh.secret": b""}],
        [{"..": Folder(0o777)}],
        [{"a/.wh...": b""}],
        [{".wh..": b""}],
    ],
)
def test_a_path_that_leaves_the_root_is_refused(unpack: Unpack, layers: list[Files]) -> None:
    with pytest.raises(BadImage, match="which no image may have"):
        unpack(*[tar(layer) for layer in layers])


@pytest.mark.parametrize("target", ["../outside", "{outside}", "../../../../../../../..{outside}", "."])
@pytest.mark.parametrize("below", ["secret", ".wh.secret", ".wh..wh..opq", "new/file"])
def test_a_link_out_of_the_root_leads_nowhere(
    unpack: Unpack, tmp_path: Path, target: str, below: str
) -> None:
    target = target.format(outside=tmp_path / "outside")
    root = unpack(tar({"way": Link(target)}), tar({f"way/{below}": b"changed"}))
    assert os.readlink(root / "way") == target


def test_an_absolute_path_is_below_the_root(unpack: Unpack, tmp_path: Path) -> None:
    path = str(tmp_path / "outside" / "secret")
    assert (Path(str(unpack(tar({path: b"changed"}))) + path)).read_bytes() == b"changed"


@pytest.mark.parametrize("target", ["../outside/secret", "{outside}/secret", "/etc/passwd", "dev/null"])
def test_a_further_name_for_a_file_outside_is_refused(unpack: Unpack, tmp_path: Path, target: str) -> None:
    with pytest.raises(BadImage):
        unpack(hard_link("mine", target.format(outside=tmp_path / "outside")))


def test_a_further_name_of_a_link_is_a_link(unpack: Unpack, tmp_path: Path) -> None:
    outside = Link(str(tmp_path / "outside" / "secret"))
    root = unpack(tar({"link": outside}), hard_link("other", "link"), tar({"other": b"changed"}))
    assert (root / "other").read_bytes() == b"changed"


def test_a_file_in_place_of_a_link_does_not_change_where_it_led(unpack: Unpack, tmp_path: Path) -> None:
    outside = Link(str(tmp_path / "outside" / "secret"))
    root = unpack(tar({"link": outside}), tar({"link": b"mine"}))
    assert (root / "link").read_bytes() == b"mine"


def test_links_without_an_end_are_refused(unpack: Unpack) -> None:
    with pytest.raises(BadImage, match="have no end"):
        unpack(tar({"a": Link("b"), "b": Link("a"), "a/file": b""}))


@pytest.mark.parametrize("pack", [tar, squashfs])
def test_devices_are_left_out_and_no_program_has_the_rights_of_its_owner(
    unpack: Unpack, pack: Callable[..., bytes]
) -> None:
    root = unpack(pack({"dev/sda": Device(), "bin/su": b"su", "here": b""}, mode=0o6755))
    assert os.listdir(root / "dev") == []
    modes = [os.lstat(path).st_mode for path in root.rglob("*")]
    assert [mode for mode in modes if mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert {stat.S_IFMT(mode) for mode in modes} == {stat.S_IFREG, stat.S_IFDIR}


def test_a_bomb_stops_at_its_limit_and_costs_little_room(unpack: Unpack, tmp_path: Path) -> None:
    zeros = bytes(64 << 20)
    with pytest.raises(BadImage, match="more than 32 MiB"):
        unpack(squashfs({"zeros": zeros}), limits=Limits(content=32 << 20))
    used = sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())
    assert used < 1 << 20


def test_a_block_that_grows_beyond_its_size_is_cut(unpack: Unpack) -> None:
    packed = squashfs({"file": os.urandom(100_000)})
    block = zlib.compress(bytes(100 * BLOCK_SIZE), 9)
    root = unpack(packed[:96] + block + packed[96 + len(block) :])
    assert (root / "file").stat().st_size == 100_000


def test_too_many_files_and_too_deep_folders_are_refused(unpack: Unpack, tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="more than 10 files"):
        unpack(tar({f"{number}": b"" for number in range(20)}), limits=Limits(entries=10))
    (tmp_path / "root").rename(tmp_path / "first")
    with pytest.raises(BadImage, match="which no image may have"):
        unpack(tar({"/".join("d" * 200): b""}))


def test_a_folder_that_contains_itself_is_refused(unpack: Unpack) -> None:
    packed = bytearray(squashfs({"a/b": b"x"}))
    # Both folders get the listing of the root, which names the folder `a`.
    inodes = int.from_bytes(packed[64:72], "little") + 2
    place, folders = inodes, []
    while len(folders) < 2:
        is_folder = int.from_bytes(packed[place : place + 2], "little") == 1
        if is_folder:
            folders.append(place)
        place += 32 if is_folder else 36
    inner, root = folders
    packed[inner + 16 : inner + 32] = packed[root + 16 : root + 32]
    with pytest.raises(BadImage, match="a folder contains itself"):
        unpack(bytes(packed))


def test_a_damaged_squashfs_is_an_error_and_nothing_else(unpack: Unpack, tmp_path: Path) -> None:
    whole = squashfs({f"folder/{number}": os.urandom(100) for number in range(50)})
    chance = random.Random(7)
    for number in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
        try:
            unpack(bytes(damaged[: chance.choice([len(damaged), chance.randrange(96, len(damaged))])]))
        except BadImage:
            pass
        if (tmp_path / "root").exists():
            (tmp_path / "root").rename(tmp_path / f"root-{number}")


@pytest.mark.parametrize("folder", ["tmp", "etc", "dev", "proc", "golem", "run"])
@pytest.mark.parametrize("overlay", [True, False])
def test_links_in_place_of_folders_do_not_let_the_root_be_built_outside(
    unpack: Unpack, tmp_path: Path, shell: bytes, folder: str, overlay: bool
) -> None:
    root = unpack(shell, tar({folder: Link(str(tmp_path / "outside"))}))
    seen = bytearray()
    with (
        suppress(LocalNetworkError),
        Sandbox([root], volumes=["/golem/work"], overlay=overlay) as sandbox,
    ):
        sandbox.popen(["/bin/sh", "-c", f"ls {tmp_path}/outside"], {}).wait(seen.extend, print)
    assert b"secret" not in seen
