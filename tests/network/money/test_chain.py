"""A local network with a chain: budgets are funds that somebody has, and invoices are really paid."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from simple_golem import Golem, Run, Service
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.command_line.main import main
from simple_golem.errors import AllocationRefused
from simple_golem.local.control.habits import Price, ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import Invoice
from tests.network.helpers.processes import Tool

FUNDS = Decimal(5)
SETTLED_SECONDS = 25.0
# An amount with this in it has all of the 18 digits after the point.
ODD_PRICE = Price(start=Decimal("0.000100000000000001"))


@pytest.fixture(scope="module")
def network() -> Iterator[LocalGolem]:
    with LocalGolem([ProviderHabits(price=ODD_PRICE)] * 4, funds=FUNDS) as network:
        yield network


@pytest.fixture
def yagna(network: LocalGolem) -> Iterator[Yagna]:
    yagna = Yagna(network.near.api_url, network.near.app_key)
    yield yagna
    yagna.close()


@pytest.fixture
def payer(yagna: Yagna) -> str:
    return yagna.identity.me().node_id


class Once(Service):
    def run(self) -> None:
        self.execute(Run.shell("true"))


def serve(yagna: Yagna, count: int = 1, before: Callable[[], object] | None = None) -> list[Invoice]:
    """Run `count` instances to their end; returns their invoices, accepted.

    Args:
        before: called when the budget is allocated, and there is nothing to be paid yet.
    """
    with Golem(budget=1) as golem:
        if before is not None:
            before()
        cluster = golem.run_service(Once, num_instances=count)
        assert cluster.wait(60)
    agreements = {instance.provider_id for instance in cluster.instances}
    assert len(agreements) == count
    invoices = sorted(yagna.payment.invoices(), key=lambda invoice: invoice.timestamp)[-count:]
    assert sum(invoice.amount for invoice in invoices) == golem.cost.amount
    return invoices


def wait_until_settled(yagna: Yagna, invoices: list[Invoice]) -> None:
    deadline, scope = Deadline(SETTLED_SECONDS), Scope()
    left = {invoice.invoice_id for invoice in invoices}
    while left := {one for one in left if yagna.payment.invoice(one).status != "SETTLED"}:
        assert not deadline.passed, f"not settled after {SETTLED_SECONDS:g} s: {left}"
        scope.wait(0.1)


def check_paid_once(network: LocalGolem, yagna: Yagna, invoice: Invoice) -> str:
    """The one transfer of an invoice is on the chain: to its provider, to the last digit; its hash."""
    (payment,) = yagna.payment.invoice_payments(invoice.invoice_id)
    (transfer,) = [one for one in network.chain.transfers() if one.transaction == payment.transaction]
    assert transfer.amount == payment.amount == invoice.amount
    assert transfer.recipient == payment.payee_id == invoice.issuer_id
    assert transfer.sender == payment.payer_id
    return transfer.transaction


@pytest.mark.usefixtures("golem_environment")
def test_a_budget_above_the_funds_is_refused_and_the_error_names_the_funds(
    network: LocalGolem, yagna: Yagna, payer: str
) -> None:
    owned = network.chain.balance(payer)
    with pytest.raises(AllocationRefused) as raised, Golem(budget=owned + 1) as golem:
        golem.run_service(Once)
    assert "Insufficient funds" in str(raised.value)
    assert f"requested: {owned + 1}, available: {owned}" in str(raised.value)
    assert yagna.payment.allocations() == []
    assert yagna.market.demands() == []


@pytest.mark.usefixtures("golem_environment")
def test_the_allocation_of_one_session_is_not_available_to_another(
    network: LocalGolem, yagna: Yagna, payer: str
) -> None:
    owned = network.chain.balance(payer)
    with Golem(budget=owned - 1):
        with pytest.raises(AllocationRefused, match=f"in other allocations: {owned - 1}"):
            Golem(budget=2).open()
        assert len(yagna.payment.allocations()) == 1
    assert yagna.payment.allocations() == []


KILLED = "import os, sys; from simple_golem import Golem; Golem(sys.argv[1]).open(); os.kill(os.getpid(), 9)"


@pytest.mark.usefixtures("golem_environment")
def test_the_next_session_gets_the_funds_of_a_killed_one(
    network: LocalGolem, yagna: Yagna, payer: str
) -> None:
    owned = network.chain.balance(payer)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(owned - 1)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [one.total_amount for one in yagna.payment.allocations()] == [owned - 1]
    with Golem(budget=2):
        assert [one.total_amount for one in yagna.payment.allocations()] == [Decimal(2)]


@pytest.mark.usefixtures("golem_environment")
def test_a_budget_can_be_all_funds(network: LocalGolem, yagna: Yagna, payer: str) -> None:
    with Golem(budget=network.chain.balance(payer)):
        (allocation,) = yagna.payment.allocations()
    assert allocation.total_amount == network.chain.balance(payer)


@pytest.mark.usefixtures("golem_environment")
def test_an_invoice_is_settled_by_itself_in_a_transaction_of_its_exact_amount(
    network: LocalGolem, yagna: Yagna, payer: str
) -> None:
    before = network.chain.balance(payer)
    invoices = serve(yagna)
    assert invoices[0].amount.as_tuple().exponent == -18
    wait_until_settled(yagna, invoices)
    check_paid_once(network, yagna, invoices[0])
    assert network.chain.balance(payer) == before - invoices[0].amount


@pytest.mark.usefixtures("golem_environment")
def test_every_provider_is_paid_and_the_balances_agree_with_the_sums(
    network: LocalGolem, yagna: Yagna, payer: str
) -> None:
    owners = [payer, *(provider.node_id for provider in network.providers)]
    before = {owner: network.chain.balance(owner) for owner in owners}
    invoices = serve(yagna, 3)
    assert network.settle()
    assert len({check_paid_once(network, yagna, invoice) for invoice in invoices}) == 3
    earned = {invoice.issuer_id: invoice.amount for invoice in invoices}
    changes = {owner: network.chain.balance(owner) - before[owner] for owner in owners}
    spent = sum(earned.values(), Decimal(0))
    assert changes == {**dict.fromkeys(owners, Decimal(0)), **earned, payer: -spent}
    for invoice in invoices:
        check_known_to_its_provider(network, invoice)


def check_known_to_its_provider(network: LocalGolem, invoice: Invoice) -> None:
    """Its daemon looks a transaction up on the chain before it believes the requestor's."""
    (key,) = [one.app_key for one in network.providers if one.node_id == invoice.issuer_id]
    provider = Yagna(network.far.api_url, key)
    try:
        wait_until_settled(provider, [invoice])
        check_paid_once(network, provider, invoice)
    finally:
        provider.close()


@pytest.mark.usefixtures("golem_environment")
def test_a_chain_that_is_down_makes_payments_late_and_not_lost(network: LocalGolem, yagna: Yagna) -> None:
    try:
        invoices = serve(yagna, 2, before=network.chain.stop)
        assert not network.settle(timeout=0.5)
        wait_for_trouble(yagna, "RpcError")
        assert [yagna.payment.invoice(one.invoice_id).status for one in invoices] == ["ACCEPTED"] * 2
    finally:
        network.chain.start()
    assert network.settle()
    assert len({check_paid_once(network, yagna, invoice) for invoice in invoices}) == 2


@pytest.mark.usefixtures("golem_environment")
def test_payments_are_made_when_there_is_money_again(network: LocalGolem, yagna: Yagna, payer: str) -> None:
    owned = network.chain.balance(payer)
    try:
        invoices = serve(yagna, before=lambda: network.chain.set_funds(payer, 0))
        network.pay_now()
        wait_for_trouble(yagna, "InsufficientToken")
        assert yagna.payment.invoice(invoices[0].invoice_id).status == "ACCEPTED"
    finally:
        network.chain.set_funds(payer, owned)
    assert network.settle()
    check_paid_once(network, yagna, invoices[0])
    assert network.chain.balance(payer) == owned - invoices[0].amount


@pytest.mark.usefixtures("golem_environment")
def test_a_daemon_that_is_killed_before_it_has_paid_pays_when_it_is_back(
    network: LocalGolem, yagna: Yagna
) -> None:
    try:
        invoices = serve(yagna, before=network.chain.stop)
        network.kill_requestor_daemon()
        network.restart_requestor_daemon()
    finally:
        network.chain.start()
    assert network.settle()
    check_paid_once(network, yagna, invoices[0])


def wait_for_trouble(yagna: Yagna, kind: str) -> None:
    """Wait until the daemon says why it can't pay."""
    deadline, scope = Deadline(SETTLED_SECONDS), Scope()
    path = "/payment-api/v1/payments/status?network=hoodi&driver=erc20"
    while kind not in (kinds := [trouble["kind"] for trouble in yagna.http.request("GET", path)]):
        assert not deadline.passed, f"the daemon does not complain of {kind}, only of {kinds}"
        scope.wait(0.1)


def test_only_hoodi_is_there_to_pay_on(network: LocalGolem, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**network.environment, "YAGNA_PAYMENT_NETWORK": "polygon"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AllocationRefused, match=r"erc20-polygon-glm.*RPC error"):
        Golem(budget=1).open()


def test_a_network_pays_what_a_script_has_spent_before_it_ends(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from simple_golem import Golem, Run, Service\n"
        "from simple_golem.errors import AllocationRefused\n"
        "class Once(Service):\n"
        "    def run(self):\n"
        "        self.execute(Run.shell('true'))\n"
        "try:\n"
        "    Golem(budget=1).open()\n"
        "except AllocationRefused as error:\n"
        "    print(error)\n"
        "with Golem(budget=0.25) as golem:\n"
        "    golem.run_service(Once, num_instances=2).wait()\n"
        "print(f'spent [{golem.cost.amount}]')\n"
    )
    tool = Tool("local", "run", "--providers", "2", "--chain", "--funds", "0.25", str(script))
    assert tool.end() == 0
    assert "requested: 1, available: 0.25" in tool.text
    paid = re.findall(r"simple-golem: (\S+) tGLM paid to (prov-.), transaction (0x[0-9a-f]{64})\s", tool.text)
    assert sorted(name for _, name, _ in paid) == ["prov-1", "prov-2"]
    assert len({transaction for _, _, transaction in paid}) == 2
    spent = tool.text.partition("spent [")[2].partition("]")[0]
    assert sum(Decimal(amount) for amount, _, _ in paid) == Decimal(spent)


def test_the_doctor_finds_the_network_well_and_a_wrong_key_wrong(
    golem_environment: None,
    network: LocalGolem,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
    status = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert (status, lines[-1]) == (0, "all is well")
    # Other tests may have spent some of it.
    (here,) = filter(
        None, (re.fullmatch(r"✓ funds on hoodi +(\S+) tGLM, and \S+ tETH for gas.*", line) for line in lines)
    )
    assert 0 < Decimal(here[1]) <= FUNDS
    assert any(re.fullmatch(rf"✓ other funds +{FUNDS} tGLM on holesky", line) for line in lines)
    monkeypatch.setenv("YAGNA_APPKEY", "nobody-has-it")
    assert main(["doctor"]) == 1
    assert "yagna app-key list" in capsys.readouterr().out
