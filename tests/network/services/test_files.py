"""Files that go to providers and come back, on the real daemon."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import simple_golem
from simple_golem import (
    CommandFailed,
    Download,
    DownloadBytes,
    DownloadJson,
    Golem,
    Instance,
    Run,
    Service,
    Upload,
    UploadBytes,
    UploadJson,
)
from simple_golem.background.cancellation import Deadline
from simple_golem.engine.files.publisher import FilePublisher, Publication
from simple_golem.errors import BadJson, BadLocalFile, BatchLost, BatchTimeout, YagnaError
from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from simple_golem.model.events.batches import TransferProgress
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.service_bus.gsb_socket import GsbSocket
from simple_golem.yagna.transport.socket_lost import SocketLost

CHUNK = 40 * 1024
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 10_000_000)
NAMES = (
    "zażółć gęślą.txt",
    "a#b?c%20d.txt",
    "-rf",
    "it's quoted",
    "back\\slash",
    "new\nline",
    "👍",
    "c:d",
)
# KiB a second.
SLOW = ProviderHabits(transfer_speed=3000)
SLOWER = ProviderHabits(transfer_speed=1000)
SECONDS = 30.0


@contextmanager
def running(network: LocalGolem, **more: float) -> Iterator[Instance]:
    """An instance that does nothing by itself, on a network that a test has for its own."""
    with several_running(network, 1, **more) as (instance,):
        yield instance


@contextmanager
def several_running(network: LocalGolem, number: int, **more: float) -> Iterator[Sequence[Instance]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in network.environment.items():
            patch.setenv(name, value)
        with Golem(budget=1, **more) as golem:
            yield golem.run_service(Service, num_instances=number).wait_until_running(timeout=60)


@pytest.fixture
def instance(network: LocalGolem) -> Iterator[Instance]:
    with running(network) as instance:
        yield instance


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Published:
    """A published file.

    Attributes:
        begun: set when its transfer is under way.
    """

    publication: Publication
    begun: threading.Event


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Published]:
    """All files that are published from now on."""
    seen: list[Published] = []
    publish = FilePublisher.publish

    def noting(self, end, scope):
        begun, answer = threading.Event(), end.answer

        def answering(component, payload):
            if component in ("GetChunk", "UploadChunk"):
                begun.set()
            return answer(component, payload)

        end.answer = answering
        publication = publish(self, end, scope)
        seen.append(Published(publication, begun))
        return publication

    monkeypatch.setattr(FilePublisher, "publish", noting)
    return seen


def under_way(published: list[Published], number: int) -> Publication:
    """Wait until the transfer of a file is under way, by its number among those that are published."""
    left = Deadline(SECONDS)
    while len(published) <= number:
        assert not left.passed, f"{len(published)} files were published"
        time.sleep(0.01)
    assert published[number].begun.wait(SECONDS)
    return published[number].publication


def test_files_of_any_size_go_there_and_come_back_unchanged(instance, here):
    for size in SIZES:
        content = os.urandom(size)
        Path("sent").write_bytes(content)
        _, there, _ = instance.execute(
            Upload("sent", "/golem/work/file"),
            Run("/usr/bin/sha256sum", "/golem/work/file"),
            Download("/golem/work/file", "back"),
        )
        assert there.stdout.split()[0] == hashlib.sha256(content).hexdigest()
        assert Path("back").read_bytes() == content
    assert sorted(path.name for path in here.iterdir()) == ["back", "sent"]


def test_names_may_be_odd_and_foreign_on_both_sides(instance, here):
    for name in NAMES:
        Path(name).write_text(f"in {name}")
        _, there, _ = instance.execute(
            Upload(name, f"/golem/work/{name}"),
            Run("/bin/cat", f"/golem/work/{name}"),
            Download(f"/golem/work/{name}", f"{name} again"),
        )
        assert there.stdout == f"in {name}" == Path(f"{name} again").read_text()


def test_bytes_and_json_need_no_file_here(instance):
    value = {"numbers": [1, 2.5, None, True], "text": "zażółć"}
    instance.execute(
        UploadBytes(b"\0\xff", "/golem/work/new/folder/raw"), UploadJson(value, "/golem/work/a.json")
    )
    assert instance.execute(DownloadBytes("/golem/work/new/folder/raw")).data == b"\0\xff"
    assert instance.execute(DownloadJson("/golem/work/a.json")).json == value
    with pytest.raises(BadJson, match=r"DownloadJson\('/golem/work/new/folder/raw'\) brought is no JSON"):
        _ = instance.execute(DownloadJson("/golem/work/new/folder/raw")).json


def test_whole_folders_go_there_and_come_back(instance, here):
    long_name = "long" * 40
    for name in ("sent/empty", f"sent/zażółć/{long_name}"):
        Path(name).mkdir(parents=True)
    Path("sent/program").write_text("#!/bin/sh\necho it runs\n")
    Path("sent/program").chmod(0o755)
    Path("sent/zażółć", long_name, "data").write_bytes(os.urandom(100_000))
    Path("back").mkdir()
    Path("back/other").write_text("was here before")

    result = instance.execute(
        Upload("sent", "/golem/work/there"),
        Run("/golem/work/there/program"),
        Download("/golem/work/there/", "back"),
    )
    assert [one.index for one in result] == [0, 1, 2]
    assert result[1].stdout == "it runs\n"
    assert Path("back/other").read_text() == "was here before"
    Path("back/other").unlink()
    assert tree(Path("back")) == tree(Path("sent"))
    assert os.access("back/program", os.X_OK)
    assert instance.execute(Run("/bin/ls", "-A", "/golem/work/there")).stdout.split() == [
        "empty",
        "program",
        "zażółć",
    ]
    assert sorted(path.name for path in here.iterdir()) == ["back", "sent"]


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_a_missing_file_of_the_provider_is_named_and_harms_nothing(instance, here):
    Path("kept").write_text("the old one")
    for command in (Download("/golem/work/none", "kept"), Download("/golem/none/", "folder")):
        with pytest.raises(
            CommandFailed, match=r"^Download\('/golem/(work/)?none/?', '\w+'\) failed on prov-\d"
        ) as caught:
            instance.execute(Run("/bin/true"), command)
        assert caught.value.command == command
        assert [one.success for one in caught.value.results] == [True, False]
        assert caught.value.results[1].index == 1
    assert [path.name for path in here.iterdir()] == ["kept"]
    assert Path("kept").read_text() == "the old one"
    assert instance.execute(Run("/bin/echo", "alive")).stdout == "alive\n"


def test_a_local_file_that_can_not_be_used_is_an_error_before_anything_is_sent(instance, here):
    Path("file").write_text("")
    Path("folder").mkdir()
    for command, message in (
        (Upload("none", "/golem/work/x"), r"none does not exist"),
        (Upload("/dev/null", "/golem/work/x"), r"/dev/null is neither a file nor a folder"),
        (Upload("file", "/golem/work/"), r"write '/golem/work/file'"),
        (Download("/golem/work/x", "folder"), r"folder is a folder; name a file in it"),
        (Download("/golem/work/x", "none/x"), r"the folder .*none does not exist; make it first"),
        (Download("/golem/work/x", "file/x"), r"the folder .*file does not exist; make it first"),
        (Download("/golem/work/x/", "file"), r"file is a file, but a folder is downloaded"),
        (Download("/golem/work/x", "/proc/x"), r"/proc/x can't be written"),
    ):
        with pytest.raises(BadLocalFile, match=message) as caught:
            instance.execute(Run("/bin/touch", "/golem/work/sent"), command)
        assert str(caught.value).startswith(repr(command))
    assert instance.execute(Run.shell("ls /golem/work")).stdout == ""
    assert sorted(path.name for path in here.iterdir()) == ["file", "folder"]


@pytest.mark.usefixtures("golem_environment")
def test_a_list_with_a_missing_file_fails_its_service_and_no_other_provider_is_tried(here):
    class Sender(Service):
        def start(self):
            return [Upload("none", "/golem/work/none")]

    with Golem(budget=1, raise_failures=False) as golem:
        cluster = golem.run_service(Sender)
        assert cluster.wait(60)
    (instance,) = cluster.instances
    assert isinstance(instance.failure, BadLocalFile)
    assert "none does not exist" in str(instance.failure)
    assert [state.value for state, _ in instance.history].count("starting") == 1


@pytest.fixture(params=("closed at once", "closed after the daemon's farewell"))
def any_close(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of the two it is depends on who is quicker, the daemon or this process."""
    if request.param == "closed at once":
        return
    close = GsbSocket.close

    def close_late(carrier: GsbSocket) -> None:
        assert select.select([carrier], [], [], 20)[0]
        with contextlib.suppress(SocketLost):
            carrier.receive()
        close(carrier)

    monkeypatch.setattr(GsbSocket, "close", close_late)


@pytest.mark.usefixtures("any_close")
def test_a_file_is_on_the_bus_only_while_its_batch_runs(network, instance, published):
    instance.execute(UploadBytes(b"x", "/golem/work/x"), DownloadBytes("/golem/work/x"))
    with pytest.raises(CommandFailed):
        instance.execute(UploadBytes(b"x", "/golem/work/y"), Run("/bin/false"))
    assert len(published) == 3
    yagna = Yagna(network.near.api_url, network.near.app_key)
    try:
        for publication in [one.publication for one in published]:
            with pytest.raises(YagnaError, match=r"status 500: GSB failure|endpoint address not found"):
                yagna.http.request("POST", f"/_gsb{publication.address}/GetMetadata", body=None)
    finally:
        yagna.close()


def test_progress_is_told_now_and_then_and_at_the_end(network, golem_environment, here):
    events: list[TransferProgress] = []
    with Golem(budget=1) as golem:
        golem.on_event(lambda event: isinstance(event, TransferProgress) and events.append(event))
        (instance,) = golem.run_service(Service).wait_until_running(timeout=60)
        up, down = UploadBytes(bytes(3_000_000), "/golem/work/x"), Download("/golem/work/x", "x")
        instance.execute(up, down)
        name = instance.name
    for command in (up, down):
        told = [event for event in events if event.command == command]
        assert (told[-1].transferred, told[-1].total) == (3_000_000, 3_000_000)
        assert [event.transferred for event in told] == sorted(event.transferred for event in told)
        assert {event.instance for event in told} == {name}
        assert len(told) < 3_000_000 // CHUNK


def test_twenty_instances_send_and_fetch_at_the_same_time(here):
    class Copier(Service):
        def run(self):
            self.execute(
                Upload("sent", "/golem/work/in"),
                Run.shell(f"(cat /golem/work/in; echo {self.name}) > /golem/work/out"),
                Download("/golem/work/out", f"{self.name}.out"),
            )

    content = os.urandom(1_000_000)
    Path("sent").write_bytes(content)
    threads = set()
    with LocalGolem(providers=20, chain=False) as network, pytest.MonkeyPatch.context() as patch:
        for name, value in network.environment.items():
            patch.setenv(name, value)
        with Golem(budget=1) as golem:
            cluster = golem.run_service(Copier, num_instances=20)
            assert cluster.wait(90)
            threads = {
                thread.name for thread in threading.enumerate() if thread.name.startswith("golem-files")
            }
    assert threads == {"golem-files"}
    for instance in cluster.instances:
        assert Path(f"{instance.name}.out").read_bytes() == content + f"{instance.name}\n".encode()
    assert len(list(here.iterdir())) == 21


def test_a_transfer_goes_on_when_its_websocket_is_cut(here, published):
    content = os.urandom(6_000_000)
    Path("sent").write_bytes(content)
    with LocalGolem([SLOW], chain=False) as network, running(network) as instance:
        for number, command in enumerate(
            (Upload("sent", "/golem/work/x"), Download("/golem/work/x", "back"))
        ):
            cutter = threading.Thread(target=cut, args=(published, number))
            cutter.start()
            instance.execute(command)
            cutter.join()
            assert published[number].publication.lost >= 1
        assert instance.execute(DownloadBytes("/golem/work/x")).data == content
    assert Path("back").read_bytes() == content


def cut(published: list[Published], number: int) -> None:
    carrier = under_way(published, number).socket
    assert carrier is not None
    with socket.socket(fileno=os.dup(carrier.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


def test_a_transfer_survives_a_killed_daemon_or_fails_in_time(here, published):
    """What was under way to a killed daemon, providers give up at once or, as it happens, in a minute."""
    content = "".join(f"{number}\n" for number in range(1, 600_001)).encode()
    fetching = {Download("/golem/work/x", "one"): 1.5, Download("/golem/work/x", "two"): 8.0}
    took: dict[str, float] = {}
    failures: dict[str, Exception] = {}

    def fetch(instance: Instance, command: Download, seconds: float) -> None:
        began = time.monotonic()
        try:
            instance.execute(command, timeout=seconds)
        except BatchTimeout as error:
            failures[command.local] = error
        took[command.local] = time.monotonic() - began

    with LocalGolem([SLOWER] * 2, chain=False) as network, several_running(network, 2) as instances:
        for instance in instances:
            instance.execute(Run.shell("seq 600000 > /golem/work/x"))
        fetchers = [
            threading.Thread(target=fetch, args=(instance, *one))
            for instance, one in zip(instances, fetching.items(), strict=True)
        ]
        for fetcher in fetchers:
            fetcher.start()
        for number in range(len(fetchers)):
            under_way(published, number)
        network.kill_requestor_daemon()
        fetchers[0].join(SECONDS)
        network.restart_requestor_daemon()
        fetchers[1].join(30)
        closing = time.monotonic()
    assert time.monotonic() - closing < 15

    for command, seconds in fetching.items():
        assert took[command.local] < seconds + 3
        if error := failures.get(command.local):
            assert str(error).startswith(repr(command))
    assert "one" in failures
    there = {path.name: path.read_bytes() for path in here.iterdir()}
    assert there == ({} if "two" in failures else {"two": content})


def test_a_provider_that_breaks_off_leaves_nothing_here(here):
    Path("kept").write_text("the old one")
    with (
        LocalGolem([ProviderHabits(cuts_transfers_after=200_000)], chain=False) as network,
        running(network) as instance,
    ):
        instance.execute(Run.shell("head -c 1000000 /dev/zero > /golem/work/x"))
        with pytest.raises(CommandFailed, match=r"^Download\('/golem/work/x', 'kept'\) failed"):
            instance.execute(Download("/golem/work/x", "kept"))
        assert Path("kept").read_text() == "the old one"
        assert [path.name for path in here.iterdir()] == ["kept"]


def test_a_full_disk_of_the_provider_is_told(here):
    with LocalGolem([ProviderHabits(disk_mib=2)], chain=False) as network, running(network) as instance:
        with pytest.raises(CommandFailed, match=r"/golem/work/x.*No space left on device"):
            instance.execute(UploadBytes(os.urandom(4_000_000), "/golem/work/x"))
        assert instance.execute(Run("/bin/echo", "alive")).stdout == "alive\n"


def test_a_stop_in_the_middle_of_a_transfer_leaves_nothing_here(here, published):
    with LocalGolem([SLOW], chain=False) as network, running(network, stop_grace=0.5) as instance:
        instance.execute(Run.shell("head -c 60000000 /dev/zero > /golem/work/x"))
        caught: list[BaseException] = []

        def fetch():
            try:
                instance.execute(Download("/golem/work/x", "x"))
            except BatchLost as error:
                caught.append(error)

        fetcher = threading.Thread(target=fetch)
        fetcher.start()
        under_way(published, 0)
        instance.stop(wait=True, timeout=60)
        fetcher.join(SECONDS)
        assert len(caught) == 1
    assert list(here.iterdir()) == []


def test_a_transfer_that_takes_too_long_is_given_up_and_the_next_batch_runs(here):
    Path("sent").write_bytes(bytes(60_000_000))
    with LocalGolem([SLOW], chain=False) as network, running(network) as instance:
        instance.execute(Run.shell("head -c 60000000 /dev/zero > /golem/work/big"))
        for command in (Upload("sent", "/golem/work/x"), Download("/golem/work/big", "x")):
            with pytest.raises(BatchTimeout, match="^" + re.escape(repr(command))):
                instance.execute(command, timeout=1.0)
            assert [path.name for path in here.iterdir()] == ["sent"]
            assert instance.execute(Run("/bin/echo", "next"), timeout=20).stdout == "next\n"


FULL_DISK = """
import os, sys
from simple_golem import Download, Golem, Run, Service
from simple_golem.errors import BadLocalFile
with Golem(budget=1) as golem:
    instance, = golem.run_service(Service).wait_until_running(timeout=60)
    instance.execute(Run.shell("head -c 4000000 /dev/zero > /golem/work/x"))
    try:
        instance.execute(Download("/golem/work/x", "x"))
    except BadLocalFile as error:
        print(error)
    print(os.listdir("."))
    print(instance.execute(Run("/bin/echo", "alive")).stdout)
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare here")
def test_a_full_disk_of_this_machine_is_told_and_nothing_is_left_on_it(network, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(FULL_DISK)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {disk} && cd {disk} && exec {sys.executable} {script}"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount],
        env={
            **os.environ,
            **network.environment,
            "PYTHONPATH": str(Path(simple_golem.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{disk}/x can't be written: No space left on device\n[]\nalive\n\n"
