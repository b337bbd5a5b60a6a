"""The journal: written line by line, read back after a kill, and gone once nothing is left to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from simple_golem.background.file_lock import FileLock, is_locked
from simple_golem.engine.payment.account import Account
from simple_golem.engine.payment.journal import (
    FOLDER_VARIABLE,
    Journal,
    journal_path,
    journals_of,
    read_journal,
    state_folder,
)
from simple_golem.engine.payment.journal_record import JournalOwner
from simple_golem.model.offers.offer import Offer
from tests.helpers.unmeasured import own_environment
from tests.helpers.written_answers.sample_offers import NOON, offered

ROOT = Path(__file__).resolve().parents[4]
WHOSE = JournalOwner("http://127.0.0.1:7465", "0xreq", "erc20-hoodi-tglm")
SUSPENDED = {
    "name": "Hello-1",
    "agreement_id": "a1",
    "activity_id": "act1",
    "app_session_id": "s1",
    "allocation_id": "al1",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def begun(session: str = "s1", whose: JournalOwner = WHOSE) -> Journal:
    journal = Journal.create(whose, session)
    assert journal is not None
    return journal


def agreement(name: str = "a1") -> Mapping[str, Any]:
    return Account.made(name, Offer.of("0xp", offered()), "Hello", "Hello-1", NOON).to_json()


def lines(session: str = "s1") -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal_path(session).read_text().splitlines()]


def killed(journal: Journal) -> None:
    """Let go of the lock as the end of the process does it, with the file as it is."""
    assert journal._file is not None
    os.close(journal._file)
    journal._file = None
    journal._lock.release()


# writing


def test_a_journal_says_whose_it_is_in_its_first_line() -> None:
    journal = begun()
    assert lines() == [
        {
            "is": "session",
            "version": 1,
            "id": "s1",
            "api_url": "http://127.0.0.1:7465",
            "node_id": "0xreq",
            "platform": "erc20-hoodi-tglm",
        }
    ]
    journal.close()


def test_every_line_is_on_disk_at_once() -> None:
    journal = begun()
    journal.write("allocation planned", until=NOON.isoformat())
    assert lines()[-1] == {"is": "allocation planned", "until": NOON.isoformat()}
    journal.write("allocation", id="al1")
    assert lines()[-1] == {"is": "allocation", "id": "al1"}
    journal.close()


def test_nobody_else_can_read_a_journal(folder: Path) -> None:
    journal = begun()
    assert journal.path.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    journal.close()


def test_a_folder_that_can_not_be_written_to_is_told_of_and_the_session_goes_on(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file is in its place")
    assert Journal.create(WHOSE, "s1") is None
    assert FOLDER_VARIABLE in caplog.text
    assert caplog.records[0].levelname == "WARNING"


def test_a_disk_that_is_full_is_told_of_once_and_the_session_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun()

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        journal.write("allocation", id="al1")
        journal.write("allocation", id="al2")
    assert [record.message for record in caplog.records if "No space left" in record.message]
    assert len(caplog.records) == 1
    assert journal.record.allocations == ["al1", "al2"]
    journal.close()


def test_what_a_full_disk_did_not_take_is_written_when_there_is_room_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, write, room = begun(), os.write, 0

    def almost_full(file: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        written = write(file, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", almost_full)
    # It is full in the middle of a line, and in the middle of a later one once more.
    for number, more in enumerate([10, 0, 70, 0, 5, 1000]):
        room += more
        journal.write("allocation", id=f"al{number}")
    found = read_journal(journal.path)
    assert found is not None
    assert found.allocations == [f"al{number}" for number in range(6)]
    assert len(caplog.records) == 1
    room = 0
    journal.write("allocation", id="last")
    room = 1000
    journal.close()
    found = read_journal(journal.path)
    assert found is not None
    assert found.allocations[-1] == "last"


def test_of_a_journal_that_can_not_be_written_at_all_a_part_is_kept(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun()
    before = journal.path.read_bytes()

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        patched.setattr("simple_golem.engine.payment.journal._MOST_UNWRITTEN_BYTES", 100)
        for number in range(10):
            journal.write("allocation", id=f"al{number}")
    # From then on the lines would not follow on those before.
    journal.write("allocation", id="more")
    assert journal.path.read_bytes() == before
    assert [message for message in caplog.messages if "is given up" in message]
    assert len(caplog.records) == 2
    journal.close()


def test_a_disk_that_takes_a_part_of_a_line_gets_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    journal, write = begun(), os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, data: write(file, data[:7]))
        journal.write("allocation", id="al1")
    found = read_journal(journal.path)
    assert found is not None
    assert found.allocations == ["al1"]
    journal.close()


# the lock


def test_a_journal_is_locked_as_long_as_its_session_lives() -> None:
    journal = begun()
    assert is_locked(journal.path.with_suffix(".lock"))
    assert Journal.open_dead(journal.path) is None
    journal.write("allocation", id="al1")
    journal.close()
    taken = Journal.open_dead(journal.path)
    assert taken is not None
    assert taken.record.allocations == ["al1"]
    assert Journal.open_dead(journal.path) is None
    taken.close()


def test_a_journal_whose_session_ends_at_that_moment_leaves_no_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journal = begun()

    def ended_meanwhile(path: Path, **options: bool) -> FileLock:
        journal.close()
        return FileLock(path, **options)

    monkeypatch.setattr("simple_golem.engine.payment.journal.FileLock", ended_meanwhile)
    assert Journal.open_dead(journal.path) is None
    assert list(journal.path.parent.iterdir()) == []


def test_the_lock_ends_with_a_process_that_is_killed() -> None:
    script = (
        "import os, signal\n"
        "from simple_golem.engine.payment.journal import Journal\n"
        "from simple_golem.engine.payment.journal_record import JournalOwner\n"
        f"journal = Journal.create({WHOSE!r}, 's1')\n"
        "journal.write('allocation', id='al1')\n"
        "assert Journal.open_dead(journal.path) is None\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.returncode == -9, run.stderr
    taken = Journal.open_dead(journal_path("s1"))
    assert taken is not None
    assert taken.record.allocations == ["al1"]
    taken.write("allocation released", id="al1")
    taken.close()


def test_a_journal_that_is_none_is_not_taken_over(folder: Path) -> None:
    folder.mkdir()
    journal_path("s1").write_text("no journal\n")
    assert Journal.open_dead(journal_path("s1")) is None
    assert not is_locked(journal_path("s1").with_suffix(".lock"))


# reading


def test_a_last_line_that_was_cut_off_is_left_out_and_what_follows_is_not() -> None:
    journal = begun()
    journal.write("allocation", id="al1")
    killed(journal)
    with journal.path.open("ab") as file:
        file.write(b'{"is": "allocation", "i')
    assert (found := read_journal(journal.path)) is not None
    assert found.allocations == ["al1"]
    taken = Journal.open_dead(journal.path)
    assert taken is not None
    taken.write("allocation", id="al2")
    taken.close()
    assert (found := read_journal(journal.path)) is not None
    assert found.allocations == ["al1", "al2"]


def test_a_journal_that_was_cut_off_anywhere_says_what_its_whole_lines_say() -> None:
    journal = begun()
    for number in range(3):
        journal.write("allocation", id=f"al{number}")
    killed(journal)
    whole = journal.path.read_bytes()
    (lock,) = journal.path.parent.glob("*.lock")
    for length in range(len(whole) + 1):
        journal.path.write_bytes(whole[:length])
        taken = Journal.open_dead(journal.path)
        if taken is None:
            assert whole[:length].count(b"\n") == 0, "the first line says whose journal it is"
            continue
        # A line that lacks nothing but its end is whole.
        lines_left = len([line for line in whole[: length + 1].split(b"\n")[:-1] if line]) - 1
        assert taken.record.allocations == [f"al{number}" for number in range(lines_left)]
        taken.write("allocation", id="more")
        killed(taken)
        found = read_journal(journal.path)
        assert found is not None
        assert found.allocations == [*taken.record.allocations]
        assert found.allocations[-1] == "more"
    assert lock.exists()


_ON_A_SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
from simple_golem.engine.payment.journal import Journal, read_journal
from simple_golem.engine.payment.journal_record import JournalOwner

folder = Path(sys.argv[1])
whose = JournalOwner("http://127.0.0.1:7465", "0xreq", "erc20-hoodi-tglm")

def end_as_by_a_kill(journal):
    if journal._file is not None:
        os.close(journal._file)
    journal._lock.release()

def remount(option):
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)

subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", folder], check=True)
journal = Journal.create(whose, "s1")
for number in range(500):
    journal.write("allocation", id=f"al{number}")
assert len(journal.record.allocations) == 500
found = read_journal(journal.path)
kept = found.allocations
assert 100 < len(kept) < 500
assert kept == [f"al{number}" for number in range(len(kept))]
assert not journal.path.read_bytes().endswith(b"\\n"), "the disk was full in the middle of a line"
end_as_by_a_kill(journal)

# The disk is full for the next session, too; it ends all that it knows of, and the journal is deleted.
taken = Journal.open_dead(journal.path)
assert taken.record.allocations == kept
for one in kept:
    taken.write("allocation released", id=one)
taken.close()
assert list(folder.iterdir()) == []

killed = Journal.create(whose, "s2")
killed.write("allocation", id="al1")
end_as_by_a_kill(killed)
remount("ro")
assert Journal.create(whose, "s3") is None
try:
    Journal.open_dead(killed.path)
except OSError as error:
    assert "Read-only file system" in str(error), error
else:
    raise AssertionError("a journal in a read-only folder was opened")
remount("rw")
taken = Journal.open_dead(killed.path)
assert taken.record.allocations == ["al1"]
taken.write("allocation released", id="al1")
taken.close()

# There is room again before the session ends: all lines are there.
lives = Journal.create(whose, "s4")
for number in range(500):
    lives.write("allocation", id=f"al{number}")
assert len(read_journal(lives.path).allocations) < 500
remount("size=1m")
lives.write("allocation", id="last")
assert read_journal(lives.path).allocations == lives.record.allocations
end_as_by_a_kill(lives)
"""


def test_a_disk_that_is_full_and_one_that_is_read_only_are_survived(tmp_path: Path) -> None:
    # In namespaces of its own, where everybody may mount a small disk.
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system in a namespace of their own")
    environment = own_environment()
    done = subprocess.run(
        [*alone, sys.executable, "-c", _ON_A_SMALL_DISK, str(tmp_path)],
        env={**environment, FOLDER_VARIABLE: str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("can't be written: ") == 3
    assert done.stderr.count("no journal can be kept") == 1


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "[]",
        "7",
        '"text"',
        "{}",
        '{"is": "agreement"}',
        '{"is": "budget", "amount": "much"}',
        "\udcff",
    ],
    ids=str,
)
def test_a_line_that_can_not_be_read_is_passed_over(line: str) -> None:
    journal = begun()
    killed(journal)
    with journal.path.open("ab") as file:
        file.write(line.encode(errors="surrogateescape") + b"\n")
        file.write(b'{"is": "allocation", "id": "al1"}\n')
    assert (found := read_journal(journal.path)) is not None
    assert found.allocations == ["al1"]


def test_a_line_of_a_later_version_is_passed_over() -> None:
    journal = begun()
    journal.write("something new", id="x")
    journal.write("allocation", id="al1")
    assert (found := read_journal(journal.path)) is not None
    assert found == journal.record
    journal.close()


def test_a_file_that_does_not_exist_is_not_a_journal() -> None:
    assert read_journal(journal_path("s1")) is None


def test_all_that_a_session_wrote_is_read_back() -> None:
    journal = begun()
    for number in range(2):
        journal.write("agreement", **agreement(f"a{number}"))
        journal.write("activity", agreement=f"a{number}", id=f"act{number}", began=NOON.isoformat())
    ended = (NOON + timedelta(seconds=9)).isoformat()
    journal.write("activity ended", agreement="a1", id="act1", at=ended)
    journal.write("agreement ended", id="a1")
    journal.write("budget", amount="1.5")
    journal.write("invoice answered", agreement="a0", paid="0.25")
    killed(journal)
    found = read_journal(journal.path)
    assert found == journal.record
    assert found is not None
    assert (found.owner, found.session_id, found.budget) == (WHOSE, "s1", Decimal("1.5"))
    assert (found.open, found.owed, found.paid) == ({"a0"}, {"a1"}, Decimal("0.25"))
    assert found.accounts["a1"].activities["act1"].seconds() == 9
    assert found.accounts["a0"].prices == Offer.of("0xp", offered()).prices


# what is left to do

Step = Callable[[Journal], None]


def write(kind: str, **what: Any) -> Step:
    return lambda journal: journal.write(kind, **what)


PLANNED = write("allocation planned", until=NOON.isoformat())
ALLOCATED = write("allocation", id="al1")
RELEASED = write("allocation released", id="al1")
AGREED = write("agreement", **agreement())
ENDED = write("agreement ended", id="a1")
ACTIVE = write("activity", agreement="a1", id="act1", began=NOON.isoformat())
ANSWERED = write("invoice answered", agreement="a1", paid="0.1")


@pytest.mark.parametrize(
    "steps",
    [
        [PLANNED],
        [PLANNED, ALLOCATED],
        [AGREED],
        [AGREED, ACTIVE],
        [AGREED, ACTIVE, ENDED],
        [AGREED, ACTIVE, ANSWERED],
        [AGREED, ACTIVE, write("suspended", **SUSPENDED), ENDED, ANSWERED, ALLOCATED],
    ],
    ids=["planned", "allocated", "agreed", "active", "owed", "not ended", "allocated still"],
)
def test_a_journal_with_something_left_to_do_is_kept(steps: list[Step]) -> None:
    journal = begun()
    for step in steps:
        step(journal)
    assert not journal.record.is_settled
    journal.close()
    assert journal.path.exists()
    assert not is_locked(journal.path.with_suffix(".lock"))


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [PLANNED, write("allocation not made")],
        [PLANNED, ALLOCATED, RELEASED],
        [PLANNED, ALLOCATED, AGREED, ENDED, RELEASED],
        [PLANNED, ALLOCATED, AGREED, ACTIVE, ENDED, ANSWERED, RELEASED],
        [AGREED, ACTIVE, write("suspended", **SUSPENDED), write("resumed", id="a1"), ENDED, ANSWERED],
    ],
    ids=["nothing", "refused", "released", "no activity", "all", "resumed"],
)
def test_a_settled_journal_is_deleted_with_its_lock(folder: Path, steps: list[Step]) -> None:
    journal = begun()
    for step in steps:
        step(journal)
    journal.close()
    assert list(folder.iterdir()) == []


def test_closing_twice_is_closing_once() -> None:
    journal = begun()
    journal.write("allocation", id="al1")
    journal.close()
    journal.close()
    taken = Journal.open_dead(journal.path)
    assert taken is not None
    taken.close()


# whose journals


def test_only_journals_of_the_same_daemon_identity_and_platform_are_ones_own(folder: Path) -> None:
    assert list(journals_of(WHOSE)) == []
    others = {
        "s2": JournalOwner("http://other", WHOSE.node_id, WHOSE.platform),
        "s3": JournalOwner(WHOSE.api_url, "0xother", WHOSE.platform),
        "s4": JournalOwner(WHOSE.api_url, WHOSE.node_id, "erc20-polygon-glm"),
    }
    for session, whose in {"s1": WHOSE, **others}.items():
        journal = begun(session, whose)
        journal.write("allocation", id="al1")
        journal.close()
    (folder / "other.txt").write_text("no journal")
    (folder / "broken.jsonl").write_text("no journal")
    assert list(journals_of(WHOSE)) == [journal_path("s1")]


def test_journals_are_in_the_users_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "  ")
    assert state_folder() == Path(platformdirs.user_state_dir("simple_golem")) / "sessions"


def test_a_planned_allocation_is_known_by_its_end() -> None:
    journal = begun()
    until = datetime(2026, 11, 25, 4, 0, 0, 123456, tzinfo=timezone.utc)
    journal.write("allocation planned", until=until.isoformat())
    killed(journal)
    assert (found := read_journal(journal.path)) is not None
    assert found.planned == [until]
