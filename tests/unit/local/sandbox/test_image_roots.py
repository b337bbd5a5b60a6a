"""The private root of an activity that runs an image: what is in it, and what can be written to."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_golem.local.images.image_cache import ImageCache, UnpackedImage
from simple_golem.local.images.image_config import ImageConfig
from simple_golem.local.images.image_source import source_at
from simple_golem.local.sandbox.sandbox import Limits, Sandbox
from simple_golem.local.sandbox.sandbox_maker import SandboxMaker
from tests.helpers.hand_made_images import docker_archive, files_of, shell_root, tar
from tests.helpers.unprivileged_user import run_by_nobody

VOLUMES = ("/golem/in", "/data")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> UnpackedImage:
    folder = tmp_path_factory.mktemp("image")
    root = shell_root(folder / "files")
    for name in ("golem/in/hidden", "golem/shown", "etc/hosts", "usr/share/a/text", "usr/share/b/text"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name}\n")
    settings = {"Volumes": {path: {} for path in VOLUMES}}
    (folder / "image.tar").write_bytes(docker_archive([tar(files_of(root))], settings))
    return source_at(folder / "image.tar").unpacked(ImageCache(folder / "cache"))


@pytest.fixture(params=[True, False], ids=["overlay", "read-only"])
def sandbox(image: UnpackedImage, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(image.roots, volumes=VOLUMES, overlay=request.param) as sandbox:
        if request.param and not sandbox.is_writable:
            pytest.skip("this machine can't lay a writable layer over an image")
        yield sandbox


def run(sandbox: Sandbox, *argv: str, cwd: str = "/", user: tuple[int, int] = (0, 0)) -> tuple[int, str, str]:
    out, err = bytearray(), bytearray()
    code = sandbox.popen(argv, {}, cwd, user=user).wait(out.extend, err.extend)
    return code, out.decode(), err.decode()


def sh(sandbox: Sandbox, script: str) -> str:
    code, out, err = run(sandbox, "/bin/sh", "-c", script)
    assert (code, err) == (0, "")
    return out.strip()


def test_only_the_programs_of_the_image_are_there(sandbox: Sandbox) -> None:
    assert sh(sandbox, "ls /bin") == "cat\nenv\nid\nls\nrm\nsh\ntouch"
    # Where the libraries are depends on the machine.
    inside = [name for name in sh(sandbox, "ls /").split() if not name.startswith("lib")]
    assert " ".join(inside) == "bin data dev etc golem home proc root run sys tmp usr var"
    assert run(sandbox, "/usr/bin/env") == (9, "", "")


def test_what_lies_under_a_volume_is_hidden(sandbox: Sandbox) -> None:
    assert (
        sh(sandbox, "ls /golem/in; cat /golem/shown; echo x > /golem/in/x; cat /golem/in/x")
        == "golem/shown\nx"
    )


@pytest.mark.parametrize("overlay", [True, False])
def test_volumes_of_the_deploy_command_are_made(image: UnpackedImage, overlay: bool) -> None:
    added = ("/new/deep", "/golem/more", "/golem/other", "/usr/share/a/more/deep")
    with Sandbox(image.roots, volumes=(*VOLUMES, *added), overlay=overlay) as sandbox:
        for volume in (*VOLUMES, *added):
            assert sh(sandbox, f"echo {volume} > {volume}/x; ls {volume}; cat {volume}/x") == f"x\n{volume}"
        assert sh(sandbox, "ls /golem; cat /golem/shown") == "in\nmore\nother\nshown\ngolem/shown"
        assert sh(sandbox, "ls /usr/share/*; cat /usr/share/a/text") == (
            "/usr/share/a:\nmore\ntext\n\n/usr/share/b:\ntext\nusr/share/a/text"
        )
        assert sandbox.is_writable or run(sandbox, "/bin/sh", "-c", "echo x > /usr/share/a/text")[0] != 0
    assert sorted(path.name for path in (image.roots[0] / "usr" / "share" / "a").iterdir()) == ["text"]


def test_the_environment_is_empty(sandbox: Sandbox) -> None:
    assert run(sandbox, "/bin/env") == (0, "", "")


def test_commands_have_the_working_folder_and_the_user_that_are_given(sandbox: Sandbox) -> None:
    assert run(sandbox, "/bin/sh", "-c", "pwd; id -u; id -g", cwd="/golem/in", user=(1000, 100)) == (
        0,
        "/golem/in\n1000\n100\n",
        "",
    )
    assert run(sandbox, "/bin/no-such-program", user=(1000, 100)) == (9, "", "")
    assert run(sandbox, "/bin/sh", "-c", "exit 7", user=(1000, 100))[0] == 7
    assert run(sandbox, "/bin/sh", "-c", "kill -15 $$", user=(1000, 100))[0] == 15


def test_the_folders_for_everybody_and_the_devices_work(sandbox: Sandbox) -> None:
    assert (
        sh(sandbox, "for f in /tmp /root /home /run /var /dev/shm; do echo x > $f/x; cat $f/x; done")
        == ("x\n" * 6).strip()
    )
    assert sh(sandbox, "echo gone > /dev/null; echo told > /dev/stdout") == "told"
    assert sh(sandbox, "read name rest < /proc/1/stat; echo $name") == "1"


def test_the_machine_has_its_own_names(image: UnpackedImage) -> None:
    for overlay in (True, False):
        with Sandbox(image.roots, overlay=overlay, hostname="me", hosts={"other": "127.0.0.9"}) as sandbox:
            assert sh(sandbox, "cat /etc/hosts /etc/resolv.conf").split("\n") == [
                "127.0.0.1 localhost",
                "::1 localhost",
                "127.0.1.1 me",
                "127.0.0.9 other",
                "nameserver 1.1.1.1",
                "nameserver 8.8.8.8",
            ]


def test_every_activity_has_its_own_changes(image: UnpackedImage) -> None:
    with Sandbox(image.roots) as one, Sandbox(image.roots) as other:
        if not one.is_writable:
            pytest.skip("this machine can't lay a writable layer over an image")
        sh(one, "rm -r /usr/share/a; echo new > /usr/share/b/text; echo x > /x; rm /bin/rm")
        assert (
            sh(one, "ls /usr/share; cat /usr/share/b/text; ls /bin") == "b\nnew\ncat\nenv\nid\nls\nsh\ntouch"
        )
        assert sh(other, "cat /usr/share/*/text; ls /bin/rm") == "usr/share/a/text\nusr/share/b/text\n/bin/rm"
    assert (image.roots[0] / "usr" / "share" / "a" / "text").exists()
    assert not (image.roots[0] / "x").exists()


def test_without_a_writable_layer_the_image_can_not_be_changed(image: UnpackedImage) -> None:
    with Sandbox(image.roots, volumes=VOLUMES, overlay=False) as sandbox:
        assert not sandbox.is_writable
        code, _, err = run(sandbox, "/bin/sh", "-c", "echo x > /bin/x")
        assert (code != 0, "Read-only" in err) == (True, True)
        assert run(sandbox, "/bin/rm", "/golem/shown")[0] != 0
    assert (image.roots[0] / "golem" / "shown").exists()


def test_without_a_writable_layer_everybody_can_write_to_the_temporary_folders(image: UnpackedImage) -> None:
    with Sandbox(image.roots, overlay=False) as sandbox:
        for user in ((0, 0), (5, 6)):
            assert (
                run(sandbox, "/bin/sh", "-c", "echo x >> /var/tmp/$$ && echo x >> /tmp/$$", user=user)[0] == 0
            )


def test_without_a_writable_layer_a_large_file_is_shown_and_not_copied(tmp_path: Path) -> None:
    root = shell_root(tmp_path / "root")
    with open(root / "large", "wb") as large:
        large.truncate(1 << 30)
    (root / "link").symlink_to("large")
    with Sandbox([root], overlay=False, limits=Limits(disk_mib=4)) as sandbox:
        assert sh(sandbox, "test -s /large -a -s /link; echo $?") == "0"
        code, _, err = run(sandbox, "/bin/sh", "-c", "echo x > /large")
        assert (code != 0, "Read-only" in err) == (True, True)
    assert os.stat(root / "large").st_size == 1 << 30


def test_the_room_outside_the_image_is_bounded(image: UnpackedImage) -> None:
    with Sandbox(image.roots, limits=Limits(disk_mib=4), volumes=VOLUMES) as sandbox:
        code, _, err = run(sandbox, "/bin/sh", "-c", "cat /dev/zero > /data/x")
        assert (code != 0, "No space left" in err) == (True, True)


def test_a_root_is_ready_quickly(image: UnpackedImage) -> None:
    maker = SandboxMaker()
    try:
        times = []
        for overlay in (True, False) * 3:
            begun = time.monotonic()
            Sandbox(image.roots, volumes=VOLUMES, overlay=overlay, maker=maker).close()
            times.append(time.monotonic() - begun)
        assert min(times) < 1
    finally:
        maker.close()


@pytest.fixture
def readable_root(image: UnpackedImage) -> Iterator[Path]:
    """A copy of the image's root that each user can read.

    It is not below `tmp_path`: a run of pytest that begins takes the rights of other users from all runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(image.roots[0], Path(folder, "root"), symlinks=True))
        for one in (folder, root):
            os.chmod(one, 0o755)
        yield root


def test_an_unprivileged_user_runs_an_image_too(readable_root: Path) -> None:
    program = (
        "import shutil, tempfile\n"
        "from pathlib import Path\n"
        "from simple_golem.local.sandbox.sandbox import Sandbox\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        f"    root = Path(shutil.copytree({str(readable_root)!r}, folder + '/root', symlinks=True))\n"
        "    for overlay in (True, False):\n"
        "        with Sandbox([root], volumes=['/data'], overlay=overlay) as sandbox:\n"
        "            argv = ['/bin/sh', '-c', 'id -u; id -g; echo x > /tmp/x; cat /tmp/x']\n"
        "            for user in ((0, 0), (5, 6)):\n"
        "                out = bytearray()\n"
        "                code = sandbox.popen(argv, {}, user=user).wait(out.extend, print)\n"
        "                print(code, bytes(out).split())\n"
        "                sandbox.popen(['/bin/rm', '/tmp/x'], {}).wait(print, print)\n"
    )
    ended = run_by_nobody(program)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == ["0 [b'0', b'0', b'x']", "0 [b'5', b'6', b'x']"] * 2


@pytest.mark.parametrize("overlay", [True, False])
def test_a_folder_for_golem_lies_over_a_root_with_python(tmp_path: Path, overlay: bool) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tool.py").write_text("#!/usr/local/bin/python3\nprint('tool')\n")
    (tmp_path / "run" / "tool.py").chmod(0o600)
    (tmp_path / "work").mkdir(mode=0o700)
    (tmp_path / "work" / "hidden").write_text("")
    (tmp_path / "text").write_text("text\n")
    image = source_at(tmp_path).unpacked(ImageCache())
    with Sandbox(image.roots, volumes=image.config.volumes, overlay=overlay) as sandbox:
        assert run(sandbox, "/golem/run/tool.py") == (0, "tool\n", "")
        assert sh(sandbox, "cat /golem/text; ls /golem /golem/work") == (
            "text\n/golem:\ninput\noutput\nrun\ntext\nwork\n\n/golem/work:"
        )
        if sandbox.is_writable:
            sh(sandbox, "echo changed > /golem/text")
    assert (tmp_path / "text").read_text() == "text\n"


def test_the_settings_of_an_image_are_those_of_its_archive(image: UnpackedImage) -> None:
    assert image.config == ImageConfig(volumes=tuple(sorted(VOLUMES)))
