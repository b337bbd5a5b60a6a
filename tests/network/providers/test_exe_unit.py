"""The bus and the exe-unit on real daemons: what a requestor gets to see over the REST API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from simple_golem.errors import BusError
from simple_golem.local.bus.bus import Bus
from simple_golem.local.daemon.daemon import YagnaDaemon
from simple_golem.local.local_golem import LocalGolem
from simple_golem.local.machine.folders import runtime_folder
from simple_golem.local.machine.ports import hold_ports
from tests.network.helpers.commands import Talker
from tests.network.helpers.requestor import Requestor

SIMPLE_SERVICE = "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488"
UP: list[dict[str, Any]] = [{"deploy": {}}, {"start": {"args": []}}]


@dataclass
class RestActivity:
    """An activity, by the bare REST API."""

    url: str
    headers: dict[str, str]

    def exec(self, *commands: dict[str, Any]) -> str:
        body = {"text": json.dumps(commands)}
        answer = requests.post(f"{self.url}/exec", json=body, headers=self.headers, timeout=20)
        assert answer.status_code == 200, answer.text
        return str(answer.json())

    def results(self, batch: str, **params: Any) -> requests.Response:
        return requests.get(f"{self.url}/exec/{batch}", params=params, headers=self.headers, timeout=60)

    def do(self, *commands: dict[str, Any]) -> list[dict[str, Any]]:
        """Execute commands that succeed, or of which the last one fails."""
        return list(self.results(self.exec(*commands), timeout=30).json())

    def state(self) -> list[str | None]:
        answer = requests.get(f"{self.url}/state", params={"timeout": 5}, headers=self.headers, timeout=20)
        return list(answer.json()["state"])


@pytest.fixture(scope="module")
def activity() -> Iterator[RestActivity]:
    """An activity with the simple service's image, deployed and started; one for all tests here."""
    with LocalGolem(providers=1, chain=False) as network:
        requestor = Requestor(network)
        agreement = requestor.agreement(requestor.publish_demand(image=SIMPLE_SERVICE))
        activity_id = requestor.yagna.activity.create(agreement, timeout=30)
        url = f"{network.near.api_url}/activity-api/v1/activity/{activity_id}"
        activity = RestActivity(url, {"Authorization": f"Bearer {network.near.app_key}"})
        assert [result["result"] for result in activity.do(*UP)] == ["Ok", "Ok"]
        yield activity
        requestor.yagna.activity.destroy(activity_id, timeout=30)
        assert activity.state() == ["Terminated", None]
        requestor.close()


def sh(script: str, **capture: Any) -> dict[str, Any]:
    modes = capture or {"stdout": {"atEnd": {}}, "stderr": {"atEnd": {}}}
    return {"run": {"entry_point": "/bin/sh", "args": ["-c", script], "capture": modes}}


def test_a_command_answers_with_both_outputs(activity: RestActivity) -> None:
    [result] = activity.do(sh("echo out-ä; echo err >&2"))
    assert (result["stdout"], result["stderr"]) == ("out-ä\n", "err\n")
    assert (result["result"], result["index"], result["isBatchFinished"]) == ("Ok", 0, True)
    [silent] = activity.do(sh("true"))
    assert (silent["stdout"], silent["stderr"], silent["message"]) == (None, None, None)


def test_a_failing_command_tells_its_exit_code(activity: RestActivity) -> None:
    results = activity.do(sh("echo fine"), sh("echo told >&2; exit 3"))
    assert (results[1]["result"], results[1]["message"]) == ("Error", "ExeScript command exited with code 3")
    assert results[1]["stderr"] == "told\n"


def test_bytes_and_parts_of_the_output_come_as_they_were_asked_for(activity: RestActivity) -> None:
    binary = sh("printf 'abc\\377'", stdout={"atEnd": {"format": "bin"}})
    tail = sh("echo 12345", stdout={"atEnd": {"tail": 3}})
    head = sh("echo 12345", stdout={"atEnd": {"head": 3, "format": "str"}})
    limited = sh("echo 12345", stdout={"stream": {"limit": 2, "format": "bin"}})
    none: dict[str, Any] = {"run": {"entry_point": "/bin/echo", "args": ["unheard"]}}
    results = activity.do(binary, tail, head, limited, none)
    assert [result["stdout"] for result in results] == [[97, 98, 99, 255], "45\n", "123", [49, 50], None]


def test_much_output_passes(activity: RestActivity) -> None:
    [result] = activity.do(sh("head -c 1000000 /dev/zero | tr '\\0' x; sleep 1"))
    assert len(result["stdout"]) == 1_000_000


def test_a_program_that_ends_right_after_writing_loses_its_tail_as_in_a_vm(activity: RestActivity) -> None:
    program = {
        "run": {"entry_point": "/usr/bin/seq", "args": ["30000"], "capture": {"stdout": {"stream": {}}}}
    }
    [result] = activity.do(program)
    whole = "".join(f"{number}\n" for number in range(1, 30001))
    assert whole.startswith(result["stdout"])
    assert len(whole) - 65536 <= len(result["stdout"]) < len(whole)


def test_the_simple_service_of_the_image_runs(activity: RestActivity) -> None:
    def program(name: str, *args: str) -> dict[str, Any]:
        return {
            "run": {
                "entry_point": f"/golem/run/{name}",
                "args": list(args),
                "capture": {"stdout": {"atEnd": {}}, "stderr": {"atEnd": {}}},
            }
        }

    started = activity.do(program("simulate_observations_ctl.py", "--start"))
    stats = activity.do(program("simple_service.py", "--add", "5"), program("simple_service.py", "--stats"))
    stopped = activity.do(program("simulate_observations_ctl.py", "--stop"))
    assert [result["result"] for result in (*started, *stats, *stopped)] == ["Ok"] * 4
    assert json.loads(stats[1]["stdout"])["count"] >= 1


def test_results_are_waited_for_as_the_real_exe_unit_does(activity: RestActivity) -> None:
    talker = Talker()
    batch = activity.exec(sh(talker.script), sh("echo two"))
    assert activity.results(batch).json() == []
    assert activity.results(batch, timeout=0.05, commandIndex=0).status_code == 408
    talker.tell()
    first = activity.results(batch, timeout=10, commandIndex=0).json()
    assert [(result["index"], result["isBatchFinished"]) for result in first] == [(0, True)]
    assert len(activity.results(batch, timeout=10).json()) == 2
    assert activity.results("0" * 32, timeout=1).status_code == 404
    failing = activity.exec(sh("exit 1"), sh("true"))
    assert len(activity.results(failing, timeout=10, commandIndex=0).json()) == 1
    begun = time.monotonic()
    assert len(activity.results(failing, timeout=1).json()) == 1
    assert time.monotonic() - begun > 0.9


def test_a_second_batch_is_busy_and_terminate_goes_back_to_the_start(activity: RestActivity) -> None:
    long = activity.exec(sh("sleep 60"))
    assert activity.results(long, timeout=0.3).json() == []
    [busy] = activity.do(sh("true"))
    assert busy["message"] == "Local service error: State error: Busy: StatePair(Ready, Some(Ready))"
    assert activity.do({"terminate": {}})[0]["result"] == "Ok"
    assert activity.results(long, timeout=5).json()[0]["result"] == "Error"
    [early] = activity.do(sh("true"))
    assert "deploy() command is expected now" in early["message"]
    assert [result["result"] for result in activity.do(*UP)] == ["Ok", "Ok"]
    # The state is told to the daemon after the result, as the real exe-unit does.
    give_up = time.monotonic() + 10
    while activity.state() != ["Ready", None]:
        assert time.monotonic() < give_up, activity.state()


def test_output_is_streamed_as_it_comes(activity: RestActivity) -> None:
    talker = Talker()
    batch = activity.exec(sh(talker.script, stdout={"stream": {}}))
    stream = requests.get(
        f"{activity.url}/exec/{batch}",
        headers={**activity.headers, "Accept": "text/event-stream"},
        stream=True,
        timeout=20,
    )
    pieces: list[str] = []
    with stream:
        for line in stream.iter_lines(chunk_size=1, decode_unicode=True):
            if not line.startswith("data:"):
                continue
            kind = json.loads(line.removeprefix("data:"))["kind"]
            if "stdout" in kind:
                if not pieces:
                    talker.tell()  # without that it would never end
                pieces.append(kind["stdout"])
            if "finished" in kind:
                break
    assert set("".join(pieces).splitlines()) == {"tick", "the", "end"}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[YagnaDaemon]:
    """One yagna, which is the hub of its own network."""
    ports = hold_ports(2, runtime_folder() / "ports")
    api, gsb = (port.number for port in ports)
    daemon = YagnaDaemon("far", tmp_path, api_port=api, gsb_port=gsb, hub_port=gsb)
    daemon.start()
    try:
        daemon.wait_ready()
        yield daemon
    finally:
        daemon.close()
        for port in ports:
            port.release()


def test_the_bus_of_a_daemon_carries_calls_both_ways_and_through_its_restart(daemon: YagnaDaemon) -> None:
    server, client = Bus(daemon.gsb_url, "server"), Bus(daemon.gsb_url, "client")
    try:
        server.register("/public/echo", lambda caller, address, payload: {"Ok": [caller, address, payload]})
        question = {"n": 1, "deep": [None, 0.5, {"text": "ö"}]}
        expected = ["0xme", "/public/echo/Say", question]
        assert client.call("/public/echo/Say", question, caller="0xme") == expected
        identities = client.call("/local/identity/List", {}, timeout=10)
        assert isinstance(identities, list)
        assert identities[0]["nodeId"].startswith("0x")
        with pytest.raises(BusError, match="already"):
            client.register("/public/echo", lambda *_: None)
        daemon.kill()
        daemon.start()
        daemon.wait_ready()
        server.register("/public/other", lambda *_: {"Ok": None})
        assert client.call("/public/echo/Say", question, caller="0xme") == expected
        server.unregister("/public/echo")
        with pytest.raises(BusError):
            client.call("/public/echo/Say", question, timeout=10)
    finally:
        server.close()
        client.close()
    assert not [
        thread.name for thread in threading.enumerate() if thread.name.startswith(("server", "client"))
    ]
