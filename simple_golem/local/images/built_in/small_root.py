"""The roots of the built-in images: busybox or this machine's programs of the same names, and Python."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..formats.folder import copy_file, copy_folder
from ..image_cache import ImageCache, UnpackedImage
from ..image_config import ImageConfig
from ..root_writer import RootWriter
from .applets import APPLETS
from .host_programs import libraries, program

_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_STANDARD_LIBRARY = Path(os.path.realpath(os.__file__)).parent
_NOT_NEEDED = (
    *("site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"),
    *("lib2to3", "config-*", "*.opt-1.pyc", "*.opt-2.pyc"),
)
# Without an environment, Python does not find its library by the name that it was called by.
_WRAPPER = f'#!/bin/sh\nexec /usr/local/bin/{_VERSION} "$@"\n'.encode()
_LIBRARY_CACHE = Path("/etc/ld.so.cache")
_FOLDERS = (
    *("", "bin", "sbin", "usr/bin", "usr/sbin", "media", "mnt", "opt", "srv", "tmp"),
    *("var/cache", "var/lib", "var/log", "var/tmp"),
)
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
_GROUP = b"root:x:0:\nnobody:x:65534:\n"


def busybox() -> Path | None:
    """Return this machine's busybox; None if it has none."""
    return program("busybox")


@dataclass(frozen=True, slots=True)
class SmallRoot:
    """A root with the programs of Alpine Linux's busybox, and nothing else.

    Attributes:
        with_python: whether it has the Python of this process, too. The programs are this machine's then,
            also where it has busybox: images with Python are made from other distributions.
    """

    with_python: bool = False

    def __str__(self) -> str:
        if self.with_python:
            return "this machine's programs, and Python"
        box = busybox()
        return "this machine's programs" if box is None else str(box)

    def unpacked(self, cache: ImageCache) -> UnpackedImage:
        """Return the root in the cache; makes it if it is not there, which takes a second or two.

        Raises:
            LocalNetworkError: it can't be made.
        """
        programs = self._programs()
        sources = sorted({*programs.values(), *([_interpreter()] if self.with_python else [])})
        state = hashlib.sha256()
        for path in sources:
            found = path.stat()
            state.update(os.fsencode(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0"))
        state.update(repr(sorted(programs)).encode())

        def fill(writer: RootWriter) -> ImageConfig:
            self._fill(writer, programs)
            return ImageConfig()

        kind = "python" if self.with_python else "busybox"
        return cache.unpacked(f"{kind}-{state.hexdigest()[:40]}", fill)

    def _programs(self) -> Mapping[str, Path]:
        """The file of each program, by its path inside."""
        box = None if self.with_python else busybox()
        if box is not None:
            return {"/bin/busybox": box}
        found = {f"{folder}/{name}": program(name) for name, folder in APPLETS.items() if name != "busybox"}
        found["/bin/ash"] = found["/bin/ash"] or found["/bin/sh"]
        return {path: file for path, file in found.items() if file is not None}

    def _fill(self, writer: RootWriter, programs: Mapping[str, Path]) -> None:
        for folder in _FOLDERS:
            writer.folder(folder, 0o1777 if folder.endswith("tmp") else 0o755)
        writer.file("etc/passwd", 0o644, [_PASSWD])
        writer.file("etc/group", 0o644, [_GROUP])
        for path, file in programs.items():
            copy_file(file, path, writer)
        if "/bin/busybox" in programs:
            there = _applets_of(programs["/bin/busybox"]) - {"busybox"}
            for name in sorted(there & APPLETS.keys()):
                writer.link(f"{APPLETS[name]}/{name}", "/bin/busybox")
        needing = list(programs.values())
        if self.with_python:
            needing += _copy_python(writer)
        _copy_libraries(needing, writer)


def _interpreter() -> Path:
    return Path(os.path.realpath(sys.executable))


def _copy_python(writer: RootWriter) -> list[Path]:
    """Copy Python and its standard library, which finds it beside itself; returns what needs libraries."""
    inside = f"/usr/local/{sys.platlibdir}/{_VERSION}"
    copy_file(_interpreter(), f"/usr/local/bin/{_VERSION}", writer)
    for name in ("python3", "python"):
        writer.file(f"/usr/local/bin/{name}", 0o755, [_WRAPPER])
    copy_folder(_STANDARD_LIBRARY, inside, writer, without=_NOT_NEEDED)
    modules = Path(str(sysconfig.get_config_var("DESTSHARED") or _STANDARD_LIBRARY / "lib-dynload"))
    if modules.is_dir() and modules.parent != _STANDARD_LIBRARY:
        copy_folder(modules, f"{inside}/lib-dynload", writer)
    return [_interpreter(), *sorted(modules.glob("*.so"))]


def _copy_libraries(programs: Iterable[Path], writer: RootWriter) -> None:
    for path, file in libraries(programs).items():
        if path.startswith(("/lib", "/usr/lib")):
            copy_file(file, path, writer)
            continue
        # Its place may be a folder that is empty in an activity. The loader always looks here.
        name = os.path.basename(path)
        copy_file(file, f"/usr/lib/{name}", writer)
        writer.link(f"/usr/lib64/{name}", f"/usr/lib/{name}")
    if _LIBRARY_CACHE.is_file():
        copy_file(_LIBRARY_CACHE, str(_LIBRARY_CACHE), writer)


def _applets_of(box: Path) -> frozenset[str]:
    """The programs that a busybox has."""
    listed = subprocess.run([box, "--list"], capture_output=True, text=True, timeout=10, check=True)
    return frozenset(listed.stdout.split())
