"""A batch with files: what is sent for it, and what becomes of its results."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simple_golem import (
    CommandFailed,
    Download,
    DownloadBytes,
    Result,
    Results,
    Run,
    Upload,
    UploadBytes,
    UploadFromUrl,
)
from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.files import web_files
from simple_golem.engine.files.file_batch import FileBatch
from simple_golem.engine.files.local_files import FileEnd, Refusal
from simple_golem.engine.files.publisher import Publication
from simple_golem.errors import BadLocalFile, TransferFailed
from simple_golem.model.commands.commands import Command, Transfer
from simple_golem.model.commands.failure import command_failed
from simple_golem.model.events.event import Event

NODE = "0x" + "ab" * 20
NOBODY = 65534


class Bus:
    """Publishes files without a daemon."""

    def __init__(self) -> None:
        self.published: dict[str, Publication] = {}
        self.withdrawn: list[Publication] = []
        self.answers = True
        self.asked = 0

    def publish(self, end: FileEnd, scope: Scope) -> Publication:
        publication = Publication(end, NODE)
        self.published[publication.url] = publication
        return publication

    def refuse(self, publications: list[Publication]) -> None:
        for publication in publications:
            publication.withdrawn = True

    def withdraw(self, publication: Publication, ask: bool) -> bool:
        publication.end.close()
        self.withdrawn.append(publication)
        self.asked += ask
        return self.answers


class Provider:
    """Transfers as an exe-unit would, from and to files in a dict; what is run is told to a function."""

    def __init__(self, bus: Bus, run: Callable[[Run], Result] = lambda command: Result()) -> None:
        self.bus = bus
        self.files: dict[str, bytes] = {}
        self.batches: list[tuple[Command, ...]] = []
        self.known_as: list[tuple[Command, ...]] = []
        self.fail_next: Callable[[Publication], object] | None = None
        self._run = run

    def send(self, steps: tuple[Command, ...], known_as: tuple[Command, ...]) -> Results:
        self.batches.append(steps)
        self.known_as.append(known_as)
        results: list[Result] = []
        for index, step in enumerate(steps):
            result = self._transfer(step) if isinstance(step, Transfer) else self._run(step)
            results.append(
                Result(stdout=result.stdout, success=result.success, message=result.message, index=index)
            )
            if not result.success:
                raise command_failed(results, steps, "prov-1 (0x1)")
        return Results(results)

    def _transfer(self, step: Transfer) -> Result:
        url, path = (
            (step.source, step.target) if step.source in self.bus.published else (step.target, step.source)
        )
        publication = self.bus.published[url]
        if self.fail_next is not None:
            fail, self.fail_next = self.fail_next, None
            fail(publication)
            return Result(success=False, message="GSB error: closed")
        try:
            if url == step.source:
                self.files[path] = self._fetched(publication.end)
            elif path not in self.files:
                return Result(success=False, message="IO error: No such file or directory (os error 2)")
            else:
                self._sent(publication.end, self.files[path])
        except Refusal as refusal:
            return Result(success=False, message=f"gftp error: {refusal}")
        return Result()

    def _fetched(self, end: FileEnd) -> bytes:
        answer: Any = end.answer("GetMetadata", {})
        size = answer["fileSize"]
        pieces: list[Any] = [
            end.answer("GetChunk", {"offset": at, "size": 5000}) for at in range(0, size, 5000)
        ]
        return b"".join(piece["content"] for piece in pieces)

    def _sent(self, end: FileEnd, content: bytes) -> None:
        for at in range(0, len(content), 5000):
            end.answer("UploadChunk", {"chunk": {"offset": at, "content": content[at : at + 5000]}})
        end.answer("UploadFinished", {"hash": hashlib.sha3_256(content).hexdigest()})


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, the current one, of a user that may not do everything: for root that is another."""
    with tempfile.TemporaryDirectory() as made, monkeypatch.context() as patch:
        home = Path(made, "home")
        home.mkdir()
        patch.chdir(home)
        Path(made).chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.chown(home, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield home
        finally:
            if root:
                os.seteuid(0)
            Path(made).chmod(0o755)


class EndsSoon(Scope):
    """A scope that is cancelled as it is asked for the last of so many times."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self._left = asked

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.cancel("its time is over")
        super().check()


def run(
    bus: Bus, provider: Provider, *commands: Command, scope: Scope | None = None, unsent: Scope | None = None
) -> Results:
    events: list[Event] = []
    scope, unsent = scope or Scope(), unsent or Scope()
    with FileBatch(commands, bus, "Service-1", events.append, scope, unsent) as files:  # type: ignore[arg-type]
        return files.run(provider.send)


def test_transfers_are_sent_in_the_place_of_the_commands(bus, here):
    Path("in").write_bytes(b"content")
    provider = Provider(bus)
    commands = (Upload("in", "/golem/ż"), Run("/bin/true"), Download("/golem/ż", "out"))
    results = run(bus, provider, *commands)
    (steps,) = provider.batches
    up, down = bus.published
    assert steps == (
        Transfer(up, "container:/golem/%C5%BC"),
        Run("/bin/true"),
        Transfer("container:/golem/%C5%BC", down),
    )
    assert up.startswith(f"gftp://{NODE}/")
    assert [(one.index, one.command) for one in results] == list(enumerate(commands))
    assert Path("out").read_bytes() == b"content"
    assert list(bus.published.values()) == bus.withdrawn[::-1]


def test_a_folder_is_packed_and_unpacked_by_steps_that_nobody_sees(bus, here):
    Path("in/sub").mkdir(parents=True)
    Path("in/sub/a").write_text("a")
    provider = Provider(bus)
    results = run(bus, provider, Run("/bin/true"), Upload("in", "/golem/in"), Run("/bin/date"))
    assert [one.index for one in results] == [0, 1, 2]
    first, transfer, unpack, last = provider.batches[0]
    assert isinstance(transfer, Transfer)
    archive = transfer.target.removeprefix("container:")
    assert archive.startswith("/golem/in/.simple-golem-")
    assert isinstance(unpack, Run)
    assert unpack.args[2:] == (archive, "/golem/in")
    assert (first, last) == (Run("/bin/true"), Run("/bin/date"))
    assert provider.known_as == [(first, Upload("in", "/golem/in"), Upload("in", "/golem/in"), last)]
    with tarfile.open(fileobj=io.BytesIO(provider.files[transfer.target])) as tar:
        assert sorted(tar.getnames()) == [".", "./sub", "./sub/a"]


def archive_of(**files: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("_", "/"))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def fetch_folder(bus: Bus, archive: bytes, local: str = "out", **scopes: Scope) -> Results:
    provider = Provider(bus)

    def pack(command: Run) -> Result:
        if command.program == "/bin/sh":
            provider.files["container:" + command.args[2]] = archive
        return Result()

    provider._run = pack
    return run(bus, provider, Download("/golem/out/", local), **scopes)


def test_a_folder_comes_back_into_what_is_there(bus, here):
    Path("out/sub").mkdir(parents=True)
    Path("out/sub/old").write_text("old")
    fetch_folder(bus, archive_of(a=b"a", sub_b=b"b"))
    assert Path("out/a").read_text() == "a"
    assert Path("out/sub/b").read_text() == "b"
    assert Path("out/sub/old").read_text() == "old"
    assert [path.name for path in here.iterdir()] == ["out"]


def test_a_folder_of_ones_own_is_enough_wherever_it_lies(bus, ours):
    Path("old").write_text("old")
    fetch_folder(bus, archive_of(a=b"a", sub_b=b"b"), ".")
    assert sorted(path.name for path in ours.iterdir()) == ["a", "old", "sub"]
    with pytest.raises(TransferFailed):
        fetch_folder(bus, b"no archive" * 1000, ".")
    assert sorted(path.name for path in ours.iterdir()) == ["a", "old", "sub"]


def test_a_folder_that_can_not_be_written_is_told_before_anything_is_sent(bus, ours):
    Path("kept").mkdir(mode=0o555)
    with pytest.raises(BadLocalFile, match="kept can't be written: Permission denied"):
        fetch_folder(bus, archive_of(a=b"a"), "kept")
    assert bus.published == {}
    assert [path.name for path in ours.iterdir()] == ["kept"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory here")
def test_a_folder_may_be_the_root_of_another_disk(bus, here):
    """As a mount would need rights, what lies in the folder's parent is on another disk by a link."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        Path("out").symlink_to(disk)
        assert Path(disk).stat().st_dev != here.stat().st_dev
        fetch_folder(bus, archive_of(a=b"a"))
        assert [path.name for path in Path(disk).iterdir()] == ["a"]
    assert [path.name for path in here.iterdir()] == ["out"]


PACKED_LINKS = (
    ("first", "again", tarfile.LNKTYPE),
    ("sub/none", "lost", tarfile.LNKTYPE),
    ("../../etc/passwd", "out", tarfile.LNKTYPE),
    ("sub/a", "to a file", tarfile.SYMTYPE),
    ("../first", "sub/up", tarfile.SYMTYPE),
    ("sub", "to a folder", tarfile.SYMTYPE),
    ("..", "sub/top", tarfile.SYMTYPE),
    ("/etc/passwd", "absolute", tarfile.SYMTYPE),
    ("../x", "above", tarfile.SYMTYPE),
    ("../../x", "sub/above", tarfile.SYMTYPE),
    # Together with the one to the top this would lead out.
    ("sub/top/../x", "crooked", tarfile.SYMTYPE),
    ("", "pipe", tarfile.FIFOTYPE),
)


def test_links_in_a_folder_come_if_they_stay_in_it_and_the_others_are_named(bus, here, caplog):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        # A link may come before what it points to; a further name of a file never does.
        for linked, name, kind in reversed(PACKED_LINKS):
            if kind != tarfile.LNKTYPE:
                add_link(tar, linked, name, kind)
        for name, content in (("first", b"1"), ("sub/a", b"a")):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
        for linked, name, kind in PACKED_LINKS:
            if kind == tarfile.LNKTYPE:
                add_link(tar, linked, name, kind)
    with caplog.at_level("WARNING"):
        fetch_folder(bus, data.getvalue())
    assert {path.name for path in Path("out").iterdir()} == {
        "first",
        "again",
        "sub",
        "to a file",
        "to a folder",
    }
    assert {path.name for path in Path("out/sub").iterdir()} == {"a", "up", "top"}
    assert Path("out/again").read_bytes() == Path("out/first").read_bytes() == b"1"
    assert os.access("out/again", os.X_OK)
    assert not Path("out/again").samefile("out/first")
    assert Path("out/sub/up").read_bytes() == b"1"
    assert Path("out/to a folder/a").read_bytes() == Path("out/to a file").read_bytes() == b"a"
    told = sorted(record.getMessage() for record in caplog.records)
    assert [message.partition(" is ")[0] for message in told] == [
        "above",
        "absolute",
        "crooked",
        "lost",
        "out",
        "pipe",
        "sub/above",
    ]
    assert [message for message in told if "neither a file nor a folder nor a link" in message] == [told[5]]
    # And once more over the ones that came.
    fetch_folder(bus, data.getvalue())
    assert Path("out/to a file").is_symlink()
    assert sorted(path.name for path in here.iterdir()) == ["out"]


def add_link(tar: tarfile.TarFile, linked: str, name: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, linked
    tar.addfile(member)


@pytest.mark.parametrize("linked", ["a\0b", "x" * 5000, "link"])
def test_a_link_that_can_not_be_made_harms_nothing_else(bus, here, linked):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        add_link(tar, linked, "link", tarfile.SYMTYPE)
        tar.addfile(tarfile.TarInfo("file"))
    try:
        fetch_folder(bus, data.getvalue())
    except TransferFailed:
        assert list(here.iterdir()) == []
    else:
        assert Path("out/file").exists()


@pytest.mark.parametrize("asked", [2, 5, 20])
def test_packing_a_folder_ends_with_its_scope_between_files_and_within_one(bus, here, asked):
    Path("in").mkdir()
    for name in "abc":
        Path("in", name).write_bytes(bytes(200_000))
    with pytest.raises(ScopeEnded, match="its time is over"):
        run(bus, Provider(bus), Upload("in", "/golem/in"), unsent=EndsSoon(asked))
    assert bus.published == {}


@pytest.mark.parametrize("asked", [1, 2, 5, 8])
def test_unpacking_a_folder_ends_with_its_scope_and_leaves_nothing_half_there(bus, here, asked):
    content = bytes(900_000)
    with pytest.raises(ScopeEnded, match="its time is over"):
        fetch_folder(bus, archive_of(a=content, b=content), scope=EndsSoon(asked))
    assert all(path.read_bytes() == content for path in Path("out").glob("*"))
    assert {path.name for path in here.iterdir()} <= {"out"}


def test_a_stop_does_not_end_the_unpacking_of_what_has_come(bus, here):
    unsent = Scope()
    provider = Provider(bus)

    def stop_and_pack(command: Run) -> Result:
        unsent.cancel("stopped, with some grace")
        if command.program == "/bin/sh":
            provider.files["container:" + command.args[2]] = archive_of(a=b"a")
        return Result()

    provider._run = stop_and_pack
    run(bus, provider, Download("/golem/out/", "out"), unsent=unsent)
    assert Path("out/a").read_text() == "a"


def test_a_link_to_a_folder_that_it_lies_in_is_left_out(bus, here, caplog):
    Path("in/sub").mkdir(parents=True)
    Path("in/sub/a").write_text("a")
    for name in ("one", "two"):
        Path("in/sub", name).symlink_to("..")
    provider = Provider(bus)
    run(bus, provider, Upload("in", "/golem/in"))
    (archive,) = provider.files.values()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == [".", "./sub", "./sub/a"]
    assert "in/sub/two is left out: it is a link to a folder that contains it" in caplog.text


@pytest.mark.parametrize("name", [".._x", "a_.._.._x", "_etc_x"])
def test_an_archive_with_paths_outside_is_refused(bus, here, name):
    with pytest.raises(TransferFailed, match="which is outside the folder"):
        fetch_folder(bus, archive_of(**{name: b"x"}))
    assert list(here.iterdir()) == []


def test_no_archive_is_refused(bus, here):
    with pytest.raises(TransferFailed, match="can't be read"):
        fetch_folder(bus, b"this is no archive" * 100)
    assert list(here.iterdir()) == []


def test_a_failure_is_that_of_the_users_command_and_what_came_before_is_kept(bus, here):
    provider = Provider(bus)
    provider.files["container:/golem/a"] = b"a"
    commands = (Download("/golem/a", "a"), Download("/golem/none", "none"), Run("/bin/true"))
    with pytest.raises(CommandFailed, match=r"^Download\('/golem/none', 'none'\) failed on prov-1") as caught:
        run(bus, provider, *commands)
    assert caught.value.command == commands[1]
    assert [one.success for one in caught.value.results] == [True, False]
    assert [path.name for path in here.iterdir()] == ["a"]
    assert len(bus.withdrawn) == 2


def test_trouble_of_this_machine_is_told_as_such(bus, here):
    Path("in").write_bytes(bytes(20_000))
    provider = Provider(bus)
    provider.fail_next = lambda publication: setattr(
        publication.end, "trouble", BadLocalFile("the disk is gone")
    )
    with pytest.raises(BadLocalFile, match="the disk is gone") as caught:
        run(bus, provider, Upload("in", "/golem/in"))
    assert isinstance(caught.value.__cause__, CommandFailed)


def lose(publication: Publication) -> None:
    publication.lost += 1


def test_a_transfer_that_lost_its_websocket_is_repeated_with_the_following_commands(bus, here):
    provider = Provider(bus, lambda command: Result(stdout="once"))
    provider.fail_next = lose
    commands = (Run("/bin/date"), UploadBytes(b"x", "/golem/x"), DownloadBytes("/golem/x"))
    results = run(bus, provider, *commands)
    assert [len(steps) for steps in provider.batches] == [3, 2]
    assert provider.known_as == [commands, commands[1:]]
    assert [(one.index, one.command) for one in results] == list(enumerate(commands))
    assert (results[0].stdout, results[2].data) == ("once", b"x")


def test_a_transfer_that_failed_for_another_reason_is_not_repeated(bus):
    provider = Provider(bus)
    provider.fail_next = lambda publication: None
    with pytest.raises(CommandFailed, match="GSB error: closed"):
        run(bus, provider, UploadBytes(b"x", "/golem/x"))
    assert len(provider.batches) == 1


def test_a_websocket_that_is_lost_each_time_ends_it(bus):
    provider = Provider(bus)

    def always(publication: Publication) -> None:
        provider.fail_next = always
        lose(publication)

    provider.fail_next = always
    with pytest.raises(CommandFailed, match="GSB error: closed"):
        run(bus, provider, UploadBytes(b"x", "/golem/x"))
    assert len(provider.batches) == 3


def test_a_provider_that_reports_success_without_a_file_is_an_error(bus, here):
    with (
        FileBatch(
            [Download("/golem/x", "x")], bus, "Service-1", lambda event: None, Scope(), Scope()
        ) as files,
        pytest.raises(TransferFailed, match=r"Download\('/golem/x', 'x'\): the provider did not send"),
    ):
        files.run(lambda steps, known_as: Results([Result()]))
    assert list(here.iterdir()) == []


def test_a_path_in_the_home_folder_that_nobody_expands_is_told(bus, here):
    with pytest.raises(
        BadLocalFile, match=r"/~/none does not exist; ~ means nothing here: write os\.path\.exp"
    ):
        FileBatch([Upload("~/none", "/golem/x")], bus, "Service-1", lambda event: None, Scope(), Scope())


def test_a_local_file_that_can_not_be_used_is_an_error_before_anything_is_published(bus, here):
    with pytest.raises(BadLocalFile, match="none does not exist"):
        FileBatch(
            [Download("/golem/x", "x"), Upload("none", "/golem/x")],
            bus,
            "Service-1",
            lambda event: None,
            Scope(),
            Scope(),
        )
    assert bus.published == {}
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("answers", "asked"), [(True, 3), (False, 1)])
def test_a_daemon_that_has_stalled_is_waited_for_once_and_not_for_each_file(bus, here, answers, asked):
    bus.answers = answers
    provider = Provider(bus)
    run(bus, provider, *(UploadBytes(b"x", f"/golem/{name}") for name in "abc"))
    assert (len(bus.withdrawn), bus.asked) == (3, asked)


@pytest.mark.parametrize(
    "command",
    [
        Upload("a" * 300, "/golem/x"),
        Download("/golem/x", "a" * 300),
        Download("/golem/x/", "a" * 300),
        Upload("loop", "/golem/x"),
        Download("/golem/x", "\ud800"),
        Upload("closed/x", "/golem/x"),
        Download("/golem/x", "closed/x"),
        Download("/golem/x", "closed/sub/x"),
        Download("/golem/x/", "closed/x"),
    ],
    ids=lambda command: repr(command)[:30].encode("ascii", "replace").decode(),
)
def test_a_path_that_can_not_even_be_looked_at_is_told_as_what_it_is(bus, ours, command):
    Path("loop").symlink_to("loop")
    Path("closed").mkdir(mode=0o000)
    with pytest.raises(BadLocalFile) as caught:
        run(bus, Provider(bus), command)
    assert str(caught.value).startswith(repr(command))
    assert bus.published == {}
    assert sorted(path.name for path in ours.iterdir()) == ["closed", "loop"]


def test_a_file_that_does_not_say_its_length_is_not_sent_as_an_empty_one(bus, here):
    with pytest.raises(BadLocalFile, match="the size of /proc/cpuinfo is unknown"):
        run(bus, Provider(bus), Upload("/proc/cpuinfo", "/golem/x"))


def test_an_error_while_it_is_published_leaves_nothing(here):
    class Broken(Bus):
        def publish(self, end: FileEnd, scope: Scope) -> Publication:
            if self.published:
                raise ConnectionError("the daemon is gone")
            return super().publish(end, scope)

    bus = Broken()
    with pytest.raises(ConnectionError):
        FileBatch(
            [Download("/a", "a"), Download("/b", "b")], bus, "Service-1", lambda event: None, Scope(), Scope()
        )
    assert list(bus.published.values()) == bus.withdrawn
    assert list(here.iterdir()) == []


# --- what is removed again ---------------------------------------------------------------------------


def fails(publication: Publication) -> None:
    """The next transfer fails, with its connection alive."""


def test_an_archive_that_was_sent_halfway_is_removed(bus, here):
    Path("in").mkdir()
    provider = Provider(bus)
    provider.fail_next = fails
    with pytest.raises(CommandFailed, match=r"Upload\('in', '/golem/in'\) failed"):
        run(bus, provider, Upload("in", "/golem/in"), Run("/bin/never"))
    batch, cleaning = provider.batches
    assert isinstance(batch[0], Transfer)
    archive = batch[0].target.removeprefix("container:")
    assert cleaning == (Run("/bin/rm", "-f", archive),)
    assert provider.known_as[1] == (Upload("in", "/golem/in"),)


def test_an_archive_that_can_not_be_fetched_is_removed(bus, here):
    provider = Provider(bus)
    provider.fail_next = fails
    with pytest.raises(CommandFailed, match=r"Download\('/golem/out/', 'out'\) failed"):
        run(bus, provider, Download("/golem/out/", "out"))
    _pack, transfer, remove = provider.batches[0]
    assert isinstance(transfer, Transfer)
    assert provider.batches[1] == (remove,)
    assert list(here.iterdir()) == []


def test_a_removal_that_fails_hides_no_error(bus, here):
    Path("in").mkdir()
    provider = Provider(bus, run=lambda command: Result(success=False, message="gone"))
    provider.fail_next = fails
    with pytest.raises(CommandFailed, match="GSB error: closed"):
        run(bus, provider, Upload("in", "/golem/in"))
    assert len(provider.batches) == 2


def test_a_file_from_the_web_replaces_what_is_there_and_is_checked(bus):
    command = UploadFromUrl("https://golem.test/x", "/golem/work/x", size=3)
    ran: list[Command] = []
    provider = Provider(bus, run=lambda step: ran.append(step) or Result())
    (result,) = run(bus, provider, command)
    assert ran == web_files.steps(command)
    assert (result.index, result.command, result.success) == (0, command, True)
    assert provider.known_as == [(command,) * 3]


def test_a_file_from_the_web_that_did_not_come_whole_is_removed(bus):
    command = UploadFromUrl("https://golem.test/x", "/golem/work/x")

    def broken(step: Command) -> Result:
        return Result(success=step is not command, message="HTTP error: timeout")

    provider = Provider(bus, run=broken)
    with pytest.raises(CommandFailed, match=r"UploadFromUrl\('https://golem.test/x', .* HTTP error: timeout"):
        run(bus, provider, command)
    assert provider.batches[1] == (web_files.remove(command),)


def test_without_a_shell_a_file_from_the_web_is_only_fetched(bus):
    command = UploadFromUrl("https://golem.test/x", "/golem/work/x")
    provider = Provider(bus)
    with FileBatch(
        [command], bus, "Service-1", lambda event: None, Scope(), Scope(), has_shell=False
    ) as files:
        files.run(provider.send)
    assert provider.batches == [(command,)]
