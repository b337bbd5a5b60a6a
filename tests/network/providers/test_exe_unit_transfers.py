"""Transfers and streams of the exe-unit on real daemons, asked for by a bare requestor."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import requests

from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from tests.network.helpers.commands import Talker
from tests.network.helpers.published import PublishedFile
from tests.network.helpers.requestor import READY, Requestor

HONEST, ODD = 0, 1
ODD_HABITS = ProviderHabits(disk_mib=8, cuts_transfers_after=5_000_000, streams=False)
SIZES = (0, 1, 40 * 1024 - 1, 40 * 1024, 40 * 1024 + 1, 10_000_000)
START = "Local service error: Transfer error: "


class Buyer:
    """A requestor with an activity on each of two providers."""

    def __init__(self, network: LocalGolem) -> None:
        self.near = network.near
        self.requestor = Requestor(network)
        self.activities = [self._activity(provider.node_id) for provider in network.providers]

    def _activity(self, provider_id: str) -> str:
        agreement = self.requestor.agreement(self.requestor.publish_demand(), provider_id)
        activity: str = self.requestor.yagna.activity.create(agreement, timeout=30)
        self.do(*READY, activity=activity)
        return activity

    def do(self, *commands: Any, activity: str | None = None) -> Any:
        return self.requestor.run(activity or self.activities[HONEST], *commands)

    def transfer(self, source: str, target: str, provider: int = HONEST, **details: Any) -> str | None:
        """Do it; returns what is told of its failure."""
        command = {"transfer": {"from": source, "to": target, **details}}
        message: str | None = self.do(command, activity=self.activities[provider])[0]["message"]
        return message

    def published(self, name: str, content: bytes = b"") -> PublishedFile:
        return PublishedFile(self.near, name, content)

    def round_trip(self, name: str, content: bytes, path: str) -> bytes:
        """What comes back of what was sent, after its hash was compared there and here."""
        with self.published(f"in-{name}", content) as given, self.published(f"out-{name}") as taken:
            assert self.transfer(given.url, f"container:{path}") is None
            assert self.transfer(f"container:{path}", taken.url) is None
            assert taken.hash == hashlib.sha3_256(content).hexdigest()
            return bytes(taken.content)

    def events(self, command: Any, provider: int = HONEST) -> list[dict[str, Any]]:
        """Execute a command, and return all that is told of it, to its end."""
        activity = self.activities[provider]
        # It goes on until somebody listens: what is told before is not told again.
        talker, is_told = Talker(), False
        batch = self.requestor.yagna.activity.execute(activity, [sh(talker.script), command])
        url = f"{self.near.api_url}/activity-api/v1/activity/{activity}/exec/{batch}"
        headers = {"Authorization": f"Bearer {self.near.app_key}", "Accept": "text/event-stream"}
        events = []
        with requests.get(url, headers=headers, stream=True, timeout=20) as stream:
            assert stream.status_code == 200, stream.text
            for line in stream.iter_lines(chunk_size=None):
                if not line.startswith(b"data:"):
                    continue
                event = json.loads(line.removeprefix(b"data:"))
                if not is_told:
                    is_told = True
                    talker.tell()
                if event["index"] == 1:
                    events.append(event)
                    if "finished" in event["kind"]:
                        break
        return events

    def close(self) -> None:
        for activity in self.activities:
            self.requestor.yagna.activity.destroy(activity, timeout=30)
        self.requestor.close()


@pytest.fixture(scope="module")
def buyer() -> Iterator[Buyer]:
    with LocalGolem(providers=[ProviderHabits(), ODD_HABITS], chain=False) as network:
        buyer = Buyer(network)
        yield buyer
        buyer.close()


def sh(script: str, **stdout: Any) -> dict[str, Any]:
    capture = {"stdout": stdout or {"stream": {}}}
    return {"run": {"entry_point": "/bin/sh", "args": ["-c", script], "capture": capture}}


@pytest.mark.parametrize("size", SIZES)
def test_files_of_every_size_come_back_as_they_were(buyer: Buyer, size: int) -> None:
    content = os.urandom(size)
    assert buyer.round_trip(f"size-{size}", content, "/golem/work/file") == content


def test_odd_names_pass_when_they_are_quoted(buyer: Buyer) -> None:
    name = "ä 日本 #?%+&'\"\n.txt"
    assert buyer.round_trip("odd", b"odd", f"/golem/work/odd/{quote(name)}") == b"odd"
    [listed] = buyer.do(sh("cd /golem/work/odd; printf %s *"))
    assert listed["stdout"] == name


def test_several_go_both_ways_at_once(buyer: Buyer) -> None:
    contents = [os.urandom(1_000_000) for _ in buyer.activities]

    def there_and_back(provider: int) -> bytes:
        content = contents[provider]
        with (
            buyer.published(f"at-once-in-{provider}", content) as given,
            buyer.published(f"at-once-out-{provider}") as taken,
        ):
            assert buyer.transfer(given.url, "container:/golem/work/at-once", provider) is None
            assert buyer.transfer("container:/golem/work/at-once", taken.url, provider) is None
            return bytes(taken.content)

    with ThreadPoolExecutor(len(contents)) as pool:
        assert list(pool.map(there_and_back, range(len(contents)))) == contents


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("container:/golem/work/none", "{file}", "IO error: No such file or directory (os error 2)"),
        ("{file}", "container:/tmp/none", "IO error: path not found in container: /tmp/none"),
        ("{file}", "container:/golem/work", "IO error: Is a directory (os error 21)"),
        ("{file}-none", "container:/golem/work/x", "GSB error: endpoint address not found"),
        ("container:/etc/passwd", "{file}", "IO error: path not found in container: /etc/passwd"),
        ("ftp://host/x", "container:/golem/work/x", "Unsupported scheme: ftp"),
    ],
)
def test_a_transfer_that_fails_says_why(buyer: Buyer, source: str, target: str, said: str) -> None:
    with buyer.published("there", b"content") as file:
        message = buyer.transfer(source.format(file=file.url), target.format(file=file.url))
    assert message is not None
    assert message.startswith(START + said)


def test_an_error_of_the_requestor_is_reported(buyer: Buyer) -> None:
    with buyer.published("refused", b"content") as file:
        file.refuse("no such luck")
        message = buyer.transfer(file.url, "container:/golem/work/x")
    assert message == f"{START}gftp error: InternalError: no such luck"


def test_a_disk_can_be_full_and_a_connection_can_be_cut(buyer: Buyer) -> None:
    with buyer.published("large", bytes(12_000_000)) as file:
        assert buyer.transfer(file.url, "container:/golem/work/x", ODD) == f"{START}IO error: {CUT}"
        filled = buyer.do(sh("head -c 5000000 /dev/zero > /golem/work/x"), activity=buyer.activities[ODD])
        assert filled[0]["result"] == "Ok"
        assert buyer.transfer(file.url, "container:/golem/work/y", ODD) == f"{START}IO error: {FULL}"


CUT = "Connection reset by peer (os error 104)"
FULL = "No space left on device (os error 28)"


def test_progress_is_told_while_it_happens(buyer: Buyer) -> None:
    with buyer.published("progress", bytes(1_000_000)) as file:
        progress = {"updateInterval": "1h", "updateStep": 400_000}
        command = {"transfer": {"from": file.url, "to": "container:/golem/work/x", "progress": progress}}
        kinds = [event["kind"] for event in buyer.events(command)]
    assert [next(iter(kind)) for kind in kinds] == ["started", "progress", "progress", "finished"]
    told = kinds[1]["progress"]
    assert (told["step"], told["message"], told["unit"]) == ([0, 1], None, "Bytes")
    assert 400_000 <= told["progress"][0] < 450_000
    assert told["progress"][1] == 1_000_000
    assert kinds[-1] == {"finished": {"return_code": 0, "message": None}}


def test_output_is_told_as_text_or_as_numbers_and_no_further_than_its_limit(buyer: Buyer) -> None:
    def told(script: str, **stream: Any) -> list[Any]:
        events = buyer.events(sh(script, stream=stream))
        return [event["kind"]["stdout"] for event in events if "stdout" in event["kind"]]

    assert told("printf 'ä\\377'") == ["ä\ufffd"]
    assert told("printf 'ab\\377'", format="bin") == [[97, 98, 255]]
    assert "".join(told("yes | head -c 3000000", limit=5000)) == "y\n" * 2500
    assert sum(map(len, told("head -c 300000 /dev/zero; sleep 1", format="bin"))) == 300_000


def test_output_that_is_wanted_at_the_end_is_not_streamed(buyer: Buyer) -> None:
    events = buyer.events(sh("echo unheard; exit 3", atEnd={}))
    kinds = [event["kind"] for event in events]
    assert [next(iter(kind)) for kind in kinds] == ["started", "finished"]
    assert kinds[1] == {"finished": {"return_code": 3, "message": "ExeScript command exited with code 3"}}


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        ({"head": 5}, "y\ny\ny"),
        ({"tail": 4}, "y\ny\n"),
        ({"headTail": 7}, "y\ny\ny\n\n"[:4] + "\ny\n"),
        ({"head": 300_000}, "y\n" * 150_000),
    ],
)
def test_an_endless_writer_leaves_what_was_asked_for(buyer: Buyer, part: Any, kept: str) -> None:
    [result] = buyer.do(sh("yes | head -c 4000000", atEnd={**part, "format": "str"}))
    assert result["stdout"] == kept


def test_much_output_comes_as_numbers(buyer: Buyer) -> None:
    [result] = buyer.do(sh("head -c 200000 /dev/zero; sleep 1", atEnd={"format": "bin"}))
    assert result["stdout"] == [0] * 200_000


def test_a_provider_that_can_not_stream_refuses_to(buyer: Buyer) -> None:
    url = f"{buyer.near.api_url}/activity-api/v1/activity/{buyer.activities[ODD]}/exec"
    batch = buyer.requestor.yagna.activity.execute(buyer.activities[ODD], [sh("echo polled")])
    headers = {"Authorization": f"Bearer {buyer.near.app_key}", "Accept": "text/event-stream"}
    lines: list[str] = []

    def follow() -> None:
        with requests.get(f"{url}/{batch}", headers=headers, stream=True, timeout=20) as stream:
            lines.extend(line for line in stream.iter_lines(decode_unicode=True) if line.startswith("data:"))

    with pytest.raises(requests.RequestException):
        follow()
    assert lines == []
    [result] = buyer.requestor.yagna.activity.results(
        buyer.activities[ODD], batch, timeout=10, command_index=0
    )
    assert result["stdout"] == "polled\n"
