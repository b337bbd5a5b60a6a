"""Habits on the command line."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from simple_golem.command_line.habit_options import _SPELLINGS, spelled_habits
from simple_golem.command_line.main import main
from simple_golem.errors import BadHabit, LocalNetworkError
from simple_golem.local.control.habits import Answer, FailingCommands, Price, ProviderHabits

SPELLED = {
    "never-answers": ProviderHabits(proposals=Answer.NEVER),
    "rejects-proposals": ProviderHabits(proposals=Answer.NO),
    "rejects-proposals:it rains": ProviderHabits(proposals=Answer.NO, reason="it rains"),
    "never-approves": ProviderHabits(agreements=Answer.NEVER),
    "rejects-agreements:no": ProviderHabits(agreements=Answer.NO, reason="no"),
    "approves-after:2.5": ProviderHabits(approves_after=2.5),
    "never-creates": ProviderHabits(activities=Answer.NEVER),
    "refuses-activities": ProviderHabits(activities=Answer.NO),
    "creates-after:2": ProviderHabits(creates_after=2.0),
    "fails-deploy": ProviderHabits(deploy_error="no disk left"),
    "fails-deploy:a: b": ProviderHabits(deploy_error="a: b"),
    "fails-commands": ProviderHabits(failing_commands=FailingCommands()),
    "fails-commands:date": ProviderHabits(failing_commands=FailingCommands("date")),
    "hangs-commands": ProviderHabits(hanging_commands=""),
    "hangs-commands:date": ProviderHabits(hanging_commands="date"),
    "delays-commands:0.5": ProviderHabits(command_delay=0.5),
    "disk-of:64": ProviderHabits(disk_mib=64),
    "slow-transfers:100": ProviderHabits(transfer_speed=100.0),
    "cuts-transfers-after:4096": ProviderHabits(cuts_transfers_after=4096),
    "never-streams": ProviderHabits(streams=False),
    "cuts-streams-after:3": ProviderHabits(streams_events=3),
    "silent-after:1": ProviderHabits(silent_after=1.0),
    "silent-for:6": ProviderHabits(silent_for=6.0),
    "terminates-after:3": ProviderHabits(terminates_after=3.0),
    "keeps-activity": ProviderHabits(keeps_activity=True),
    "dies-after:0": ProviderHabits(dies_after=0.0),
    "never-destroys": ProviderHabits(destroys=False),
    "runtime:wasmtime": ProviderHabits(runtime="wasmtime"),
    "gpu:NVIDIA GeForce RTX 4090": ProviderHabits(gpu="NVIDIA GeForce RTX 4090"),
    "claims:inet,vpn": ProviderHabits(claims=("inet", "vpn")),
    "price-per-second:0.5": ProviderHabits(price=Price(per_second=Decimal("0.5"))),
    "debit-note-interval:1": ProviderHabits(debit_note_interval=1.0),
    "insists-on-interval:600": ProviderHabits(insists_on_interval=600.0),
    "overcharges:1.5": ProviderHabits(overcharge=Decimal("1.5")),
    "never-invoices": ProviderHabits(invoices=False),
    "invoices-after:4": ProviderHabits(invoices_after=4.0),
}


@pytest.mark.parametrize("spelled", SPELLED)
def test_a_habit_can_be_typed(spelled: str) -> None:
    assert spelled_habits([f"prov-2={spelled}"], 3) == [ProviderHabits(), SPELLED[spelled], ProviderHabits()]


def test_there_is_an_example_of_every_spelling() -> None:
    assert {spelled.partition(":")[0] for spelled in SPELLED} == set(_SPELLINGS)


def test_the_habits_of_one_provider_add_up() -> None:
    (habits,) = spelled_habits(["prov-1=terminates-after:1", "prov-1=keeps-activity"], 1)
    assert habits == ProviderHabits(terminates_after=1.0, keeps_activity=True)


@pytest.mark.parametrize(
    ("spelled", "said"),
    [
        ("dies-after:5", "a provider from prov-1 to prov-4, not 'dies-after:5'"),
        ("prov-5=dies-after:5", "a provider from prov-1 to prov-4, not 'prov-5=dies-after:5'"),
        ("prov-2=explodes", "there is no habit 'explodes'; the habits are never-answers, rejects"),
        ("prov-2=fails-command", "there is no habit 'fails-command': did you mean fails-commands[:"),
        ("prov-2=dies-after", "write this habit as dies-after:SECONDS, not 'dies-after'"),
        ("prov-2=dies-after:soon", "write this habit as dies-after:SECONDS"),
        ("prov-2=dies-after:-1", "write this habit as dies-after:SECONDS"),
        ("prov-2=never-approves:1", "write this habit as never-approves, not"),
        ("prov-2=overcharges:nan", "write this habit as overcharges:FACTOR"),
        ("prov-2=price-per-second:-1", "write this habit as price-per-second:GLM"),
        ("prov-2=overcharges:", "write this habit as overcharges:FACTOR"),
    ],
)
def test_a_habit_typed_wrongly_is_one_line_that_says_how(
    spelled: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadHabit):
        spelled_habits([spelled], 4)
    assert main(["local", "up", "--habit", spelled]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_help_lists_the_habits(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "up"):
        with pytest.raises(SystemExit):
            main(["local", command, "--help"])
        shown = "".join(capsys.readouterr().out.split())
        assert [name for name in _SPELLINGS if name not in shown] == []


@pytest.mark.parametrize("command", ["run", "up"])
def test_the_help_explains_each_habit_in_the_words_of_the_page(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parents[3] / "docs" / "local-network" / "habits.md"
    table = re.findall(r"^\| `([^`]+)` \| (.+) \|$", page.read_text(encoding="utf-8"), re.M)
    with pytest.raises(SystemExit):
        main(["local", command, "--help"])
    shown = {re.sub(r"\s+", " ", line.strip()) for line in capsys.readouterr().out.splitlines()}
    assert len(table) > 25
    assert {f"{habit} {meaning}".replace("`", "") for habit, meaning in table} <= shown


def test_habits_need_a_provider() -> None:
    with pytest.raises(LocalNetworkError, match="1 to 200 providers, not 0"):
        spelled_habits(["prov-1=dies-after:1"], 0)
