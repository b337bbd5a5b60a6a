"""The same scripts by two programs under the same faults: how it is judged that they have ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.plan import Fault
from tests.soak.beside.one_run import RESULTS, THE_LIBRARY, Ended, Program, run_seed
from tests.soak.beside.part import failures_of, table
from tests.soak.fault_runs.one_run import MIXED


def test_the_library_ends_well_under_a_fault() -> None:
    ended = run_seed(THE_LIBRARY, 2)
    assert (ended.program, ended.how, ended.left) == ("simple_golem", "well", [])
    assert len(ended.hits) == 1


# A program hears of a Ctrl-C that has come while Python was starting.
LISTEN = "import signal; signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT]);"


@pytest.fixture
def deaf_at_first() -> Iterator[None]:
    """Programs that a test starts are deaf to Ctrl-C until they listen."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize(
    ("code", "how", "told"),
    [
        (f"print({RESULTS!r})", "well", ""),
        ("print('0 1 2')", "incomplete", ""),
        ("raise SystemExit('it does not work')", "error", "it does not work"),
        (LISTEN + "import time; time.sleep(600)", "hung", "KeyboardInterrupt"),
    ],
    ids=["well", "incomplete", "error", "hung"],
)
def test_how_a_program_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf_at_first: None, code: str, how: str, told: str
) -> None:
    monkeypatch.setattr("tests.soak.beside.one_run.HANGS_SECONDS", 0.1 if how == "hung" else 60.0)
    script = tmp_path / "script.py"
    script.write_text(code)
    ended = run_seed(Program("another", str(script)), 1)
    assert (ended.how, ended.told) == (how, told)


def test_what_is_left_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, requests\n"
        "headers = {'Authorization': 'Bearer ' + os.environ['YAGNA_APPKEY']}\n"
        "url = os.environ['YAGNA_API_URL'] + '/payment-api/v1/allocations'\n"
        "body = {'totalAmount': '1', 'paymentPlatform': 'erc20-hoodi-tglm'}\n"
        "assert requests.post(url, json=body, headers=headers).status_code == 201\n"
    )
    (left,) = run_seed(Program("another", str(script)), 1).left
    assert left.startswith("allocation")


def ended(program: str, kind: str, how: str, *left: str) -> Ended:
    return Ended(program, 1, kind, "work", [("GET /me", Fault.CUT)], how, "what it said", left, 3.2)


def test_the_table_has_a_row_for_each_program_and_kind_of_run() -> None:
    runs = [
        ended("a", "CUT", "well"),
        ended("b", "CUT", "hung", "demand d1"),
        ended("a", MIXED, "incomplete"),
    ]
    told = [
        (row["faults"], row["by"], row["ended well"], row["hung"], row["left something"])
        for row in table(runs)
    ]
    assert told == [
        ("one fault", "a", 1, 0, 0),
        ("one fault", "b", 0, 1, 1),
        ("5 % of all requests", "a", 0, 0, 0),
    ]


def test_only_the_library_must_not_hang_or_lose_results() -> None:
    assert failures_of([ended("yapapi", "CUT", "hung"), ended("simple_golem", "CUT", "error")]) == []
    (told,) = failures_of([ended("simple_golem", "CUT", "incomplete")])
    assert told == "seed 1 (CUT; work): incomplete; what it said"
