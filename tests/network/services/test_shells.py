"""What the library has a shell of the image run: environment, folder, whole output, background."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from simple_golem import (
    CommandFailed,
    DownloadBytes,
    Golem,
    Instance,
    Run,
    Service,
    Upload,
    UploadFromUrl,
    vm,
)
from simple_golem.background.log_guard import drain_log
from simple_golem.errors import BadCommand, BatchTimeout
from simple_golem.local.local_golem import LocalGolem

pytestmark = pytest.mark.usefixtures("golem_environment")

CONTENT = b"content\n\0\xff" * 300
NASTY = 'it\'s "$HOME" `id` \\ * é\n'


class Shell(Service):
    """Waits for commands from outside."""


@pytest.fixture
def instance() -> Iterator[Instance]:
    with Golem(budget=1, stop_grace=0.2) as golem:
        (one,) = golem.run_service(Shell).wait_until_running(timeout=30)
        yield one


def test_a_program_gets_its_environment_and_its_working_folder(instance: Instance) -> None:
    told = instance.execute(
        Run.shell('printf %s "$NASTY"; pwd', env={"NASTY": NASTY, "N": 3}, cwd="/golem/work"),
        Run("/usr/bin/printf", "%s|", NASTY, "", "b", env={"A": NASTY}),
        Run.shell("echo $N; pwd"),
    )
    assert told[0].stdout == NASTY + "/golem/work\n"
    assert told[1].stdout == f"{NASTY}||b|"
    assert told[2].stdout.splitlines()[0] == ""


def test_a_working_folder_that_is_not_there_is_exit_code_126(instance: Instance) -> None:
    with pytest.raises(CommandFailed, match="exit code 126") as caught:
        instance.execute(Run("/bin/echo", "hello", cwd="/no/such/folder"))
    assert "/no/such/folder" in caught.value.stderr
    assert caught.value.stdout == ""
    assert instance.execute(Run.shell("exit 7", env={"A": 1}), check=False).exit_code == 7


def test_a_manifest_without_a_shell_is_an_error_at_the_call() -> None:
    payload = vm.manifest(image_tag="golem/alpine:latest", commands=["run /bin/echo"])
    with Golem(budget=1, stop_grace=0.2) as golem:
        (instance,) = golem.run_service(Shell, payload=payload).wait_until_running(timeout=30)
        assert instance.execute(Run("/bin/echo", "hello")).stdout == "hello\n"
        with pytest.raises(BadCommand, match="do not allow it"):
            instance.execute(Run("/bin/echo", "hello", cwd="/golem/work"))


def test_whole_output_comes_back_and_leaves_nothing(instance: Instance) -> None:
    script = "head -c 300000 /dev/zero | tr '\\0' x; echo 'a problem' >&2; exit $CODE"
    fine, after = instance.execute(
        Run.shell(script, env={"CODE": 0}, keep_all=True), Run.shell("ls -A /golem/work")
    )
    assert (fine.stdout, fine.stderr, fine.exit_code) == ("x" * 300_000, "a problem\n", 0)
    assert not fine.may_be_cut
    assert after.stdout == ""
    failed, *rest = instance.execute(
        Run.shell(script, env={"CODE": 7}, keep_all=True, binary=True), Run("/bin/true"), check=False
    )
    assert (failed.stdout_bytes, failed.stderr, failed.exit_code) == (b"x" * 300_000, "a problem\n", 7)
    assert rest == []
    assert instance.execute(Run.shell("ls -A /golem/work")).stdout == ""


def test_output_that_may_be_cut_is_told(instance: Instance, caplog: pytest.LogCaptureFixture) -> None:
    plain, whole = instance.execute(
        Run.shell("head -c 204800 /dev/zero"), Run.shell("head -c 204800 /dev/zero", keep_all=True)
    )
    assert plain.may_be_cut
    assert drain_log(20)
    assert "keep_all=True" in caplog.text
    assert (len(whole.stdout), whole.may_be_cut) == (204_800, False)


def test_an_exit_code_9_is_explained(instance: Instance) -> None:
    with pytest.raises(CommandFailed, match="exit code 9: there is no /bin/nosuch in this image"):
        instance.execute(Run("/bin/nosuch", "x"))
    with pytest.raises(CommandFailed, match=r"exit code 9: /bin/sh is in this image .* was killed"):
        instance.execute(Run.shell("kill -9 $$"))


def test_a_download_through_a_link_that_can_not_be_followed_says_so(instance: Instance) -> None:
    made = Run.shell("cd /golem/output; echo x > f; ln -s f relative; ln -s /golem/output/f absolute")
    assert instance.execute(made, DownloadBytes("/golem/output/relative"))[1].data == b"x\n"
    with pytest.raises(CommandFailed, match="by way of a symbolic link"):
        instance.execute(DownloadBytes("/golem/output/absolute"))


def test_what_a_command_has_left_that_timed_out_is_removed_by_the_next(instance: Instance) -> None:
    with pytest.raises(BatchTimeout):
        instance.execute(Run.shell("echo x; sleep 2.5", keep_all=True), timeout=0.2)
    assert instance.execute(Run.shell("ls -A /golem/work"), timeout=30).stdout == ""


def test_a_class_keeps_all_output_of_its_commands() -> None:
    class Whole(Service):
        keep_all = True

        def start(self) -> list[Run]:
            return [Run.shell("head -c 100000 /dev/zero")]

        def run(self) -> None:
            self.seen = self.results[0]

    with Golem(budget=1, stop_grace=0.2) as golem:
        cluster = golem.run_service(Whole)
        assert cluster.wait(30)
        assert len(cluster.instances[0].service.seen.stdout) == 100_000  # type: ignore[attr-defined]


def test_a_folder_is_unpacked_without_the_owners_of_its_files_and_leaves_no_archive(
    instance: Instance, tmp_path: Path
) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "file").write_text("content")
    (uploaded, listed) = instance.execute(
        Upload(tmp_path / "in", "/golem/work/folder"), Run.shell("cd /golem/work; find . -type f")
    )
    assert uploaded.success
    assert listed.stdout == "./folder/sub/file\n"
    # Where its file is to go, there is a folder with something in it.
    results = instance.execute(
        Run.shell("cd /golem/work/folder/sub && rm file && mkdir -p file/full"),
        Upload(tmp_path / "in", "/golem/work/folder"),
        check=False,
    )
    assert not results.success
    assert instance.execute(Run.shell("ls -A /golem/work/folder")).stdout == "sub\n"
    instance.execute(Run.shell("rm -r /golem/work/folder"))


def test_a_program_in_the_background_goes_on_after_its_command(instance: Instance) -> None:
    loop = "until test -e /golem/work/go; do sleep 0.02; done; echo went on; exec sleep 60"
    started = instance.execute(Run.background("/bin/sh", "-c", loop, log="/golem/work/logs/loop"))
    pid = int(started.stdout)
    instance.execute(Run.shell("touch /golem/work/go"))
    wait = "until grep -q . /golem/work/logs/loop; do sleep 0.02; done; cat /golem/work/logs/loop; kill $PID"
    assert instance.execute(Run.shell(wait, env={"PID": pid}), timeout=10).stdout == "went on\n"
    instance.execute(Run.shell("rm -r /golem/work/logs /golem/work/go"))


@pytest.fixture
def web(network: LocalGolem, tmp_path: Path) -> Iterator[str]:
    """A web server with the file `model`; returns its URL."""
    (tmp_path / "model").write_bytes(CONTENT)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        network.allow_web_server(url)
        yield url
        server.shutdown()
        thread.join()


def test_a_file_from_the_web_replaces_an_older_one_and_is_checked(instance: Instance, web: str) -> None:
    path = "/golem/work/model"
    good = UploadFromUrl(f"{web}/model", path, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    results = instance.execute(Run.shell(f"seq 100000 > {path}"), good, DownloadBytes(path))
    assert results[2].data == CONTENT
    with pytest.raises(CommandFailed, match=rf"has {len(CONTENT)} bytes, not 5; the server may") as caught:
        instance.execute(UploadFromUrl(f"{web}/model", path, size=5))
    assert caught.value.command == UploadFromUrl(f"{web}/model", path, size=5)
    assert instance.execute(Run.shell("ls -A /golem/work")).stdout == ""
