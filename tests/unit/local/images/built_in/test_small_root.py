"""The roots of the built-in images: with busybox, and with this machine's programs of the same names."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from simple_golem.errors import LocalNetworkError
from simple_golem.local.images.built_in import host_programs, small_root
from simple_golem.local.images.built_in.applets import APPLETS
from simple_golem.local.images.built_in.host_programs import libraries, program
from simple_golem.local.images.built_in.small_root import SmallRoot
from simple_golem.local.images.image_cache import ImageCache
from simple_golem.local.images.image_store import ImageStore
from simple_golem.local.sandbox.sandbox import Sandbox

REAL_BUSYBOX = shutil.which("busybox")
FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin")


def programs_of(root: Path) -> dict[str, str]:
    """The folder of each program in a root, by its name."""
    return {name: f"/{folder}" for folder in FOLDERS for name in os.listdir(root / folder)}


def sh(roots: Sequence[Path], script: str, volumes: Sequence[str] = ()) -> str:
    out = bytearray()
    with Sandbox(roots, volumes=volumes) as sandbox:
        assert sandbox.popen(["/bin/sh", "-c", script]).wait(out.extend, out.extend) == 0, out
    return out.decode().strip()


def without_busybox(name: str) -> Path | None:
    return None if name == "busybox" else program(name)


def test_without_busybox_there_are_this_machines_programs_of_its_names_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_root, "program", without_busybox)
    roots = SmallRoot().unpacked(ImageCache(tmp_path / "cache")).roots
    found = programs_of(roots[0])
    assert found.items() <= APPLETS.items()
    assert {"sh", "ash", "cat", "ls", "sleep", "date", "seq", "head", "tar"} <= found.keys()
    assert sh(roots, "seq 3 | tail -n 1; echo a b | cut -d ' ' -f 2; cat /etc/passwd | head -n 1") == (
        "3\nb\nroot:x:0:0:root:/root:/bin/sh"
    )


@pytest.mark.skipif(REAL_BUSYBOX is None, reason="apt install busybox-static")
def test_with_busybox_there_are_its_programs_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Path(os.path.realpath(REAL_BUSYBOX or ""))
    monkeypatch.setattr(small_root, "program", lambda name: box if name == "busybox" else program(name))
    roots = SmallRoot().unpacked(ImageCache(tmp_path / "cache")).roots
    assert programs_of(roots[0]).items() <= APPLETS.items()
    assert sh(roots, "seq 3 | tail -n 1; ls -l /bin/ls | grep -c busybox; echo $PATH") == (
        "3\n1\n/sbin:/usr/sbin:/bin:/usr/bin"
    )


def test_a_busybox_is_called_by_the_names_that_both_it_and_alpine_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = tmp_path / "busybox"
    box.write_text("#!/bin/sh\nprintf 'busybox\\nls\\nwget\\nnot-of-alpine\\n'\n")
    box.chmod(0o755)
    monkeypatch.setattr(small_root, "program", {"busybox": box}.get)
    (root,) = SmallRoot().unpacked(ImageCache(tmp_path / "cache")).roots
    assert programs_of(root) == {"busybox": "/bin", "ls": "/bin", "wget": "/usr/bin"}
    assert os.readlink(root / "usr" / "bin" / "wget") == "/bin/busybox"


def test_other_programs_make_another_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ImageCache(tmp_path / "cache")
    sizes: Mapping[str, Path | None] = {"sh": program("sh"), "cat": program("cat")}
    monkeypatch.setattr(small_root, "program", lambda name: sizes.get(name))
    first = SmallRoot().unpacked(cache).roots
    assert SmallRoot().unpacked(cache).roots == first
    monkeypatch.setattr(small_root, "program", lambda name: sizes.get(name) if name == "sh" else None)
    (second,) = SmallRoot().unpacked(cache).roots
    assert programs_of(second) == {"ash": "/bin", "sh": "/bin"}


def test_the_python_of_an_image_is_that_of_the_network_and_finds_its_modules(
    python_roots: Sequence[Path],
) -> None:
    script = "python3 -c 'import ssl, sqlite3, ctypes, json, sys; print(sys.version_info[:2], sys.prefix)'"
    assert sh(python_roots, script) == f"{sys.version_info[:2]} /usr/local"


def test_the_images_have_the_volumes_and_folders_of_their_namesakes() -> None:
    store = ImageStore()
    seen = {}
    for image in store:
        unpacked = store.unpacked(image.source)
        config = image.source.config(unpacked)
        listed = sh(unpacked.roots, "ls /golem", config.volumes).split()
        seen[image.tag] = (config.work_folder, config.volumes, listed)
    assert seen == {
        "golem/alpine:latest": (
            "/golem/work",
            ("/golem/input", "/golem/output", "/golem/work"),
            ["input", "output", "work"],
        ),
        "golem/hello-world:latest": ("/golem/work", ("/golem/input",), ["input", "work"]),
        "golem/simple-service:latest": ("/", ("/golem/in", "/golem/out"), ["in", "out", "run"]),
    }


def test_scripts_for_other_interpreters_are_no_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_programs, "_FOLDERS", (str(tmp_path),))
    for name, line in (
        ("mine", "#!/bin/sh"),
        ("perl", "#!/usr/bin/perl"),
        ("env", "#! /usr/bin/env python3"),
    ):
        (tmp_path / name).write_text(f"{line}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "data").write_text("no program")
    found = [name for name in ("mine", "perl", "env", "data") if program.__wrapped__(name) is not None]
    assert found == ["mine"]


def test_a_machine_that_can_not_list_libraries_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalNetworkError, match="install ldd"):
        libraries([Path("/bin/sh")])
