"""What a network is told of its chain: the daemons' configuration, orders to the supervisor, arguments."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from simple_golem.errors import BadSetting, LocalNetworkError
from simple_golem.local import local_golem as network_module
from simple_golem.local.chain.ledger import Ledger
from simple_golem.local.chain.server import Chain
from simple_golem.local.control.chain_control import ChainControl
from simple_golem.local.control.messages import DaemonAddress, Plan, Report
from simple_golem.local.daemon.daemon import YagnaDaemon
from simple_golem.local.daemon.identities import REQUESTOR
from simple_golem.local.daemon.payment_config import payment_config
from simple_golem.local.local_golem import LocalGolem
from simple_golem.local.supervisor.orders import carry_out_chain_order

URL = "http://127.0.0.1:4567"


# --- the daemons ---------------------------------------------------------------------------------


def started(folder: Path, chain_url: str | None) -> tuple[str, Path]:
    """The environment that a daemon was started with, and where its payment configuration would be."""
    program = folder / "yagna"
    program.write_text("#!/bin/sh\nenv > environment.new\nmv environment.new environment\nexec sleep 60\n")
    program.chmod(0o755)
    daemon = YagnaDaemon(
        "a daemon",
        folder / "state",
        api_port=4001,
        gsb_port=4002,
        hub_port=4002,
        program=program,
        chain_url=chain_url,
    )
    daemon.start()
    seen = daemon.folder / "home" / "environment"
    while not seen.exists():
        daemon.check_running()
    daemon.close()
    return seen.read_text(), daemon.folder / "data" / "config-payments.toml"


def test_a_daemon_with_a_chain_checks_funds_there_and_pays_nowhere_else(tmp_path: Path) -> None:
    environment, config = started(tmp_path, URL)
    assert "YAGNA_DEV_SKIP_ALLOCATION_VALIDATION" not in environment
    assert "HOODI_GETH_ADDR" not in environment
    for chain in ("MAINNET", "POLYGON", "HOLESKY", "SEPOLIA", "GOERLI", "MUMBAI", "AMOY"):
        assert f"{chain}_GETH_ADDR=http://127.0.0.1:1\n" in environment
    assert config.read_text() == payment_config(URL)


def test_a_daemon_without_a_chain_checks_no_funds(tmp_path: Path) -> None:
    environment, config = started(tmp_path, None)
    assert "YAGNA_DEV_SKIP_ALLOCATION_VALIDATION=1\n" in environment
    assert "HOODI_GETH_ADDR=http://127.0.0.1:1\n" in environment
    assert not config.exists()


def test_only_hoodi_is_on_the_local_chain() -> None:
    sections = payment_config(URL).split("[[chain.")[1:]
    endpoints = {section.partition(".")[0]: URL in section for section in sections}
    assert len(endpoints) == 8
    assert [name for name, here in endpoints.items() if here] == ["hoodi"]


# --- orders --------------------------------------------------------------------------------------


class Ways:
    """The way from a network's owner to its supervisor and back, as JSON carries it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.orders: list[str] = []

    def ask(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        order = json.loads(json.dumps(order))
        assert order.pop("do") == "chain"
        answer: Mapping[str, Any] = json.loads(
            json.dumps({"answer": carry_out_chain_order(self.chain, order)})
        )
        return answer

    @property
    def chain(self) -> Chain:
        stop, start = (lambda: self.orders.append("stop")), (lambda: self.orders.append("start"))
        return cast(Chain, SimpleNamespace(ledger=self.ledger, stop=stop, start=start))


@pytest.fixture
def ways() -> Ways:
    return Ways()


@pytest.fixture
def direction(ways: Ways) -> ChainControl:
    return ChainControl(URL, ways.ask)


def test_funds_are_set_and_told_to_the_last_digit(ways: Ways, direction: ChainControl) -> None:
    mixed = "0x" + REQUESTOR.node_id[2:].upper()
    direction.set_funds(mixed, "12345678.123456789012345678")
    assert direction.balance(REQUESTOR.node_id) == Decimal("12345678.123456789012345678")
    assert ways.ledger.gas_of(REQUESTOR.node_id) == 10 * 10**18
    direction.set_funds(REQUESTOR.node_id, 0)
    assert direction.balance(mixed) == 0
    assert direction.transfers() == []


def test_it_is_stopped_and_started(ways: Ways, direction: ChainControl) -> None:
    direction.stop()
    direction.start()
    assert ways.orders == ["stop", "start"]


@pytest.mark.parametrize(
    "address", ["", "0x12", REQUESTOR.node_id[2:], REQUESTOR.node_id + "0", "0x" + "g" * 40, 7]
)
def test_what_is_no_address_is_told_at_the_call(direction: ChainControl, address: Any) -> None:
    with pytest.raises(BadSetting, match="is no address"):
        direction.balance(address)
    with pytest.raises(BadSetting, match="is no address"):
        direction.set_funds(address, 1)


@pytest.mark.parametrize("glm", [-1, "1E-19", "NaN", "much", True, None])
def test_what_is_no_amount_is_told_at_the_call(direction: ChainControl, glm: Any) -> None:
    with pytest.raises(BadSetting, match="glm is"):
        direction.set_funds(REQUESTOR.node_id, glm)


def test_a_chain_does_not_do_just_anything(ways: Ways) -> None:
    with pytest.raises(LocalNetworkError, match="can't be told to fly"):
        carry_out_chain_order(ways.chain, {"order": "fly"})


# --- the arguments of a network ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "funds"),
    [
        ({}, None),
        ({"chain": True}, "1000"),
        ({"chain": True, "funds": "0.50"}, "0.5"),
        ({"chain": True, "funds": 0}, "0"),
    ],
)
def test_a_chain_comes_with_funds(arguments: dict[str, Any], funds: str | None) -> None:
    assert LocalGolem(1, **arguments)._funds == funds


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"funds": 5}, "add --chain, or chain=True"),
        ({"funds": 0}, "add --chain, or chain=True"),
        ({"chain": True, "funds": -1}, "funds is -1"),
        ({"chain": True, "funds": "lots"}, "funds is 'lots'"),
    ],
)
def test_funds_that_can_not_be_are_told_at_once(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        LocalGolem(1, **arguments)


def test_a_network_without_a_chain_says_how_to_have_one() -> None:
    network = LocalGolem(1)
    with pytest.raises(LocalNetworkError, match="not up"):
        assert network.chain
    near = far = DaemonAddress(URL, "key")
    network._report = Report(near, far, URL, [], "/a/folder")
    with pytest.raises(LocalNetworkError, match=r"LocalGolem\(chain=True\)"):
        assert network.chain
    with pytest.raises(LocalNetworkError, match=r"LocalGolem\(chain=True\)"):
        network.pay_now()
    with pytest.raises(LocalNetworkError, match=r"LocalGolem\(chain=True\)"):
        network.settle()
    network._report = Report(near, far, URL, [], "/a/folder", URL)
    assert network.chain.url == URL


def test_a_plan_goes_over_the_wire_with_its_funds() -> None:
    for funds in (None, "0.5"):
        plan = Plan(1, [], "local", [], {}, funds)
        assert Plan.from_wire(json.loads(json.dumps(plan.to_wire()))) == plan


def test_who_wants_no_chain_needs_none_of_its_packages() -> None:
    script = (
        "import sys, simple_golem.command_line.main, simple_golem.local.supervisor.main\n"
        "names = {'rlp', 'eth_keys', 'eth_utils', 'eth_hash', 'Crypto'} & set(sys.modules)\n"
        "assert not names, names\n"
    )
    folder = Path(network_module.__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_package_that_a_chain_lacks_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    present = importlib.util.find_spec
    missing = ("eth_keys", "Crypto")
    monkeypatch.setattr(
        network_module.importlib.util, "find_spec", lambda name: None if name in missing else present(name)
    )
    with pytest.raises(
        LocalNetworkError, match=r"eth-keys, pycryptodome.*pip install 'simple_golem\[local,chain"
    ):
        LocalGolem(1, chain=True).start()
