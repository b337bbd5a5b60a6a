"""The arguments of a `LocalGolem`, and what it says without a chain."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simple_golem.background.threads import EngineThread
from simple_golem.command_line.main import main
from simple_golem.errors import BadSetting, LocalNetworkError
from simple_golem.local import local_golem as network_module
from simple_golem.local.control.messages import DaemonAddress, Plan, Report
from simple_golem.local.local_golem import LocalGolem

URL = "http://127.0.0.1:4567"

_ANSWERS = """
import json, sys
for line in sys.stdin:
    order = json.loads(line)
    sys.stdout.write(json.dumps({"done": order["do"], "number": order["number"]}) + "\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize(
    ("arguments", "funds"),
    [
        ({}, "1000"),
        ({"chain": None, "funds": 7}, "7"),
        ({"chain": False}, None),
        ({"chain": True}, "1000"),
        ({"chain": True, "funds": "0.50"}, "0.5"),
        ({"chain": True, "funds": 0}, "0"),
    ],
)
def test_a_network_has_a_chain_with_funds_unless_it_is_to_have_none(
    arguments: dict[str, Any], funds: str | None
) -> None:
    assert LocalGolem(1, **arguments)._funds == funds


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"chain": False, "funds": 5}, "leave out chain=False"),
        ({"chain": False, "funds": 0}, "leave out chain=False"),
        ({"chain": True, "funds": -1}, "funds is -1"),
        ({"chain": True, "funds": "lots"}, "funds is 'lots'"),
    ],
)
def test_funds_that_can_not_be_are_told_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        LocalGolem(1, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"images": ["me/mine:1=/tmp"]},
        {"images": {1: "/tmp"}},
        {"images": {"me/mine:1": None}},
        {"daemon_settings": {"DEFAULT_SUBSCRIPTION_TTL": 1}},
        {"runtimes": "mine=/bin/true"},
        {"as_real": True},
        {"payment_networks": "hoodi"},
        {"subnet": 5},
        {"subnet": [5]},
    ],
)
def test_an_argument_of_the_wrong_type_is_told_at_once(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(BadSetting, match=name):
        LocalGolem(1, **arguments)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "http://",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://x:port",
        "http://a..b",
        5,
    ],
)
def test_a_web_server_that_can_not_be_is_told_before_the_network_hears_of_it(
    url: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadSetting, match="is no web server: write"):
        LocalGolem(1).allow_web_server(url)
    if isinstance(url, str):
        # No network is started, not even for a script that would run.
        assert main(["local", "run", "--web-server", url, "-c", "pass"]) == 2
        assert "is no web server" in (told := capsys.readouterr().err)
        assert "starting" not in told


def test_the_answer_to_an_order_that_was_interrupted_is_not_taken_for_that_of_the_next_one() -> None:
    class Answers:
        """Ctrl-C comes before the first answer."""

        def __init__(self) -> None:
            self.lines = [b'{"done": "freeze", "number": 1}', b'{"done": "thaw", "number": 2}']
            self.interrupted = False

        def readline(self) -> bytes:
            if not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt
            return self.lines.pop(0)

    network = LocalGolem(1)
    process: Any = SimpleNamespace(stdin=io.BytesIO(), stdout=Answers())
    network._process = process
    with pytest.raises(KeyboardInterrupt):
        network.freeze_providers_daemon()
    assert network._ask({"do": "thaw"})["done"] == "thaw"
    assert process.stdout.lines == []


def test_one_thread_may_wait_for_the_end_while_another_one_gives_orders() -> None:
    network = LocalGolem(1)
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _ANSWERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    network._process = supervisor
    too_late = threading.Timer(20, supervisor.kill)
    too_late.start()
    try:
        waiting = EngineThread("waits", network.wait).start()
        # If it took what comes, it would do so now.
        assert not waiting.join(0.3)
        assert network._ask({"do": "thaw"})["done"] == "thaw"
        network.stop()
        assert waiting.join(20)
    finally:
        too_late.cancel()


def test_more_providers_than_fit_into_the_memory_are_too_many() -> None:
    with pytest.raises(LocalNetworkError, match="1 to 200 providers, not 1000000000000000"):
        LocalGolem(10**15)


def test_a_network_without_a_chain_says_how_to_have_one() -> None:
    network = LocalGolem(1, chain=False)
    with pytest.raises(LocalNetworkError, match="not up"):
        assert network.chain
    near = far = DaemonAddress(URL, "key")
    network._report = Report(near, far, URL, "/a/folder", (), "/a/folder/rules")
    with pytest.raises(LocalNetworkError, match=r"LocalGolem\(chain=True\)"):
        assert network.chain
    with pytest.raises(LocalNetworkError, match=r"LocalGolem\(chain=True\)"):
        network.pay_now()
    with pytest.raises(LocalNetworkError, match=r"LocalGolem\(chain=True\)"):
        network.settle()
    network._report = Report(near, far, URL, "/a/folder", (), "/a/folder/rules", URL)
    assert network.chain.url == URL


def test_a_plan_goes_over_the_wire_with_its_funds() -> None:
    for funds in (None, "0.5"):
        plan = Plan(1, [], ["local"], ["hoodi"], [], {}, funds)
        assert Plan.from_wire(json.loads(json.dumps(plan.to_wire()))) == plan


def test_without_a_chain_its_packages_are_not_needed() -> None:
    script = (
        "import sys, simple_golem.command_line.main, simple_golem.local.supervisor.main\n"
        "names = {'rlp', 'eth_keys', 'eth_utils', 'eth_hash', 'Crypto'} & set(sys.modules)\n"
        "assert not names, names\n"
    )
    folder = Path(network_module.__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.fixture
def some_packages_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    present = importlib.util.find_spec
    missing = ("eth_keys", "Crypto")
    monkeypatch.setattr(
        network_module.importlib.util, "find_spec", lambda name: None if name in missing else present(name)
    )


@pytest.mark.usefixtures("some_packages_missing")
def test_where_packages_of_the_chain_are_missing_a_network_has_none() -> None:
    assert LocalGolem(1)._funds is None
    assert LocalGolem(1, funds=5)._funds == "5"  # its start then names the packages


@pytest.mark.usefixtures("some_packages_missing")
def test_a_package_that_a_chain_lacks_is_named_with_what_to_install() -> None:
    with pytest.raises(
        LocalNetworkError, match=r"eth-keys, pycryptodome.*pip install 'simple_golem\[local\]"
    ):
        LocalGolem(1, chain=True).start()


def test_scripts_are_told_what_the_network_offers() -> None:
    network = LocalGolem(1, ["mine", "local", "mine"], payment_networks=["polygon"])
    near = DaemonAddress(URL, "key")
    network._report = Report(near, near, URL, "/a/folder", (), "/a/folder/rules")
    environment = network.environment
    assert (environment["YAGNA_SUBNET"], environment["YAGNA_PAYMENT_NETWORK"]) == ("mine", "polygon")
    assert environment["SIMPLE_GOLEM_LOCAL_SUBNETS"] == "mine,local"
    assert environment["SIMPLE_GOLEM_LOCAL_PAYMENT_NETWORKS"] == "polygon,hoodi,holesky"
    assert "SIMPLE_GOLEM_LOCAL_NO_VPN" not in environment
    network._report = Report(near, near, URL, "/a/folder", (), "/a/folder/rules", None, "forbidden")
    assert network.environment["SIMPLE_GOLEM_LOCAL_NO_VPN"] == "forbidden"


def test_without_subnets_there_is_no_network() -> None:
    with pytest.raises(BadSetting, match="a subnet is made of"):
        LocalGolem(1, [])
