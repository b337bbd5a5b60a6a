"""The habits of local providers: on the way to the supervisor, as they are typed, and what comes of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.command_line.habit_options import _SPELLINGS, spelled_habits
from simple_golem.command_line.main import main
from simple_golem.errors import BadHabit, BadWaitTime, LocalNetworkError
from simple_golem.local.control.habits import Answer, FailingCommands, Price, ProviderHabits
from simple_golem.local.control.messages import LocalProvider
from simple_golem.local.control.provider_control import ProviderControl
from simple_golem.local.exe_unit.runtime import CommandError
from simple_golem.local.local_golem import LocalGolem
from simple_golem.local.provider.agent import ProviderAgent
from simple_golem.local.provider.delayed_calls import DelayedCalls
from simple_golem.local.provider.exe_unit_factory import _CommandHabits
from simple_golem.local.provider.usage import ProviderUsage, UsageReporter
from simple_golem.local.supervisor.orders import carry_out_provider_order

EVERYTHING_WRONG = ProviderHabits(
    price=Price(Decimal("0.1"), Decimal("0.2"), Decimal("0.3")),
    most_agreements=3,
    runtime="wasmtime",
    gpu="Matrox Mystique",
    gpu_mem_gib=0.5,
    claims=("inet", "vpn"),
    cpu_threads=2,
    mem_gib=1.5,
    storage_gib=10.0,
    proposals=Answer.NO,
    agreements=Answer.NEVER,
    approves_after=1.0,
    activities=Answer.NO,
    creates_after=2.0,
    reason="it rains",
    deploy_error="no disk",
    failing_commands=FailingCommands("date", 3, "no clock"),
    command_delay=0.5,
    disk_mib=64,
    transfer_speed=100.0,
    cuts_transfers_after=4096,
    streams=False,
    silent_after=4.0,
    silent_for=6.0,
    terminates_after=7.0,
    keeps_activity=True,
    dies_after=8.0,
    destroys=False,
    debit_note_interval=0.25,
    insists_on_interval=600.0,
    overcharge=Decimal("1.5"),
    invoices=False,
    invoices_after=9.0,
)


def test_every_habit_survives_the_way_to_another_process() -> None:
    wire = json.loads(json.dumps(EVERYTHING_WRONG.to_wire()))
    assert ProviderHabits.from_wire(wire) == EVERYTHING_WRONG
    honest = ProviderHabits()
    kept = [name for name in wire if getattr(honest, name) == getattr(EVERYTHING_WRONG, name)]
    assert kept == []


@pytest.mark.parametrize("field", ["approves_after", "creates_after", "command_delay", "invoices_after"])
def test_a_delay_is_a_number_of_seconds(field: str) -> None:
    for senseless in (-1, None, "1", float("nan"), float("inf")):
        with pytest.raises(BadWaitTime, match=field):
            ProviderHabits(**{field: senseless})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "field",
    [
        "silent_after",
        "silent_for",
        "terminates_after",
        "dies_after",
        "debit_note_interval",
        "insists_on_interval",
    ],
)
def test_what_may_never_happen_is_a_number_of_seconds_or_none(field: str) -> None:
    assert getattr(ProviderHabits(), field) is None
    for senseless in (-0.1, "soon"):
        with pytest.raises(BadWaitTime, match=field):
            ProviderHabits(**{field: senseless})  # type: ignore[arg-type]


def test_an_overcharge_is_a_factor_of_the_price() -> None:
    price = Price(Decimal("0.1"), Decimal("0.2"), Decimal("0.3"))
    assert ProviderHabits(price=price).charge([10, 1]) == Decimal("1.5")
    assert ProviderHabits(price=price, overcharge=Decimal(2)).charge([10, 1]) == Decimal(3)


# --- as they are typed -----------------------------------------------------------------------------

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
    "delays-commands:0.5": ProviderHabits(command_delay=0.5),
    "disk-of:64": ProviderHabits(disk_mib=64),
    "slow-transfers:100": ProviderHabits(transfer_speed=100.0),
    "cuts-transfers-after:4096": ProviderHabits(cuts_transfers_after=4096),
    "never-streams": ProviderHabits(streams=False),
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


# --- before a command ------------------------------------------------------------------------------

DATE: Mapping[str, Any] = {"run": {"entry_point": "/bin/sh", "args": ["-c", "date"]}}
ECHO: Mapping[str, Any] = {"run": {"entry_point": "/bin/echo"}}


def test_only_commands_with_the_text_fail() -> None:
    habits = _CommandHabits(ProviderHabits(failing_commands=FailingCommands("date", 3, "no clock\n")))
    assert habits.before(ECHO, Scope()) is None
    assert habits.before({"start": {}}, Scope()) is None
    with pytest.raises(CommandError, match="ExeScript command exited with code 3") as failed:
        habits.before(DATE, Scope())
    assert (failed.value.return_code, failed.value.stderr) == (3, "no clock\n")


def test_every_command_fails_where_no_text_is_asked_for() -> None:
    habits = _CommandHabits(ProviderHabits(failing_commands=FailingCommands()))
    for command in (DATE, ECHO):
        with pytest.raises(CommandError, match="code 1"):
            habits.before(command, Scope())


def test_a_deploy_fails_with_its_message_and_nothing_else_does() -> None:
    habits = _CommandHabits(ProviderHabits(deploy_error="no disk"))
    assert habits.before({"deploy": {}}, Scope()) == "no disk"
    assert habits.before(ECHO, Scope()) is None


def test_a_delay_ends_with_the_activity() -> None:
    scope = Scope()
    scope.cancel("over")
    assert _CommandHabits(ProviderHabits(command_delay=60)).before(ECHO, scope) is None


# --- what is reported ------------------------------------------------------------------------------


class Reported(set[str]):
    """Stands for the `UsageReporter`: the activities that are reported."""

    def add(self, activity_id: str, usage: object = None) -> None:
        super().add(activity_id)

    def remove(self, activity_id: str) -> None:
        super().discard(activity_id)


def no_usage() -> Sequence[float]:
    return [0.0, 0.0]


@pytest.fixture
def reported() -> Reported:
    return Reported()


@pytest.fixture
def usage(reported: Reported) -> ProviderUsage:
    usage = ProviderUsage(cast(UsageReporter, reported))
    usage.add("a", no_usage)
    usage.add("b", no_usage)
    return usage


def test_one_activity_can_be_passed_over(usage: ProviderUsage, reported: Reported) -> None:
    usage.silence("a")
    assert reported == {"b"}
    usage.resume("a")
    assert reported == {"a", "b"}


def test_who_reports_nothing_reports_no_activity_that_comes_later(
    usage: ProviderUsage, reported: Reported
) -> None:
    usage.stop()
    usage.add("c", no_usage)
    usage.resume("a")
    assert reported == set()
    usage.remove("b")
    usage.start()
    assert reported == {"a", "c"}


def test_reporting_again_ends_the_silence_of_one_as_well(usage: ProviderUsage, reported: Reported) -> None:
    usage.silence("a")
    usage.start()
    assert reported == {"a", "b"}


def test_an_activity_that_has_ended_is_not_reported_again(usage: ProviderUsage, reported: Reported) -> None:
    usage.silence("a")
    usage.remove("a")
    usage.resume("a")
    assert reported == {"b"}


# --- at their time ---------------------------------------------------------------------------------


def test_an_appointment_is_kept_and_another_is_off_when_the_scope_ends() -> None:
    scope, done = Scope(), threading.Event()
    appointments = DelayedCalls("habits", scope)
    appointments.after(None, lambda: pytest.fail("never is never"))
    appointments.after(0.01, done.set)
    appointments.after(60, lambda: pytest.fail("the scope has ended"))
    assert done.wait(5)
    scope.cancel()
    assert appointments.join(5)


@pytest.mark.parametrize("error", [ScopeEnded("gone"), LocalNetworkError("refused")])
def test_what_can_not_be_done_any_more_is_no_broken_thread(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise error

    appointments = DelayedCalls("habits", Scope())
    appointments.after(0, refuse)
    assert appointments.join(5)
    assert "ended with an error" not in caplog.text


def test_one_that_waits_for_the_others_does_not_wait_for_itself() -> None:
    results: list[bool] = []
    appointments = DelayedCalls("habits", Scope())
    appointments.after(0, lambda: results.append(appointments.join(5)))
    assert appointments.join(5)
    assert results == [True]


# --- what a provider is told -----------------------------------------------------------------------


class ToldAgent:
    """Stands for a `ProviderAgent`, and notes what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **details: self.told.append((name, *args, details))


@pytest.mark.parametrize(
    ("tell", "told"),
    [
        (lambda provider: provider.die(), ("die", {})),
        (lambda provider: provider.revive(), ("revive", {})),
        (lambda provider: provider.stop_reporting(), ("stop_reporting", {})),
        (lambda provider: provider.report_again(), ("report_again", {})),
        (
            lambda provider: provider.terminate_agreement("rain", keep_activity=True),
            ("terminate_agreements", "rain", {"keep_activity": True}),
        ),
    ],
)
def test_what_a_provider_is_told_reaches_its_agent(
    tell: Callable[[ProviderControl], None], told: tuple[Any, ...]
) -> None:
    agent = ToldAgent()

    def ask(message: Mapping[str, Any]) -> None:
        order = json.loads(json.dumps(message))
        assert (order["do"], order["name"]) == ("provider", "prov-2")
        carry_out_provider_order(cast(ProviderAgent, agent), order)

    tell(ProviderControl(LocalProvider("prov-2", "0x2", "key"), ask))
    assert agent.told == [told]


def test_an_order_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(LocalNetworkError, match="can't be told to dance"):
        carry_out_provider_order(cast(ProviderAgent, ToldAgent()), {"order": "dance"})


def test_no_provider_can_be_told_anything_while_the_network_is_down() -> None:
    with pytest.raises(LocalNetworkError, match="not up"):
        LocalGolem(1).provider("prov-1")
