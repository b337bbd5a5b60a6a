"""What real providers do, and what local ones do: a table.

The numbers are those of the rows in which the behaviour of a real provider, of its exe-unit and of a real VM
is written down, each with where it was seen (live) or read (the file of its source). Each row is asked for by
raw REST; what a user of the library can ask for, by the library, too.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from simple_golem import Command, DownloadBytes, Golem, Instance, Run, UploadBytes, UploadFromUrl
from simple_golem.errors import CommandFailed
from simple_golem.local.local_golem import LocalGolem
from simple_golem.model.commands.results import results_so_far
from tests.network.helpers.requestor import READY, Requestor

Script = Mapping[str, Any]
TRANSFER = "Local service error: Transfer error: "
STATE = "Local service error: State error: "
WEB, PAGE = "WEB", "0123456789"
REFUSED = 'HTTP error: io error: Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }'


@dataclass(frozen=True)
class Row:
    """One behaviour.

    Attributes:
        number: of the row.
        source: where it was seen or read.
        script: what is done, as a command of an ExeScript.
        message: what comes back, exactly; None: success.
        stdout: what the command has written; None: it does not count.
        before: a line of shell that prepares it.
        command: the same for the library.
        after: a line of shell, and what it writes then.
    """

    number: int
    source: str
    script: Script
    message: str | None = None
    stdout: str | None = None
    before: str = "true"
    command: Command | None = None
    after: tuple[str, str] | None = None


def run(*argv: str) -> Script:
    capture = {"stdout": {"atEnd": {}}, "stderr": {"atEnd": {}}}
    return {"run": {"entry_point": argv[0], "args": list(argv[1:]), "capture": capture}}


def sh(text: str) -> Script:
    return run("/bin/sh", "-c", text)


def transfer(source: str, target: str, **more: Any) -> Script:
    return {"transfer": {"from": source, "to": target, **more}}


def exited(code: int) -> str:
    return f"ExeScript command exited with code {code}"


def inside(path: str) -> str:
    return f"container:{path}"


ROWS = [
    Row(1, "live", sh("head -c 204800 /dev/zero | tr '\\0' x"), None, "x" * 139_264),
    Row(1, "live", sh("head -c 4096 /dev/zero | tr '\\0' x"), None, "x" * 4096),
    Row(2, "live", run("/no/such"), exited(9), "", command=Run("/no/such")),
    Row(2, "live", run("/etc/passwd"), exited(9), "", command=Run("/etc/passwd")),
    Row(3, "live", sh("kill -9 $$"), exited(9), command=Run.shell("kill -9 $$")),
    Row(3, "live", sh("kill -15 $$"), exited(15), command=Run.shell("kill -15 $$")),
    Row(3, "live", sh("exit 137"), exited(137), command=Run.shell("exit 137")),
    Row(4, "live", sh("pwd"), None, "/golem/work\n"),
    Row(5, "live", run("/usr/bin/env"), None, ""),
    Row(6, "exe-unit/src/runtime/process.rs", sh("echo $0"), None, "sh\n"),
    Row(7, "ya-runtime-vm/runtime/init-container/src/init.c", run("bin/echo"), exited(9), ""),
    Row(
        7,
        "ya-runtime-vm/runtime/init-container/src/init.c",
        run("./here", "1"),
        None,
        "is here\n",
        before="cd /golem/work; echo '#!/bin/sh' > here; echo 'echo is here' >> here; chmod +x here",
    ),
    Row(7, "exe-unit/src/runtime/process.rs", run("/"), "Runtime error: Invalid binary name", ""),
    Row(8, "live", sh("id -u; id -g"), None, "0\n0\n"),
    Row(9, "ya-runtime-vm/runtime/init-container/src/init.c", run("/bin/cat"), None, ""),
    Row(12, "exe-unit/src/state.rs", {"start": {}}, f"{STATE}Cannot send command after a successful start()"),
    Row(
        15,
        "exe-unit/src/exe_unit.rs",
        {"sign": {}},
        "signing not supported: binary built without the 'sgx' feature",
    ),
    Row(19, "ya-runtime-vm/runtime/src/vmrt.rs", sh("test $(nproc) -le 4")),
    *(
        Row(21, "live", sh(f"df -k {path} | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2"), None, f"{4 << 20}\n")
        for path in ("/", "/tmp", "/dev/shm")
    ),
    Row(24, "exe-unit/src/runtime/process.rs", sh("hostname"), None, "golem\n"),
    Row(
        25,
        "ya-runtime-vm/runtime/init-container/src/init.c",
        sh("cat /etc/resolv.conf"),
        None,
        "nameserver 1.1.1.1\nnameserver 8.8.8.8\n",
    ),
    Row(29, "golem-js examples/hello-world/Dockerfile", sh("ls /golem"), None, "input\noutput\nwork\n"),
    *(
        Row(
            28,
            "live",
            transfer(inside(path), inside("/golem/work/x")),
            f"{TRANSFER}IO error: path not found in container: {path}",
            command=DownloadBytes(path),
        )
        for path in ("/tmp/x", "/root/x", "/x", "/golem/x", "/etc/passwd")
    ),
    Row(
        28,
        "live",
        transfer(inside("/golem/work/one"), inside("/tmp/x")),
        f"{TRANSFER}IO error: path not found in container: /tmp/x",
        before="echo 1 > /golem/work/one",
        command=UploadBytes(b"1", "/tmp/x"),
    ),
    Row(
        32,
        "live",
        transfer(inside("/golem/work/relative"), inside("/golem/output/whole")),
        before="cd /golem/work; echo 1 > one; ln -sf one relative",
    ),
    Row(
        32,
        "live",
        transfer(inside("/golem/work/absolute"), inside("/golem/output/x")),
        f"{TRANSFER}IO error: No such file or directory (os error 2)",
        before="cd /golem/work; echo 1 > one; ln -sf /golem/work/one absolute",
        command=DownloadBytes("/golem/work/absolute"),
    ),
    Row(
        32,
        "live",
        transfer(inside("/golem/work/other"), inside("/golem/output/x")),
        f"{TRANSFER}IO error: No such file or directory (os error 2)",
        before="cd /golem/work; echo 1 > ../output/one; ln -sf ../output/one other",
        command=DownloadBytes("/golem/work/other"),
    ),
    *(
        Row(
            33,
            "live",
            transfer(f"{WEB}/ranges", inside("/golem/work/page")),
            before=f"printf {before} > /golem/work/page",
            after=("cat /golem/work/page", after),
        )
        for before, after in (("old", "old" + PAGE[3:]), ("old-and-longer", "old-and-longer"))
    ),
    Row(
        33,
        "live",
        transfer(f"{WEB}/plain", inside("/golem/work/page")),
        before="printf old > /golem/work/page",
        after=("cat /golem/work/page", PAGE),
    ),
    *(
        Row(
            35,
            "live",
            transfer(f"{WEB}/{status}", inside("/golem/work/error")),
            before="rm -f /golem/work/error",
            after=("cat /golem/work/error", f"{status}!"),
        )
        for status in (404, 500)
    ),
    Row(
        34,
        "transfer/src/http.rs",
        transfer("http://127.0.0.1:1/x", inside("/golem/work/x")),
        TRANSFER + REFUSED,
        command=UploadFromUrl("http://127.0.0.1:1/x", "/golem/work/x"),
    ),
    Row(
        37,
        "transfer/src/transfer.rs",
        transfer(inside("/golem/work"), inside("/golem/output/x"), format="tar.gz"),
        f"{TRANSFER}IO error: Is a directory (os error 21)",
    ),
    Row(
        40,
        "transfer/src/file.rs",
        transfer(inside("/golem/work/none"), inside("/golem/output/x")),
        f"{TRANSFER}IO error: No such file or directory (os error 2)",
        command=DownloadBytes("/golem/work/none"),
    ),
    Row(84, "live", sh("(sleep 0.3; echo late; touch /golem/work/lived) & echo hi"), None, "hi\n"),
    Row(84, "live", sh("sleep 1; test ! -e /golem/work/lived")),
]
BY_LIBRARY = [row for row in ROWS if row.command is not None]


def named(row: Row) -> str:
    return f"{row.number}-{next(iter(row.script))}-{ROWS.index(row)}"


@pytest.fixture(scope="module")
def own_network() -> Iterator[LocalGolem]:
    with LocalGolem(2, chain=False) as network:
        yield network


class Pages(BaseHTTPRequestHandler):
    """A page, with ranges and without, and pages of errors."""

    def do_HEAD(self) -> None:
        self.answer(send=False)

    def do_GET(self) -> None:
        self.answer(send=True)

    def answer(self, *, send: bool) -> None:
        name = self.path.strip("/")
        page, status = (f"{name}!", int(name)) if name.isdigit() else (PAGE, 200)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and name == "ranges":
            page, status = page[int(wanted[1]) :], 206
        self.send_response(status)
        if name == "ranges":
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if send:
            self.wfile.write(page.encode())

    def log_message(self, *told: object) -> None:
        pass


@pytest.fixture(scope="module")
def web(own_network: LocalGolem) -> Iterator[str]:
    """The URL of a web server that the providers reach."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        own_network.allow_web_server(url)
        yield url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def raw(own_network: LocalGolem) -> Iterator[tuple[Requestor, str]]:
    """A requestor by raw REST, and its activity."""
    requestor = Requestor(own_network)
    agreement = requestor.agreement(requestor.publish_demand())
    activity = requestor.yagna.activity.create(agreement, timeout=20)
    requestor.run(activity, *READY)
    yield requestor, activity
    requestor.yagna.activity.destroy(activity, timeout=10)
    requestor.close()


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_a_command_does_by_raw_rest_what_it_does_on_a_real_provider(
    raw: tuple[Requestor, str], web: str, row: Row
) -> None:
    requestor, activity = raw
    script = json.loads(json.dumps(row.script).replace(f'"{WEB}/', f'"{web}/'))
    result = requestor.run(activity, sh(row.before), script)[-1]
    assert (result["index"], result["message"]) == (1, row.message)
    assert result["result"] == ("Ok" if row.message is None else "Error")
    if row.stdout is not None:
        assert (result["stdout"] or "") == row.stdout
    if row.after is not None:
        line, written = row.after
        assert requestor.run(activity, sh(line))[0]["stdout"] == written


@pytest.fixture(scope="module")
def machine(own_network: LocalGolem) -> Iterator[Instance]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own_network.environment.items():
            patch.setenv(name, value)
        with Golem(1) as golem:
            machine = golem.rent()
            # Its thread for files lasts as long as the Golem, not for one test.
            machine.execute(UploadBytes(b"", "/golem/work/first"))
            yield machine


@pytest.mark.parametrize("row", BY_LIBRARY, ids=named)
def test_a_command_does_by_the_library_what_it_does_on_a_real_provider(machine: Instance, row: Row) -> None:
    machine.execute(Run.shell(row.before))
    assert row.command is not None
    with pytest.raises(CommandFailed) as failed:
        machine.execute(row.command)
    assert results_so_far(failed.value)[-1].message == row.message


@dataclass(frozen=True)
class Refusal:
    """A demand that a provider rejects.

    Attributes:
        number: of the row.
        demand: what is different from a demand that is accepted.
        message: the beginning of the reason, and what follows the time in it.
        is_final: whether the provider says so.
    """

    number: int
    demand: Mapping[str, Any]
    message: tuple[str, str]
    is_final: bool


ACCEPT_TIMEOUT = "golem.com.payment.debit-notes.accept-timeout?"
INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
PAYMENT_TIMEOUT = "golem.com.scheme.payu.payment-timeout-sec?"
RANGE = "not in acceptable range of [1s; 1day]"
EXPIRES = "Proposal expires at: "
REFUSALS = [
    Refusal(
        47, {"seconds": 240}, (EXPIRES, " UTC which is less than 5m or more than 100years from now"), True
    ),
    Refusal(
        48,
        {"seconds": 12 * 3600},
        (
            "Expiration time ",
            "+00:00 exceeds the 10h threshold of enforcing mid-agreement payments but the required property "
            f"'{PAYMENT_TIMEOUT}' was not present in the Demand",
        ),
        True,
    ),
    Refusal(
        49,
        {"seconds": 2700, ACCEPT_TIMEOUT: None},
        (EXPIRES, " UTC which is less than 5m or more than 30m from now"),
        False,
    ),
    Refusal(50, {ACCEPT_TIMEOUT: 600}, ("DebitNote acceptance deadline should be less than 4m.", ""), True),
    Refusal(50, {ACCEPT_TIMEOUT: 3}, ("To low DebitNotes timeout: 3s", ""), True),
    Refusal(51, {INTERVAL: 172_800}, (f"Demand DebitNote interval 2days {RANGE}", ""), True),
    Refusal(51, {PAYMENT_TIMEOUT: 0}, (f"Demand DebitNote payment timeout 0s {RANGE}", ""), True),
    Refusal(
        53,
        {"golem.com.payment.chosen-platform": None},
        ("Missing fields: /golem/com/payment/chosen-platform", ""),
        False,
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: f"{one.number}-{REFUSALS.index(one)}")
def test_a_demand_is_rejected_with_the_text_of_a_real_provider(
    requestor: Requestor, refusal: Refusal
) -> None:
    demand = requestor.publish_demand(**refusal.demand)
    said = requestor.refusal(demand)
    begin, end = refusal.message
    assert said["message"].startswith(begin)
    assert said["message"].endswith(end)
    assert said["golem.proposal.rejection.is-final"] is refusal.is_final
