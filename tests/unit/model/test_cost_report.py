"""The report of what everything cost: a table for people, values for programs, sums to the last digit."""

from __future__ import annotations

import json
from decimal import Decimal

from simple_golem.model.cost import Cost
from simple_golem.model.cost_report import CostEntry, CostReport

SMALLEST = Decimal("0.000000000000000001")


def entry(number: int, amount: str | Decimal, **more: object) -> CostEntry:
    values: dict[str, object] = {
        "cluster": "Hello",
        "instance": f"Hello-{number}",
        "provider_name": f"prov-{number}",
        "provider_id": f"0x{number}",
        "agreement_id": f"a{number}",
        "seconds": 12.4,
        "amount": Decimal(amount),
        "is_invoiced": True,
        **more,
    }
    return CostEntry(**values)  # type: ignore[arg-type]


def report(*entries: CostEntry) -> CostReport:
    total = Cost(Decimal(0), "tGLM", "hoodi", True)
    for one in entries:
        total = total.add(one.amount)
    return CostReport(entries, total)


def test_a_report_is_a_table_with_aligned_columns() -> None:
    whole = report(
        entry(1, "0.00420"),
        entry(
            2, "12", seconds=3600.6, is_invoiced=False, provider_name="a-longer-name", accrued=Decimal("5E-4")
        ),
        entry(10, "0", refused="it asks for 5 GLM"),
    )
    assert str(whole).splitlines() == [
        "instance  provider       seconds  tGLM accepted",
        "Hello-1   prov-1              12  0.0042",
        "Hello-2   a-longer-name     3601  12             not invoiced yet, come up since: 0.0005",
        "Hello-10  prov-10             12  0              not paid: it asks for 5 GLM",
        "total                             12.0042        on hoodi (test money)",
    ]


def test_a_report_of_nothing_is_a_total_of_nothing() -> None:
    assert str(report()).splitlines() == [
        "instance  provider  seconds  tGLM accepted",
        "total                        0              on hoodi (test money)",
    ]


def test_the_total_of_a_report_says_what_has_come_up_since() -> None:
    total = Cost(Decimal(1), "tGLM", "hoodi", True, accrued=Decimal("0.0005"))
    text = str(CostReport((), total))
    assert text.endswith("  1              on hoodi (test money), come up since: 0.0005 tGLM")


def test_real_money_is_not_called_test_money() -> None:
    text = str(CostReport((), Cost(Decimal(1), "GLM", "polygon", False)))
    assert "test" not in text
    assert text.endswith("on polygon")


def test_sums_by_cluster_instance_and_provider_are_exact() -> None:
    whole = report(
        entry(1, "1000000"),
        entry(1, SMALLEST, agreement_id="a9", provider_id="0x9"),
        entry(2, "0.1", cluster="Other", provider_id="0x9"),
        entry(3, "7", cluster="Other", instance="Hello-2", provider_id="0x7", provider_name="prov-7"),
    )
    assert whole.per_cluster() == {"Hello": 1000000 + SMALLEST, "Other": Decimal("7.1")}
    assert whole.per_instance() == {"Hello-1": 1000000 + SMALLEST, "Hello-2": Decimal("7.1")}
    assert whole.per_provider() == {
        "prov-1 (0x1)": Decimal(1000000),
        "prov-1 (0x9)": SMALLEST,
        "prov-2": Decimal("0.1"),
        "prov-7": Decimal(7),
    }
    for sums in (whole.per_cluster(), whole.per_instance(), whole.per_provider()):
        assert sum(sums.values()) == whole.total.amount


def test_a_report_is_json_with_exact_amounts() -> None:
    read = json.loads(
        report(
            entry(1, SMALLEST, is_invoiced=False, accrued=Decimal("1E-4")), entry(2, "1E+1", refused="no")
        ).to_json()
    )
    assert read["total"] == {
        "amount": "10.000000000000000001",
        "currency": "tGLM",
        "network": "hoodi",
        "is_test_money": True,
        "accrued": "0",
    }
    first, second = read["agreements"]
    assert first == {
        "cluster": "Hello",
        "instance": "Hello-1",
        "provider_name": "prov-1",
        "provider_id": "0x1",
        "agreement_id": "a1",
        "seconds": 12.4,
        "amount": "0.000000000000000001",
        "is_invoiced": False,
        "refused": None,
        "accrued": "0.0001",
    }
    assert (second["amount"], second["refused"]) == ("10", "no")
