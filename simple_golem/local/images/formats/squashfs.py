"""Reads a squashfs 4.0: unpacking is all we need, and it needs no mount and no rights.

It is our own code: the readers on PyPI have a licence that is not ours, fail on names that are not UTF-8, or
need a compiler for the compression that most images have.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ....background.cancellation import ScopeEnded
from ....errors import BadImage
from ..root_writer import RootWriter
from .decompression import decompression

MAGIC = b"hsqs"

_SUPERBLOCK = struct.Struct("<4sIIIIHHHHHHQQQQQQQQ")
_HEADER = struct.Struct("<HHHHII")
_METADATA_BYTES = 8192
_STORED_METADATA, _STORED_BLOCK = 0x8000, 1 << 24
_NO_FRAGMENT = 0xFFFFFFFF
_NO_XATTRS = 0xFFFFFFFF
_FOLDER, _FILE, _LINK, _LONG_FOLDER, _LONG_FILE, _LONG_LINK = 1, 2, 3, 8, 9, 10
_MOST_TARGET_BYTES = 65536
_MOST_DEPTH = 100


@dataclass(frozen=True, slots=True)
class _Folder:
    mode: int
    block: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class _File:
    mode: int
    modified: int
    number: int
    names: int
    start: int
    size: int
    fragment: int
    offset: int
    blocks: tuple[int, ...]


def unpack_squashfs(file: BinaryIO, writer: RootWriter) -> None:
    """Unpack all files and folders.

    Raises:
        BadImage: the file is not a squashfs, or is damaged.
    """
    try:
        Squashfs(file).unpack(writer)
    except (BadImage, ScopeEnded):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadImage(f"the squashfs is damaged: {error!r}") from error


class Squashfs:
    """A squashfs in an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        fields = _SUPERBLOCK.unpack(self._read(0, _SUPERBLOCK.size))
        magic, _, _, self._block_size, self._fragments, kind, block_log, _, _, major, minor = fields[:11]
        if (magic, major, minor) != (MAGIC, 4, 0):
            raise BadImage("this is no squashfs of version 4.0")
        if self._block_size != 1 << block_log or not 4096 <= self._block_size <= 1 << 20:
            raise BadImage("the squashfs is damaged: its block size is wrong")
        (self._root, self._end, _, _, self._inodes, self._folders, self._fragment_table, _) = fields[11:]
        self._decompress = decompression(kind)
        self._metadata: dict[int, tuple[bytes, int]] = {}
        self._last_fragment: tuple[int, bytes] = (-1, b"")
        self._known: dict[int, str] = {}
        self._entered: set[tuple[int, int]] = set()

    def unpack(self, writer: RootWriter) -> None:
        root = self._inode(self._root >> 16, self._root & 0xFFFF)
        if not isinstance(root, _Folder):
            raise BadImage("the squashfs is damaged: its root is no folder")
        self._unpack_folder(root, "", writer)

    def _unpack_folder(self, folder: _Folder, path: str, writer: RootWriter) -> None:
        writer.folder(path, folder.mode)
        if folder.size <= 3:
            return
        if (folder.block, folder.offset) in self._entered or path.count("/") > _MOST_DEPTH:
            raise BadImage("the squashfs is damaged: a folder contains itself")
        self._entered.add((folder.block, folder.offset))
        for name, block, offset in self._listing(folder):
            self._unpack_entry(self._inode(block, offset), f"{path}/{name}", writer)

    def _unpack_entry(self, inode: _Folder | _File | str | None, path: str, writer: RootWriter) -> None:
        if isinstance(inode, _Folder):
            self._unpack_folder(inode, path, writer)
        elif isinstance(inode, str):
            writer.link(path, inode)
        elif isinstance(inode, _File):
            if inode.names > 1 and inode.number in self._known:
                writer.hard_link(path, self._known[inode.number])
                return
            writer.file(path, inode.mode, self._content(inode), inode.modified)
            self._known[inode.number] = path

    def _listing(self, folder: _Folder) -> Iterator[tuple[str, int, int]]:
        """The entries of a folder: the name of each, and where its inode is."""
        data = self._metadata_bytes(self._folders, folder.block, folder.offset, folder.size - 3)
        place = 0
        while place < len(data):
            count, block, _ = struct.unpack_from("<III", data, place)
            place += 12
            for _ in range(count + 1):
                offset, _, _, size = struct.unpack_from("<HhHH", data, place)
                place += 8
                name = data[place : place + size + 1]
                place += size + 1
                if len(name) != size + 1 or b"/" in name or name in (b".", b".."):
                    raise BadImage(f"the squashfs has a file with the name {name[:200]!r}")
                yield os.fsdecode(name), block, offset

    def _inode(self, block: int, offset: int) -> _Folder | _File | str | None:
        """Read an inode; a link is its target, and None is a device, a pipe or a socket."""
        place = _Place(self, block, offset)
        kind, mode, _, _, modified, number = place.take(_HEADER)
        if kind == _FOLDER:
            start, _, size, inner, _ = place.take(struct.Struct("<IIHHI"))
            return _Folder(mode, start, inner, size)
        if kind == _LONG_FOLDER:
            _, size, start, _, _, inner, _ = place.take(struct.Struct("<IIIIHHI"))
            return _Folder(mode, start, inner, size)
        if kind in (_LINK, _LONG_LINK):
            _, size = place.take(struct.Struct("<II"))
            if size > _MOST_TARGET_BYTES:
                raise BadImage("the squashfs is damaged: the target of a link is too long")
            return os.fsdecode(place.bytes(size))
        if kind == _FILE:
            start, fragment, inner, size = place.take(struct.Struct("<IIII"))
            names = 1
        elif kind == _LONG_FILE:
            start, size, _, names, fragment, inner, _ = place.take(struct.Struct("<QQQIIII"))
        else:
            return None
        count = size // self._block_size if fragment != _NO_FRAGMENT else -(-size // self._block_size)
        if count > self._end:
            raise BadImage("the squashfs is damaged: a file has too many blocks")
        blocks = place.take(struct.Struct(f"<{count}I"))
        return _File(mode, modified, number, names, start, size, fragment, inner, blocks)

    def _content(self, file: _File) -> Iterator[bytes]:
        start, left = file.start, file.size
        for word in file.blocks:
            size = word & (_STORED_BLOCK - 1)
            piece = self._block(start, word) if size else bytes(min(left, self._block_size))
            yield piece[:left]
            start, left = start + size, left - len(piece)
        if left > 0 and file.fragment != _NO_FRAGMENT:
            tail = self._fragment(file.fragment)[file.offset : file.offset + left]
            yield tail
            left -= len(tail)
        if left > 0:
            raise BadImage("the squashfs is damaged: a file is shorter than it should be")

    def _fragment(self, number: int) -> bytes:
        if number >= self._fragments:
            raise BadImage("the squashfs is damaged: a fragment is missing")
        if self._last_fragment[0] != number:
            pointer = self._fragment_table + number // 512 * 8
            (table,) = struct.unpack("<Q", self._read(pointer, 8))
            entry = self._metadata_bytes(table, 0, number % 512 * 16, 16)
            start, word = struct.unpack_from("<QI", entry)
            self._last_fragment = (number, self._block(start, word))
        return self._last_fragment[1]

    def _block(self, start: int, word: int) -> bytes:
        size = word & (_STORED_BLOCK - 1)
        if size > self._block_size:
            raise BadImage("the squashfs is damaged: a block is too large")
        data = self._read(start, size)
        return data if word & _STORED_BLOCK else self._decompress(data, self._block_size)

    def _metadata_bytes(self, table: int, block: int, offset: int, size: int) -> bytes:
        """Read bytes that begin in a block of metadata, and may go on in the next ones."""
        pieces: list[bytes] = []
        place = table + block
        while size > 0:
            data, place = self._metadata_block(place)
            piece = data[offset : offset + size]
            if not piece:
                raise BadImage("the squashfs is damaged: its metadata has gaps")
            pieces.append(piece)
            size, offset = size - len(piece), 0
        return b"".join(pieces)

    def _metadata_block(self, place: int) -> tuple[bytes, int]:
        if place not in self._metadata:
            (word,) = struct.unpack("<H", self._read(place, 2))
            size = word & (_STORED_METADATA - 1)
            data = self._read(place + 2, size)
            if not word & _STORED_METADATA:
                data = self._decompress(data, _METADATA_BYTES)
            if len(self._metadata) > 64:
                self._metadata.clear()
            self._metadata[place] = (data, place + 2 + size)
        return self._metadata[place]

    def read_inode_bytes(self, block: int, offset: int, size: int) -> bytes:
        return self._metadata_bytes(self._inodes, block, offset, size)

    def _read(self, place: int, size: int) -> bytes:
        self._file.seek(place)
        data = self._file.read(size)
        if len(data) != size:
            raise BadImage("the squashfs is damaged: it ends too early")
        return data


class _Place:
    """A place in the table of inodes, which moves on with what is read."""

    def __init__(self, image: Squashfs, block: int, offset: int) -> None:
        self._image = image
        self._block = block
        self._offset = offset
        self._taken = 0

    def take(self, fields: struct.Struct) -> tuple[int, ...]:
        return fields.unpack(self.bytes(fields.size))

    def bytes(self, size: int) -> bytes:
        whole = self._image.read_inode_bytes(self._block, self._offset, self._taken + size)
        piece, self._taken = whole[self._taken :], self._taken + size
        return piece
