"""`simple-golem offers`: the list, what it would cost, and `--why`; and `golem.explain`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Explanation, Golem, Offer, Payload, Strategy, Terms, vm
from simple_golem.command_line.main import main
from simple_golem.engine.payment.journal import FOLDER_VARIABLE
from simple_golem.errors import BadStrategy, WaitTimeout
from simple_golem.model.local_offers import SUBNETS_VARIABLE
from simple_golem.services import cluster as cluster_module
from simple_golem.testing import FakeAnswer, FakeProvider, FakeYagna
from tests.helpers.recorded_services import Idle


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    """Four providers: two with 8 GiB, one with 16, and one in another subnet."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    providers = [
        FakeProvider(),
        FakeProvider(per_second=Decimal("0.0002")),
        FakeProvider(properties={"golem.inf.mem.gib": 16.0, "golem.runtime.capabilities": ["vpn", "inet"]}),
        FakeProvider(subnet="lab", properties={"golem.inf.mem.gib": 64.0}),
    ]
    with FakeYagna(providers) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
        assert fake.leftovers() == []


def obstacles(explanation: Explanation) -> dict[str, tuple[int, int, str]]:
    return {one.condition: (one.keeps_away, one.alone, one.offered) for one in explanation.obstacles}


def test_of_a_demand_that_all_of_a_subnet_match_only_the_others_are_kept_away(daemon: FakeYagna) -> None:
    explanation = Golem(1).explain()
    assert (explanation.providers, explanation.matching, explanation.nearest) == (4, 3, ())
    assert obstacles(explanation) == {"subnet public": (1, 1, "lab")}
    assert str(explanation).startswith("of 4 providers on the market, 3 fulfil all conditions\n")
    assert explanation.in_two_lines == "of 4 providers on the market, 3 fulfil all conditions"


def test_each_condition_is_judged_by_itself_and_the_nearest_demand_is_named(daemon: FakeYagna) -> None:
    explanation = Golem(1).explain(vm.repo(min_mem_gib=32, min_cpu_threads=8))
    assert (explanation.providers, explanation.matching) == (4, 0)
    assert obstacles(explanation) == {
        "(golem.inf.cpu.threads>=8)": (4, 0, "4"),
        "(golem.inf.mem.gib>=32)": (3, 0, "8, 16"),
        "subnet public": (1, 0, "lab"),
    }
    # The one with 16 GiB needs two changes, and so does the one in the other subnet; the others no more.
    assert explanation.nearest_matching == 3
    assert explanation.nearest == (
        "(golem.inf.mem.gib>=8) in place of (golem.inf.mem.gib>=32)",
        "(golem.inf.cpu.threads>=4) in place of (golem.inf.cpu.threads>=8)",
    )
    assert "it alone" in str(explanation)
    lines = explanation.in_two_lines.splitlines()
    assert len(lines) == 2
    assert "(golem.inf.cpu.threads>=8) keeps 4 away" in lines[0]
    assert lines[1].endswith("Then 3 providers would match")


@pytest.mark.parametrize(
    ("golem", "payload", "nearest"),
    [
        (
            {"subnet_tag": "lab"},
            {"min_mem_gib": 65},
            ("(golem.inf.mem.gib>=64) in place of (golem.inf.mem.gib>=65)",),
        ),
        ({"subnet_tag": "moon"}, {}, ("the subnet public in place of moon",)),
        (
            {"strategy": Strategy(max_price_per_hour="0.1")},
            {},
            ("max_price_per_hour=0.72 in place of 0.1",),
        ),
        ({"strategy": Strategy(allow=["nobody"])}, {}, ("leave the list allow out",)),
        ({"strategy": Strategy(block=["prov-1", "prov-2", "prov-3"])}, {}, ("leave the list block out",)),
        ({"strategy": Strategy(accept=lambda offer: False)}, {}, ("leave the function accept out",)),
        ({"strategy": lambda offer: None}, {}, ("leave the function score out",)),
        (
            {"terms": Terms(debit_note_accept_timeout=1000)},
            {},
            ("leave debit_note_accept_timeout=1000 out",),
        ),
        (
            {},
            {"capabilities": ["sgx"]},
            ("leave (golem.runtime.capabilities=sgx) out, or ask for vpn, manifest-support, inet",),
        ),
    ],
)
def test_the_nearest_demand_changes_what_keeps_all_away(
    golem: dict[str, Any], payload: dict[str, Any], nearest: tuple[str, ...], daemon: FakeYagna
) -> None:
    explanation = Golem(1, **golem).explain(vm.repo(**payload))
    assert (explanation.matching, explanation.nearest) == (0, nearest)
    assert explanation.obstacles[0].keeps_away >= 3


def test_a_local_network_is_told_how_to_add_a_runtime(
    daemon: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Payload(runtime="roman")
    advice = "leave (golem.runtime.name=roman) out, or ask for vm"
    assert Golem(1).explain(wanted).nearest == (advice,)
    monkeypatch.setenv(SUBNETS_VARIABLE, "public")
    option = "simple-golem local run --runtime roman=PROGRAM"
    assert Golem(1).explain(wanted).nearest == (f"{advice}, or add it: {option}",)


def test_what_was_advised_has_answers(daemon: FakeYagna) -> None:
    wanted = vm.repo(min_mem_gib=32)
    assert Golem(1).explain(wanted).nearest == ("(golem.inf.mem.gib>=8) in place of (golem.inf.mem.gib>=32)",)
    assert len(Golem(1).offers(wanted, 0.2)) == 0
    assert len(Golem(1).offers(vm.repo(min_mem_gib=8), 3.0)) == 3


def test_a_payment_network_that_providers_do_not_have(daemon: FakeYagna) -> None:
    def only_polygon(request: Any) -> FakeAnswer | None:
        if not request.path.endswith("/events"):
            return None
        offers = [
            {
                "providerId": f"0x{n}",
                "constraints": "",
                "properties": {
                    "golem.node.debug.subnet": "public",
                    "golem.com.payment.platform.erc20-polygon-glm.address": "0x1",
                    "golem.com.payment.platform.erc20-amoy-tglm.address": "0x1",
                    "golem.inf.mem.gib": 4,
                    "golem.inf.storage.gib": 40,
                    "golem.inf.cpu.threads": 4,
                    "golem.runtime.name": "vm",
                    "golem.com.pricing.model": "linear",
                    "golem.com.pricing.model.linear.coeffs": [0, 0, 0],
                    "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
                },
            }
            for n in range(2)
        ]
        return FakeAnswer.of_json(offers)

    daemon.intercept(only_polygon)
    explanation = Golem(1).explain()
    assert obstacles(explanation) == {"payment network hoodi": (2, 2, "polygon, amoy")}
    assert explanation.nearest == ("the payment network polygon in place of hoodi",)


def test_what_providers_ask_of_demands_is_an_obstacle(daemon: FakeYagna) -> None:
    for provider in daemon.providers:
        provider.constraints = "(golem.srv.comp.vm.package_format=none)"
    explanation = Golem(1).explain()
    assert explanation.matching == 0
    assert "what providers ask of a demand" in obstacles(explanation)
    assert explanation.nearest == ("the providers themselves take no such demand: see what they ask of it",)


def test_a_function_of_the_user_is_called_for_offers_that_fulfil_all_else(daemon: FakeYagna) -> None:
    rated: list[str] = []

    def score(offer: Offer) -> float | None:
        rated.append(offer.provider_name)
        return None if offer.provider_name == "prov-1" else 1.0

    strategy = Strategy(score=score, block=["prov-2"], accept=lambda offer: offer.provider_name != "prov-3")
    explanation = Golem(1, strategy=strategy).explain()
    assert set(rated) == {"prov-1"}
    assert obstacles(explanation) == {
        "score": (1, 1, "prov-1"),
        "block": (1, 1, "prov-2"),
        "accept": (1, 1, "prov-3"),
        "subnet public": (1, 1, "lab"),
    }


def test_no_provider_at_all_and_a_filter_that_fails(daemon: FakeYagna) -> None:
    with pytest.raises(BadStrategy, match="`accept` failed: ZeroDivisionError"):
        Golem(1, strategy=Strategy(accept=lambda offer: bool(1 / 0))).explain()
    for provider in daemon.providers:
        provider.shut_down()
    explanation = Golem(1).explain()
    assert (explanation.providers, explanation.obstacles) == (0, ())
    assert "simple-golem doctor" in str(explanation)


@pytest.mark.parametrize("memory", ["-1E+200000000", "1E-200000000", 1e300, 10**300, 1e-300, "nan"])
def test_numbers_of_hostile_providers_do_not_fill_the_memory(memory: object, daemon: FakeYagna) -> None:
    for provider in daemon.providers:
        provider.properties = {"golem.inf.mem.gib": memory}
    explanation = Golem(1).explain(vm.repo(constraints=["(golem.inf.mem.gib<=-1)"]))
    assert explanation.matching == 0
    assert len(str(explanation)) < 2000


def test_names_of_hostile_providers_are_cut(daemon: FakeYagna) -> None:
    platform = f"golem.com.payment.platform.erc20-{'x' * 100_000}-glm.address"
    offer = {"providerId": "0x1", "constraints": "", "properties": {platform: "0x1"}}
    daemon.intercept(
        lambda request: FakeAnswer.of_json([offer]) if request.path.endswith("/events") else None
    )
    explanation = Golem(1).explain()
    assert "payment network hoodi" in obstacles(explanation)
    assert len(str(explanation)) < 2000


@pytest.mark.parametrize("hostile", ["(&" * 3000, "(&" + "(a=*)" * 100_000, "(a=" + "*a" * 40 + "*!)"])
def test_conditions_of_hostile_providers_are_not_blamed_on_the_strategy(
    hostile: str, daemon: FakeYagna
) -> None:
    daemon.providers[0].constraints = hostile
    explanation = Golem(1, strategy=Strategy(accept=lambda offer: True)).explain()
    assert (explanation.providers, explanation.matching) == (4, 2)
    assert "what providers ask of a demand" in obstacles(explanation)
    assert len(str(explanation)) < 2000


def test_the_warning_of_a_search_without_offers_names_the_obstacle_in_two_lines(
    daemon: FakeYagna, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_FIRST_SEARCH_WARNING_SECONDS", 0.1)
    with Golem(1) as golem:
        cluster = golem.run_service(Idle, payload=vm.repo(min_mem_gib=32))
        daemon.wait_for(lambda: any("found; 0 offers" in one.getMessage() for one in caplog.records))
        with pytest.raises(WaitTimeout) as vain:
            cluster.wait_until_running(0.01)
        cluster.stop()
    (said,) = [one for one in caplog.records if "found; 0 offers" in one.getMessage()]
    assert said.levelno == logging.WARNING
    reason = (
        "0 offers seen in the subnet 'public'; of 4 providers on the market, none fulfil "
        "all conditions: (golem.inf.mem.gib>=32) keeps 3 away, subnet public keeps 1 away\n"
        "  the nearest demand that has answers: (golem.inf.mem.gib>=8) in place of (golem.inf.mem.gib>=32). "
        "Then 3 providers would match"
    )
    assert said.getMessage() == f"Idle: 0 of 1 found; {reason}"
    # The error of a wait that ends later says the same.
    assert str(vain.value).endswith(f"Idle-1 pending; {reason}")


# --- in a shell -------------------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["offers", *options]) == 0
    return capsys.readouterr().out


def test_that_there_is_no_offer_is_said_in_place_of_the_table(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["offers", "--min-mem-gib", "32", "--seconds", "0.2"]) == 0
    out, err = capsys.readouterr()
    assert out == "no offers\n"
    assert "`simple-golem offers --why` with the same options says why" in err


def test_why_shows_the_table_or_json(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "--why", "--min-mem-gib", "32").splitlines()
    assert lines[0] == "of 4 providers on the market, none fulfil all conditions"
    assert lines[1].split() == ["keeps", "away", "it", "alone", "condition", "offered"]
    assert lines[-1].startswith("the nearest demand")
    found = json.loads(said(capsys, "--why", "--json", "--constraint", "(golem.runtime.capabilities=inet)"))
    assert (found["providers"], found["matching"]) == (4, 1)
    assert {one["condition"] for one in found["obstacles"]} == {
        "(golem.runtime.capabilities=inet)",
        "subnet public",
    }


def test_the_cost_of_some_hours(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    cost = json.loads(said(capsys, "--seconds", "3", "--json", "--hours", "2", "--instances", "2"))["cost"]
    assert (cost["hours"], cost["instances"], cost["providers"]) == (2.0, 2, 3)
    (one,) = [each for each in daemon.providers if each.name == "prov-1"]
    each_cost = one.start + 7200 * (one.per_second + one.per_cpu_second)
    assert Decimal(cost["cheapest"]) == Decimal(cost["typical"]) == 2 * each_cost
    line = said(capsys, "--seconds", "3", "--hours", "2", "--instances", "9").splitlines()[-1]
    assert line.startswith("2 h of 9 instances: ")
    assert "cheapest" not in line
    assert "Only 3 of them" in line


def test_a_price_limit_and_no_offer(daemon: FakeYagna, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["offers", "--seconds", "2", "--max-price-per-hour", "0.1", "--hours", "1"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "nobody offers that" in out
    assert "--why" in err
    assert main(["offers", "--hours", "1", "--instances", "0"]) == 2
    assert "--instances is 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hours", "inf"], "--hours is inf"),
        (["--hours", "nan"], "--hours is nan"),
        (["--hours", "0"], "--hours is 0"),
        (["--hours", "1e300"], "--hours is 1e+300: give more than 0, and 1000000 at most"),
        (["--hours", "1", f"--instances={10**30}"], "give 1 or more, and 1000000 at most"),
        (["--hours", "-3", "--why"], "--why tells no costs"),
        (["--instances", "5", "--why"], "--why tells no costs"),
        (["--instances", "5"], "--instances needs --hours"),
    ],
)
def test_options_that_would_change_nothing_are_refused(
    options: list[str], message: str, daemon: FakeYagna, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["offers", "--seconds", "1", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_what_the_dearest_provider_asks_for_is_told(
    daemon: FakeYagna, capsys: pytest.CaptureFixture[str]
) -> None:
    for provider in daemon.providers:
        provider.start = Decimal("1e25")
    line = said(capsys, "--seconds", "2", "--hours", "1000000", "--instances", "3").splitlines()[-1]
    assert line.startswith("1000000 h of 3 instances: 3000000000000000000")
