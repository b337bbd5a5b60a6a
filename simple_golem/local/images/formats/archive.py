"""Archives: those of `docker save`, those of the Open Container Initiative, and plain root file systems."""

from __future__ import annotations

import gzip
import json
import lzma
import platform
import posixpath
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import IO, Any

from ....errors import BadImage
from ..image_config import ImageConfig
from ..root_writer import RootWriter

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PIECE_BYTES = 1 << 20
_MOST_JSON_BYTES = 8 << 20
_MOST_INDEXES = 8
_REMOVED, _CLEARED = ".wh.", ".wh..wh..opq"
_DAMAGED = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    ValueError,
    OverflowError,
)
# Images have the first three, or the first folder; a root file system has one of the others.
_TELLING = ("manifest.json", "index.json", "oci-layout", "bin/sh", "usr/bin")
_TELLING_FOLDERS = ("blobs/sha256/", "usr/bin/")
_ZSTD = b"\x28\xb5\x2f\xfd"


def unpack_archive(path: str, writer: RootWriter) -> ImageConfig:
    """Unpack an archive.

    Returns:
        The settings of the image; those of an image without any if the archive is a plain root file system.

    Raises:
        BadImage: the archive is damaged, or has an image for another kind of machine only.
    """
    try:
        with tarfile.open(path) as archive:
            members = _regular_members(archive)
            if "manifest.json" in members:
                return _Image(archive, members).unpack_docker(writer)
            if "index.json" in members:
                return _Image(archive, members).unpack_oci(writer)
        with open(path, "rb") as file:
            _unpack_layer(file, writer)
            return ImageConfig()
    except _DAMAGED as error:
        raise BadImage(f"the archive is damaged: {error}") from error


def is_for_golem(path: str) -> bool:
    """Whether an archive is neither an image nor a root file system, so that its files are for `/golem`.

    It is asked as `is_root` asks a folder. Reads the archive up to the first name that tells.

    Raises:
        BadImage: the archive is damaged.
    """
    try:
        with tarfile.open(path) as archive:
            names = (posixpath.normpath(member.name) for member in archive)
            return not any(name in _TELLING or name.startswith(_TELLING_FOLDERS) for name in names)
    except _DAMAGED as error:
        raise BadImage(f"the archive is damaged: {error}") from error


def unpack_files(path: str, below: str, writer: RootWriter) -> None:
    """Unpack an archive below a path in the image. Each script can be executed, as in a folder of files.

    Raises:
        BadImage: the archive is damaged.
    """
    try:
        with open(path, "rb") as file:
            _unpack_layer(file, writer, below)
    except _DAMAGED as error:
        raise BadImage(f"the archive is damaged: {error}") from error


def _regular_members(archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    return {posixpath.normpath(member.name): member for member in archive if member.isreg()}


class _Image:
    """An archive with layers, and the JSON documents that name them."""

    def __init__(self, archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> None:
        self._archive = archive
        self._members = members

    def unpack_docker(self, writer: RootWriter) -> ImageConfig:
        found = self._json("manifest.json")
        if not isinstance(found, list) or len(found) != 1:
            raise BadImage("the archive has more than one image: save one of them only")
        return self._unpack(found[0]["Config"], found[0]["Layers"], writer)

    def unpack_oci(self, writer: RootWriter) -> ImageConfig:
        document = self._json("index.json")
        for _ in range(_MOST_INDEXES):
            if "layers" in document:
                layers = [_blob(layer) for layer in document["layers"]]
                return self._unpack(_blob(document["config"]), layers, writer)
            document = self._json(_blob(_for_this_machine(document.get("manifests", []))))
        raise BadImage("the archive's index leads to no image")

    def _unpack(self, settings: str, layers: Sequence[str], writer: RootWriter) -> ImageConfig:
        document = self._json(settings)
        _check_machine(document)
        for layer in layers:
            with self._open(layer) as file:
                _unpack_layer(file, writer)
        return ImageConfig.of(document.get("config") or {})

    def _json(self, name: str) -> Any:
        with self._open(name) as file:
            return json.loads(file.read(_MOST_JSON_BYTES))

    def _open(self, name: str) -> IO[bytes]:
        member = self._members.get(posixpath.normpath(name))
        file = self._archive.extractfile(member) if member is not None else None
        if file is None:
            raise BadImage(f"the archive has no file {name}")
        return file


def _blob(descriptor: Mapping[str, Any]) -> str:
    kind, _, digest = str(descriptor["digest"]).partition(":")
    return f"blobs/{kind}/{digest}"


def _for_this_machine(manifests: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The manifest for this machine; one that does not say for which machine it is will do."""
    own = _ARCHITECTURES.get(platform.machine(), platform.machine())
    fitting = [one for one in manifests if one.get("platform", {}).get("architecture", own) == own]
    if not fitting:
        raise BadImage(f"the archive has no image for a {own} machine")
    return fitting[0]


def _check_machine(settings: Mapping[str, Any]) -> None:
    own = _ARCHITECTURES.get(platform.machine(), platform.machine())
    if settings.get("architecture", own) != own:
        raise BadImage(f"this is an image for a {settings['architecture']} machine, and this one is {own}")


def _unpack_layer(file: IO[bytes], writer: RootWriter, below: str | None = None) -> None:
    if file.read(4) == _ZSTD and not hasattr(tarfile.TarFile, "zstopen"):
        raise BadImage("a layer is compressed by zstd, which needs Python 3.14: save the image with gzip")
    file.seek(0)
    writer.begin_layer()
    with tarfile.open(fileobj=file, mode="r|*") as layer:
        for member in layer:
            if below is not None:
                _move_below(member, below)
            _unpack_member(layer, member, writer, scripts_run=below is not None)


def _move_below(member: tarfile.TarInfo, below: str) -> None:
    member.name = f"{below}/{member.name}"
    if member.islnk():
        member.linkname = f"{below}/{member.linkname}"


def _unpack_member(
    layer: tarfile.TarFile, member: tarfile.TarInfo, writer: RootWriter, *, scripts_run: bool
) -> None:
    path = member.name
    folder, name = posixpath.split(path.rstrip("/"))
    if name == _CLEARED:
        writer.clear(folder)
    elif name.startswith(_REMOVED):
        removed = name.removeprefix(_REMOVED)
        if removed in ("", ".", ".."):
            raise BadImage(f"the image has a file at {path[:200]!r}, which no image may have")
        writer.remove(f"{folder}/{removed}")
    elif member.isdir():
        writer.folder(path, member.mode | 0o755 if scripts_run else member.mode)
    elif member.isreg():
        pieces, mode = _pieces(layer, member), member.mode
        if scripts_run:
            first = next(pieces, b"")
            mode |= 0o755 if first.startswith(b"#!") else 0o644
            pieces = chain((first,), pieces)
        writer.file(path, mode, pieces, member.mtime)
    elif member.issym():
        writer.link(path, member.linkname)
    elif member.islnk():
        writer.hard_link(path, member.linkname)


def _pieces(layer: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = layer.extractfile(member)
    while file is not None and (piece := file.read(_PIECE_BYTES)):
        yield piece
