"""Packs a folder to stdout, or unpacks stdin into a folder: a program that runs inside an activity.

It uses only the standard library, and its text is passed to Python there. It runs inside because an archive
may be hostile: links and names in it lead only to files of the activity.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

# The formats of the real exe-unit, with the module, class and settings of each compression.
TAR_FORMATS = {
    "tar": None,
    "tar.gz": ("gzip", "GzipFile", {"compresslevel": 6}),
    "tar.bz2": ("bz2", "BZ2File", {}),
    "tar.xz": ("lzma", "LZMAFile", {"preset": 1}),
}
ZIP_FORMATS = {"zip": zipfile.ZIP_DEFLATED, "zip.0": zipfile.ZIP_STORED}
FORMATS = (*TAR_FORMATS, *ZIP_FORMATS)


def main() -> None:
    request = json.loads(sys.argv[1])
    try:
        if request["pack"]:
            pack(request, sys.stdout.buffer)
        else:
            unpack(request, sys.stdin.buffer)
    except OSError as error:
        fail(error.strerror or str(error), error.errno)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError) as error:
        fail(f"{type(error).__name__}: {error}", None)


def fail(text: str, number: int | None) -> None:
    json.dump({"error": text, "errno": number}, sys.stderr)
    sys.exit(1)


# --- packing -----------------------------------------------------------------------------------------


def pack(request: dict[str, Any], out: BinaryIO) -> None:
    root = request["path"]
    os.listdir(root)  # fails if it is not a folder
    names = list(selected(root, request["depth"], request["includes"], request["excludes"]))
    if not names:
        raise OSError(errno.EINVAL, "invalid data: no file to transfer")
    if request["format"] in ZIP_FORMATS:
        with zipfile.ZipFile(out, "w", ZIP_FORMATS[request["format"]]) as archive:
            for name in names:
                archive.write(os.path.join(root, name), name)
        return
    with (
        opened(request["format"], out, "wb") as stream,
        tarfile.open(fileobj=stream, mode="w|", dereference=True) as tar,
    ):
        for name in names:
            tar.add(os.path.join(root, name), name, recursive=False)


def selected(root: str, depth: int | None, includes: list[str], excludes: list[str]) -> Iterator[str]:
    """Yield the relative names of the files and folders under `root` that the patterns select."""
    included = [pattern(text) for text in includes or ["**/*"]]
    excluded = [pattern(text) for text in excludes]
    for folder, folders, files in os.walk(root):
        folders.sort()
        above = os.path.relpath(folder, root)
        at = "" if above == "." else f"{above}/"
        for name in sorted([*folders, *files]):
            path = f"{at}{name}"
            wanted = any(one.fullmatch(path) for one in included)
            if wanted and not any(one.fullmatch(path) for one in excluded):
                yield path
        if depth is not None and at.count("/") >= depth:
            folders.clear()


def pattern(glob: str) -> re.Pattern[str]:
    """Translate a glob as the real exe-unit does: `*` stays in a folder, `**` does not, `{a,b}` is either."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\]|\{|\}|,)", glob)
    open_braces, text = 0, ""
    for part in parts:
        open_braces += {"{": 1, "}": -1}.get(part, 0)
        if part.startswith("[") and part.endswith("]"):
            text += "[" + part[1:-1].replace("\\", "\\\\").replace("!", "^", part[1:2] == "!") + "]"
        elif part == "," and open_braces:
            text += "|"
        else:
            text += _IN_REGEX.get(part) or re.escape(part)
    return re.compile(text, re.DOTALL)


_IN_REGEX = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}


# --- unpacking ---------------------------------------------------------------------------------------


def unpack(request: dict[str, Any], source: BinaryIO) -> None:
    root = request["path"]
    os.makedirs(root, exist_ok=True)
    if request["format"] in ZIP_FORMATS:
        # The index of a zip is at its end: the whole archive is needed before the first file.
        with tempfile.TemporaryFile(dir=root) as whole:
            shutil.copyfileobj(source, whole)
            with zipfile.ZipFile(whole) as archive:
                for entry in archive.infolist():
                    with archive.open(entry) as content:
                        mode = entry.external_attr >> 16 & 0o777
                        put(root, entry.filename, entry.is_dir(), content, mode)
        return
    with opened(request["format"], source, "rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if not (member.isfile() or member.isdir()):
                    raise PermissionError(errno.EACCES, f"unsafe tar entry type rejected: {member.name}")
                put(root, member.name, member.isdir(), tar.extractfile(member), member.mode & 0o777)
        while stream.read(65536):
            pass  # read the padding of the archive, so that its writer does not block


def put(root: str, name: str, is_folder: bool, content: Any, mode: int) -> None:
    """Write one file or folder of an archive."""
    if name.startswith("/") or ".." in name.split("/"):
        raise PermissionError(errno.EACCES, f"unsafe archive path rejected: {name}")
    path = os.path.join(root, name)
    if is_folder:
        os.makedirs(path, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        shutil.copyfileobj(content, file)
    if mode:
        os.chmod(path, mode)


def opened(format: str, stream: BinaryIO, mode: str) -> Any:
    """Wrap `stream`: compress what is written to it, or decompress what is read from it."""
    how = TAR_FORMATS[format]
    if how is None:
        return stream
    module, name, settings = how
    kind = getattr(importlib.import_module(module), name)
    if name == "GzipFile":
        return kind(None, mode, fileobj=stream, **(settings if mode == "wb" else {}))
    return kind(stream, mode, **(settings if mode == "wb" else {}))


if __name__ == "__main__":
    main()
