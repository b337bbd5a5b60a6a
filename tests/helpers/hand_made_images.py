"""Images made by hand: a squashfs without any tool, archives with layers, and a root with a shell."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# A file's content, or an entry of another kind. Paths have no slash in front.
Files = Mapping[str, "bytes | Link | Folder | Device"]

BLOCK_SIZE = 131072
FOLDER, FILE, LINK, CHARACTER_DEVICE = 1, 2, 3, 5


class Link(str):
    """A symbolic link, and where it leads."""


class Folder:
    """A folder; those on the way to a file need not be named."""

    def __init__(self, mode: int = 0o755) -> None:
        self.mode = mode


class Device:
    """A device file, which no image may bring along."""


def shell_root(
    folder: Path, programs: Iterable[str] = ("sh", "cat", "ls", "id", "env", "touch", "rm")
) -> Path:
    """Fill a folder with this machine's programs of some names, and the libraries that they need."""
    for name in programs:
        program = Path("/bin", name)
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        copies = {word: word for word in listed.split() if word.startswith("/")} | {
            str(program): f"/bin/{name}"
        }
        for source, target in copies.items():
            place = Path(f"{folder}{target}")
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(Path(source).read_bytes())
                place.chmod(0o755)
    return folder


def files_of(folder: Path) -> dict[str, bytes | Link | Folder | Device]:
    """What a folder has, for the functions below."""
    found: dict[str, bytes | Link | Folder | Device] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = Link(os.readlink(path))
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def tar(files: Files, *, mode: int = 0o755) -> bytes:
    """A tar archive, which has the files in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = mode
            if isinstance(content, Link):
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
            elif isinstance(content, Folder):
                member.type, member.mode = tarfile.DIRTYPE, content.mode
            elif isinstance(content, Device):
                member.type = tarfile.CHRTYPE
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content if isinstance(content, bytes) else b""))
    return out.getvalue()


def docker_archive(layers: Sequence[bytes], config: Mapping[str, Any], **settings: Any) -> bytes:
    """What `docker save` writes."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": names}]
    files: dict[str, Any] = dict(zip(names, layers, strict=True))
    files["config.json"] = json.dumps({"config": config, **settings}).encode()
    return tar(files | {"manifest.json": json.dumps(manifest).encode()})


def oci_archive(layers: Sequence[bytes], config: Mapping[str, Any], architecture: str) -> bytes:
    """An archive of the Open Container Initiative, with a nested index and an attestation."""
    blobs: dict[str, Any] = {}

    def blob(content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}", "size": len(content)}

    def document(value: Any) -> dict[str, Any]:
        return blob(json.dumps(value).encode())

    image = document(
        {"config": document({"config": config}), "layers": [blob(zlib_gzip(layer)) for layer in layers]}
    )
    other = document({"layers": [], "config": document({})})
    nested = document(
        {
            "manifests": [
                {**other, "platform": {"architecture": "unknown", "os": "unknown"}},
                {**image, "platform": {"architecture": architecture, "os": "linux"}},
            ]
        }
    )
    return tar(blobs | {"index.json": json.dumps({"manifests": [nested]}).encode()})


def zlib_gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


def gvmi(squashfs: bytes, config: Mapping[str, Any] | None, *, crc: int | None = None) -> bytes:
    """An image of Golem: a squashfs, and its settings behind it."""
    if config is None:
        return squashfs
    text = json.dumps(config).encode()
    return squashfs + struct.pack("<I", zlib.crc32(text) if crc is None else crc) + text + b"%08d" % len(text)


def squashfs(files: Files, *, mode: int = 0o755) -> bytes:
    """A squashfs 4.0 whose files are compressed by zlib, and whose tables are not."""
    return _Squashfs(mode).made(files)


class _Squashfs:
    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.data = bytearray(96)
        self.inodes = bytearray()
        self.folders = bytearray()
        self.count = 0

    def made(self, files: Files) -> bytes:
        tree: dict[str, Any] = {}
        for path, content in files.items():
            *folders, name = path.split("/")
            place = tree
            for folder in folders:
                place = place.setdefault(folder, {})
            place[name] = {} if isinstance(content, Folder) else content
        root = self._folder(tree)
        starts = []
        for table in (self.inodes, self.folders):
            starts.append(len(self.data))
            self.data += _metadata(bytes(table))
        ids = len(self.data)
        self.data += _metadata(struct.pack("<I", 0))
        id_table = len(self.data)
        self.data += struct.pack("<Q", ids)
        none = 0xFFFFFFFFFFFFFFFF
        head = (b"hsqs", self.count, 0, BLOCK_SIZE, 0, 1, 17, 0, 1, 4, 0, _reference(root), len(self.data))
        self.data[:96] = struct.pack(
            "<4sIIIIHHHHHHQQQQQQQQ", *head, id_table, none, starts[0], starts[1], none, none
        )
        return bytes(self.data) + bytes(-len(self.data) % 4096)

    def _inode(self, kind: int, rest: bytes) -> int:
        self.count += 1
        place = len(self.inodes)
        self.inodes += struct.pack("<HHHHII", kind, self.mode, 0, 0, 1_000_000_000, self.count) + rest
        return place

    def _folder(self, tree: Mapping[str, Any]) -> int:
        children = [(name, *self._child(content)) for name, content in sorted(tree.items())]
        listing = b""
        for name, place, kind in children:
            encoded = os.fsencode(name)
            block, offset = _position(place)
            # A header for each entry: allowed, and simple.
            listing += struct.pack("<III", 0, block, 1)
            listing += struct.pack("<HhHH", offset, 0, kind, len(encoded) - 1) + encoded
        block, offset = _position(len(self.folders))
        self.folders += listing
        return self._inode(FOLDER, struct.pack("<IIHHI", block, 2, len(listing) + 3, offset, 1))

    def _child(self, content: Any) -> tuple[int, int]:
        if isinstance(content, Link):
            target = os.fsencode(str(content))
            return self._inode(LINK, struct.pack("<II", 1, len(target)) + target), LINK
        if isinstance(content, Device):
            return self._inode(CHARACTER_DEVICE, struct.pack("<II", 1, 0x105)), CHARACTER_DEVICE
        if isinstance(content, Mapping):
            return self._folder(content), FOLDER
        start, words = len(self.data), []
        for begin in range(0, len(content), BLOCK_SIZE):
            block = zlib.compress(content[begin : begin + BLOCK_SIZE])
            words.append(len(block))
            self.data += block
        rest = struct.pack("<IIII", start, 0xFFFFFFFF, 0, len(content)) + struct.pack(
            f"<{len(words)}I", *words
        )
        return self._inode(FILE, rest), FILE


def _metadata(table: bytes) -> bytes:
    """A table in blocks that are not compressed."""
    pieces = [table[begin : begin + 8192] for begin in range(0, len(table), 8192)]
    return b"".join(struct.pack("<H", 0x8000 | len(piece)) + piece for piece in pieces)


def _position(place: int) -> tuple[int, int]:
    """Where a byte of a table is: the begin of its block, and its place in it."""
    return place // 8192 * 8194, place % 8192


def _reference(place: int) -> int:
    block, offset = _position(place)
    return block << 16 | offset
