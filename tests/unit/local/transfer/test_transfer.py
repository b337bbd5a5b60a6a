"""The `transfer` command, with a bus in memory and files in a real sandbox."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import tenacity
from flatbuffers import flexbuffers

from simple_golem.background.cancellation import Scope
from simple_golem.errors import BusError
from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.control.rules import Rule
from simple_golem.local.exe_unit.exe_unit import ExeUnit
from simple_golem.local.images.image_store import ImageStore
from simple_golem.local.provider.exe_unit_factory import _CommandHabits
from simple_golem.local.transfer import transfer as transfer_module
from simple_golem.local.transfer import web_files
from simple_golem.local.transfer.gftp import CALLS_AT_ONCE, CHUNK_BYTES
from simple_golem.local.transfer.progress import _seconds
from simple_golem.local.transfer.web_files import Web
from tests.unit.conftest import eventually

PROVIDER, REQUESTOR = "0x" + "a" * 40, "0x" + "b" * 40
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 12 * CHUNK_BYTES + 7)


class Answer:
    """A call that is under way on a `MemoryBus`."""

    def __init__(self, bus: MemoryBus, address: str, payload: bytes) -> None:
        self._bus, self._address, self._payload = bus, address, payload

    def data(self) -> bytes:
        return self._bus.answer(self._address, self._payload)

    def abandon(self, reason: str) -> None:
        self._bus.under_way -= 1


class MemoryBus:
    """Published files by their names, and what was asked of them."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.hashes: dict[str, str] = {}
        self.callers: set[str] = set()
        self.under_way = self.most_under_way = 0
        self.failures: list[Exception] = []
        self.refusal: object = None

    def register(self, service_id: str, handler: object) -> None: ...

    def unregister(self, service_id: str) -> None: ...

    def begin_call(self, address: str, payload: bytes, *, caller: str, timeout: float) -> Answer:
        self.callers.add(caller)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        return Answer(self, address, payload)

    def answer(self, address: str, payload: bytes) -> bytes:
        self.under_way -= 1
        if self.failures:
            raise self.failures.pop()
        start, _, rest = address.partition("/gftp/")
        assert start == f"/transfer/from/{PROVIDER}/to/{REQUESTOR}"
        name, _, message = rest.partition("/")
        if name not in self.files:
            return b""
        value = {"Err": self.refusal} if self.refusal else {"Ok": self.reply(name, message, payload)}
        return bytes(flexbuffers.Dumps(value))

    def reply(self, name: str, message: str, payload: bytes) -> object:
        request, file = flexbuffers.Loads(payload), self.files[name]
        if message == "GetMetadata":
            return {"fileSize": len(file)}
        if message == "GetChunk":
            offset = request["offset"]
            return {"offset": offset, "content": bytes(file[offset : offset + request["size"]])}
        if message == "UploadChunk":
            chunk = request["chunk"]
            file[chunk["offset"] : chunk["offset"] + len(chunk["content"])] = chunk["content"]
            return None
        self.hashes[name] = request["hash"]
        return None


class Activity:
    """An activity that is ready, and the requestor's files."""

    def __init__(self, habits: ProviderHabits | None = None) -> None:
        self.bus = MemoryBus()
        self.strikes: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.web = Web()
        self.unit = ExeUnit(
            self.bus,  # type: ignore[arg-type]
            "a" * 32,
            ImageStore(),
            None,
            lambda state: None,
            _CommandHabits(habits or ProviderHabits()),
            node_id=PROVIDER,
            on_strike=self._struck,
            web=self.web,
        )
        self.batches = 0
        self.do({"deploy": {}}, {"start": {}})

    def _struck(self, rule: Rule, what: str, text: str) -> None:
        self.strikes.append((rule.name, text))
        self.refused.append(what)

    def do(self, *commands: Any) -> Any:
        batch = self.begin(*commands)
        return self.unit._get_results({"batchId": batch, "timeout": 30.0})["Ok"]  # type: ignore[index]

    def begin(self, *commands: Any) -> str:
        self.batches += 1
        batch = f"batch-{self.batches}"
        self.unit._exec({"batchId": batch, "exeScript": list(commands)})
        return batch

    def sh(self, script: str) -> str:
        capture = {"stdout": {"stream": {}}, "stderr": {"stream": {}}}
        [result] = self.do({"run": {"entry_point": "/bin/sh", "args": ["-c", script], "capture": capture}})
        assert result["result"] == "Ok", result
        return result["stdout"] or ""

    def transfer(self, source: str, target: str, **details: Any) -> str | None:
        """Do it; returns what a requestor is told of its failure."""
        [result] = self.do({"transfer": {"from": source, "to": target, **details}})
        assert (result["message"] is None) == (result["result"] == "Ok")
        return None if result["message"] is None else str(result["message"])

    def give(self, content: bytes, target: str, **details: Any) -> str | None:
        self.bus.files["given"] = bytearray(content)
        return self.transfer(url("given"), f"container:{target}", **details)

    def take(self, source: str, **details: Any) -> bytes:
        self.bus.files["taken"] = bytearray()
        assert self.transfer(f"container:{source}", url("taken"), **details) is None
        assert self.bus.hashes["taken"] == hashlib.sha3_256(self.bus.files["taken"]).hexdigest()
        return bytes(self.bus.files["taken"])


def url(name: str) -> str:
    return f"gftp://{REQUESTOR}/{name}"


@pytest.fixture
def activity() -> Iterator[Activity]:
    activity = Activity()
    yield activity
    activity.unit.close()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "_RETRY_WAIT", tenacity.wait_fixed(0.01))


# --- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_file_comes_back_as_it_was(activity: Activity, size: int) -> None:
    content = os.urandom(size)
    assert activity.give(content, "/golem/work/file") is None
    assert activity.sh("stat -c %s /golem/work/file") == f"{size}\n"
    assert activity.take("/golem/work/file") == content
    assert (activity.bus.callers, activity.bus.under_way) == ({PROVIDER}, 0)


def test_as_many_chunks_are_under_way_as_with_the_real_exe_unit(activity: Activity) -> None:
    activity.give(bytes(20 * CHUNK_BYTES), "/golem/work/file")
    assert activity.bus.most_under_way == CALLS_AT_ONCE
    activity.bus.most_under_way = 0
    activity.take("/golem/work/file")
    assert activity.bus.most_under_way == CALLS_AT_ONCE


def test_a_file_that_is_there_is_written_anew_and_folders_are_made(activity: Activity) -> None:
    activity.give(b"a longer one", "/golem/work/deep/er/file")
    activity.give(b"short", "/golem/work/deep/er/file")
    assert activity.sh("cat /golem/work/deep/er/file") == "short"


@pytest.mark.parametrize("name", ["with space", "ü-ß-日本", "a+b&c=d;e", "new\nline", "-n", "'\"$x"])
def test_odd_names_pass(activity: Activity, name: str) -> None:
    quoted = name.replace("\n", "%0A")
    assert activity.give(b"odd", f"/golem/work/{quoted}") is None
    listed = activity.sh("cd /golem/work && for name in *; do printf '%s|' \"$name\"; done")
    assert listed == f"{name}|"
    assert activity.take(f"/golem/work/{quoted}") == b"odd"


def test_special_characters_in_a_path_are_percent_encoded(activity: Activity) -> None:
    activity.give(b"1", "/golem/work/a%23b%3Fc%25d")
    activity.give(b"2", "/golem/work/cut#off")
    assert activity.sh("ls /golem/work") == "a#b?c%d\ncut\n"


def test_a_file_can_be_copied_inside(activity: Activity) -> None:
    activity.give(b"same", "/golem/work/one")
    assert activity.transfer("/golem/work/one", "container:/golem/output/two") is None
    assert activity.sh("cat /golem/output/two") == "same"


# --- errors ------------------------------------------------------------------------------------------


# Only a volume of an activity is a folder of its provider.
OUTSIDE = ("/tmp/x", "/root/x", "/x", "/golem/x", "/etc/passwd", "/golem/workx")
REFUSED = 'HTTP error: io error: Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }'
START = "Local service error: Transfer error: "
NO_FILE = "Local service error: Transfer error: IO error: No such file or directory (os error 2)"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("container:/golem/work/none", "IO error: No such file or directory (os error 2)"),
        ("container:/golem/work", "IO error: Is a directory (os error 21)"),
        ("container:/golem/input/pipe", "IO error: Invalid argument (os error 22)"),
        *((f"container:{path}", f"IO error: path not found in container: {path}") for path in OUTSIDE),
        ("container:/golem/work/%00", "IO error: Invalid argument (os error 22)"),
        ("container:relative", "IO error: path not found in container: relative"),
        ("ftp://host/file", "Unsupported scheme: ftp"),
        ("gftp://nobody/x", "Invalid url: Invalid gftp URL"),
        (url("unpublished"), "GSB error: endpoint address not found"),
        ("http://127.0.0.1:1/x", REFUSED),
    ],
)
def test_a_source_that_can_not_be_read_is_told(activity: Activity, source: str, said: str) -> None:
    activity.sh("mkfifo /golem/input/pipe")
    message = activity.transfer(source, "container:/golem/work/target")
    assert message is not None
    assert message.startswith(f"Local service error: Transfer error: {said}")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        *((f"container:{path}", f"IO error: path not found in container: {path}") for path in OUTSIDE),
        ("container:/golem/work/here/below", "IO error: File exists (os error 17)"),
        ("container:/golem/work", "IO error: Is a directory (os error 21)"),
        (url("unpublished"), "GSB error: endpoint address not found"),
        ("https://127.0.0.1:1/x", REFUSED),
    ],
)
def test_a_target_that_can_not_be_written_is_told(activity: Activity, target: str, said: str) -> None:
    activity.give(b"content", "/golem/work/here")
    message = activity.transfer("container:/golem/work/here", target)
    assert message is not None
    assert message.startswith(f"Local service error: Transfer error: {said}")


def test_only_folders_of_the_providers_host_can_be_transferred_to() -> None:
    activity = Activity()
    kinds = {"/host": {"host": {}}, "/disk": {"storage": {"size": 1024}}, "/ram": {"ram": {"size": 1024}}}
    activity.do({"terminate": {}}, {"deploy": {"volumes": kinds}}, {"start": {}})
    try:
        assert activity.sh("ls -d /disk /host /ram") == "/disk\n/host\n/ram\n"
        assert activity.give(b"x", "/host/file") is None
        for volume in ("/disk", "/ram"):
            message = activity.give(b"x", f"{volume}/file")
            assert message == f"{START}IO error: path not found in container: {volume}/file"
    finally:
        activity.unit.close()


def test_no_link_leads_out_of_the_container(activity: Activity, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    activity.sh(f"ln -s {secret} /golem/work/file; ln -s {tmp_path} /golem/work/folder")
    for path in ("/golem/work/file", "/golem/work/folder/secret"):
        assert activity.transfer(f"container:{path}", url("given")) == NO_FILE
    outside = activity.transfer(f"container:/../../../..{secret}", url("given"))
    assert "path not found in container" in str(outside)
    assert [rule for rule, _ in activity.strikes] == ["links", "links", "volumes-only"]
    assert activity.give(b"overwritten", "/golem/work/file") == NO_FILE
    assert secret.read_text() == "secret"


def test_what_was_refused_is_told_without_the_urls_of_the_daemon(activity: Activity) -> None:
    activity.give(b"", "/tmp/my%20file%3F")
    activity.transfer("container:/etc/hosts", url("given"))
    activity.transfer("http://127.0.0.1:1/a", "container:/tmp/b")
    assert activity.refused == [
        "upload to '/tmp/my file?'",
        "download of /etc/hosts",
        "http://127.0.0.1:1/a to container:/tmp/b",
    ]


def test_a_link_is_followed_as_on_the_providers_host(activity: Activity) -> None:
    activity.give(b"content", "/golem/work/below/file")
    activity.sh(
        "cd /golem/work && ln -s below/file relative && ln -s below folder && ln -s ../work/relative around"
        " && ln -s /golem/work/below/file absolute && ln -s ../output/x elsewhere && ln -s loop loop"
    )
    for path in ("relative", "folder/file", "folder/../relative"):
        assert activity.take(f"/golem/work/{path}") == b"content"
    for path in ("absolute", "elsewhere", "around"):
        assert activity.transfer(f"container:/golem/work/{path}", url("given")) == NO_FILE
    assert activity.strikes == [("links", "IO error: No such file or directory (os error 2)")] * 3
    assert "os error 40" in str(activity.transfer("container:/golem/work/loop", url("given")))


def test_a_refusal_of_the_publisher_is_reported_and_not_repeated(activity: Activity) -> None:
    activity.bus.refusal = {"ReadError": "no such luck"}
    message = activity.give(b"x", "/golem/work/file")
    assert message == "Local service error: Transfer error: gftp error: ReadError: no such luck"
    activity.bus.refusal = "IntegrityError"
    activity.sh("echo x > /golem/work/given")
    message = activity.transfer("container:/golem/work/given", url("given"))
    assert message == "Local service error: Transfer error: gftp error: IntegrityError"
    assert activity.bus.under_way == 0


def test_a_lost_connection_is_tried_again_twice(activity: Activity, no_waiting: None) -> None:
    activity.bus.failures = [BusError("the connection was lost")] * 2
    assert activity.give(b"came after all", "/golem/work/file") is None
    assert activity.sh("cat /golem/work/file") == "came after all"
    activity.bus.failures = [BusError("the connection was lost")] * 3
    message = activity.give(b"never", "/golem/work/file")
    assert message == "Local service error: Transfer error: GSB error: the connection was lost"


def test_a_full_disk_is_told() -> None:
    activity = Activity(ProviderHabits(disk_mib=2))
    try:
        message = activity.give(bytes(3_000_000), "/golem/work/file")
        assert (
            message == "Local service error: Transfer error: IO error: No space left on device (os error 28)"
        )
        assert activity.give(bytes(1_000_000), "/golem/work/file") is None
    finally:
        activity.unit.close()


def test_a_transfer_that_is_cut_fails_and_a_small_one_passes() -> None:
    activity = Activity(ProviderHabits(cuts_transfers_after=100_000))
    try:
        message = activity.give(bytes(200_000), "/golem/work/file")
        assert (
            message
            == "Local service error: Transfer error: IO error: Connection reset by peer (os error 104)"
        )
        assert activity.give(bytes(99_000), "/golem/work/file") is None
    finally:
        activity.unit.close()


def test_the_end_of_the_activity_ends_a_transfer() -> None:
    activity = Activity(ProviderHabits(transfer_speed=1.0))
    activity.bus.files["given"] = bytearray(10 * CHUNK_BYTES)
    batch = activity.begin({"transfer": {"from": url("given"), "to": "container:/golem/work/file"}})
    eventually(activity.unit._batches[batch].running)
    events = activity.unit._batches[batch].events()
    activity.unit.close()
    assert next(iter(list(events)[-1:]))["kind"]["finished"]["return_code"] == -1
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("exe-unit-batch")]


# --- progress ----------------------------------------------------------------------------------------


def test_progress_is_told_by_the_step_that_was_asked_for() -> None:
    activity = Activity(ProviderHabits(transfer_speed=2000))
    try:
        activity.bus.files["given"] = bytearray(10 * CHUNK_BYTES)
        progress = {"updateInterval": "1h", "updateStep": 3 * CHUNK_BYTES}
        batch = activity.begin(
            {"transfer": {"from": url("given"), "to": "container:/golem/work/file", "progress": progress}}
        )
        kinds = [event["kind"] for event in activity.unit._batches[batch].events()]
        told = [kind["progress"] for kind in kinds if "progress" in kind]
        assert [report["progress"] for report in told] == [
            [count * CHUNK_BYTES, 10 * CHUNK_BYTES] for count in (3, 6, 9)
        ]
        assert {(tuple(report["step"]), report["message"], report["unit"]) for report in told} == {
            ((0, 1), None, "Bytes")
        }
        assert kinds[-1] == {"finished": {"return_code": 0, "message": None}}
    finally:
        activity.unit.close()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("300ms", 0.3), ("1s", 1.0), ("1m 30s", 90.0), ({"secs": 1, "nanos": 500_000_000}, 1.5), (None, 1.0)],
)
def test_an_interval_is_read_as_it_is_written(written: object, seconds: float) -> None:
    assert _seconds(written) == pytest.approx(seconds)


# --- archives ----------------------------------------------------------------------------------------


def test_a_folder_is_not_packed_whatever_format_is_asked_for(activity: Activity) -> None:
    message = activity.transfer("container:/golem/work", url("given"), format="tar.gz", fileset="*", depth=1)
    assert message == "Local service error: Transfer error: IO error: Is a directory (os error 21)"
    assert activity.strikes == [("no-archives", "format and depth and fileset ignored")]


def test_an_archive_is_not_unpacked(activity: Activity) -> None:
    assert activity.give(b"no archive", "/golem/work/file", format="zip") is None
    assert activity.sh("cat /golem/work/file") == "no archive"


# --- the web -----------------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    """Gives what it was given."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    # Whether it can send a part of a file, and what it was asked for.
    ranges: bool
    asked: list[tuple[str, str | None]]
    # Set when an answer has begun whose end does not come.
    answering: threading.Event

    def do_HEAD(self) -> None:
        self.asked.append(("HEAD", self.headers["Range"]))
        if self.path == "/slow":
            self.server.gate.wait(30)  # type: ignore[attr-defined]
        if self.moved():
            return
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def moved(self) -> bool:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.send_header("Content-Length", "0")
            self.end_headers()
        return self.path == "/moved"

    def do_GET(self) -> None:
        self.asked.append(("GET", self.headers["Range"]))
        if self.moved():
            return
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        if self.headers["Range"] is not None:
            content = content[int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) :]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + (self.path == "/broken")))
        self.end_headers()
        self.wfile.write(content[:1])
        if self.path == "/pausing":
            self.server.gate.wait(0.5)  # type: ignore[attr-defined]
        self.wfile.write(content[1:])
        self.close_connection = self.path == "/broken"

    def do_PUT(self) -> None:
        content = b""
        while length := int(self.rfile.readline(), 16):
            content += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        self.files[self.path] = content
        if self.path == "/slow":
            self.server.gate.wait(30)  # type: ignore[attr-defined]
        self.send_response(403 if self.path == "/forbidden" else 201)
        if self.path == "/pausing":
            # From then on the client's connection does not know its socket any more.
            self.send_header("Connection", "close")
            self.end_headers()
            self.server.answering.set()  # type: ignore[attr-defined]
            self.server.gate.wait(30)  # type: ignore[attr-defined]
            return
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def foreign_web() -> Iterator[str]:
    """A web server that providers do not reach."""
    Server.files, Server.asked, Server.ranges = {}, [], False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.gate = threading.Event()  # type: ignore[attr-defined]
    Server.answering = server.answering = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.gate.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def web(activity: Activity, foreign_web: str) -> str:
    """A web server that providers reach."""
    activity.web.allow(foreign_web)
    return foreign_web


@pytest.mark.parametrize("size", SIZES)
def test_a_file_goes_to_a_web_server_and_back(activity: Activity, web: str, size: int) -> None:
    content = os.urandom(size)
    activity.give(content, "/golem/work/file")
    assert activity.transfer("container:/golem/work/file", f"{web}/file?x=1") is None
    Server.files["/file"] = Server.files["/file?x=1"]
    assert activity.transfer(f"{web}/moved", "container:/golem/work/again") is None
    assert (Server.files["/file"], activity.take("/golem/work/again")) == (content, content)


def test_the_page_of_an_error_becomes_the_file_as_on_a_real_provider(activity: Activity, web: str) -> None:
    assert activity.transfer(f"{web}/none", "/golem/work/page") is None
    assert b"404" in activity.take("/golem/work/page")
    assert activity.strikes == [("status-ignored", "the page of status 404 is stored")]


def test_an_upload_whose_answer_does_not_end_is_broken_off_with_the_activity(
    activity: Activity, foreign_web: str
) -> None:
    activity.web.allow(foreign_web)
    scope = Scope()
    sink = web_files.WebSink(activity.web, f"{foreign_web}/pausing", scope)
    thread = threading.Thread(target=sink.finish)
    thread.start()
    assert Server.answering.wait(20)
    # The client may not have read the head of the answer yet: it closes its socket then.
    while sink._connection.sock is not None:
        time.sleep(0.001)
    scope.cancel("the activity has ended")
    thread.join(20)
    assert not thread.is_alive()
    sink.close()


def test_errors_of_a_web_server_are_reported(activity: Activity, web: str) -> None:
    activity.give(b"x", "/golem/work/given")
    put = activity.transfer("/golem/work/given", f"{web}/forbidden")
    assert put == f"{START}HTTP error: client error: 403 Forbidden"
    Server.files["/broken"] = b"half of it"
    assert "IncompleteRead" in str(activity.transfer(f"{web}/broken", "/golem/work/x"))


@pytest.mark.parametrize(
    ("ranges", "old", "asked", "result"),
    [
        (False, b"old", ("GET", None), b"new content"),
        (True, b"old", ("GET", "bytes=3-"), b"old content"),
        (True, b"old and much longer", ("HEAD", None), b"old and much longer"),
        (True, b"", ("GET", None), b"new content"),
    ],
    ids=["no ranges", "shorter", "longer", "empty"],
)
def test_a_download_onto_a_file_that_is_there_is_resumed_where_the_server_can(
    activity: Activity, web: str, ranges: bool, old: bytes, asked: tuple[str, str | None], result: bytes
) -> None:
    Server.files["/file"], Server.ranges = b"new content", ranges
    activity.give(old, "/golem/work/file")
    assert activity.transfer(f"{web}/file", "/golem/work/file") is None
    assert activity.take("/golem/work/file") == result
    assert Server.asked[-1] == asked
    resumed = [("resumed", f"{len(old)} bytes of the old file stay")] if ranges and old else []
    assert activity.strikes == resumed


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3"])
def test_the_web_servers_of_the_scripts_machine_are_not_reached(
    activity: Activity, foreign_web: str, host: str
) -> None:
    there = foreign_web.replace("127.0.0.1", host)
    assert activity.transfer(f"{there}/file", "/golem/work/file") == START + REFUSED
    activity.give(b"x", "/golem/work/given")
    assert activity.transfer("/golem/work/given", f"{there}/file") == START + REFUSED
    assert Server.asked == []
    advice = "; --web-server URL lets local providers reach that server"
    assert activity.strikes == [("own-loopback", REFUSED + advice)] * 2


def test_a_redirect_does_not_lead_to_the_scripts_machine(
    activity: Activity, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "moved", lambda self: self.path == "/away" and send_away(self))
    assert activity.transfer(f"{web}/away", "/golem/work/file") == START + REFUSED


def send_away(handler: Any) -> bool:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/file")
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    return True


def test_a_server_that_does_not_answer_in_time_is_tried_three_times(
    activity: Activity, web: str, no_waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_files, "_ANSWER_SECONDS", 0.1)
    timeout = "HTTP error: timeout: operation timed out"
    assert activity.transfer(f"{web}/slow", "/golem/work/file") == START + timeout
    # The server may begin to read a request when its client has gone already.
    eventually(lambda: [method for method, _ in list(Server.asked)] == ["HEAD"] * 3)
    activity.give(b"x", "/golem/work/given")
    assert activity.transfer("/golem/work/given", f"{web}/slow") == START + timeout
    assert activity.strikes == [("web-timeout", timeout)] * 2


def test_an_answer_that_has_begun_may_pause(
    activity: Activity, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_files, "_ANSWER_SECONDS", 0.2)
    Server.files["/pausing"] = b"whole"
    assert activity.transfer(f"{web}/pausing", "/golem/work/file") is None
    assert activity.take("/golem/work/file") == b"whole"


def test_a_host_without_an_address_is_tried_three_times(
    activity: Activity, no_waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def fail(*arguments: object, **_: object) -> None:
        asked.append(arguments[0])
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(requests.utils, "get_environ_proxies", lambda url: {})
    assert activity.transfer("http://nowhere.invalid/x", "/golem/work/file") == (
        f"{START}HTTP error: connection error: Failed resolving hostname: "
        "failed to lookup address information: Name or service not known"
    )
    assert asked == ["nowhere.invalid"] * 3


def test_a_name_that_no_host_can_have_is_unknown(
    activity: Activity, no_waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests.utils, "get_environ_proxies", lambda url: {})
    assert activity.transfer("http://a..b/x", "/golem/work/file") == (
        f"{START}HTTP error: connection error: Failed resolving hostname: "
        "failed to lookup address information: Name or service not known"
    )
