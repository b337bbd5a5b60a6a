"""Output of virtual machines, which lose the end of it: what is told of it, and how it comes whole."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from simple_golem import CommandFailed, Golem, Payload, Result, Run, Service, UploadBytes
from simple_golem.errors import BadCommand, BadService, BatchTimeout
from simple_golem.testing import CommandAnswer, FakeYagna
from tests.helpers.recorded_services import SECONDS, Gate, Idle, begun, programs, started

LONG = b"0123456789" * 20_000
ANSWERS = {
    "/bin/long": LONG.decode(),
    "/bin/short": CommandAnswer(LONG[:4095], LONG[:4095]),
    "/bin/stderr": CommandAnswer(b"", LONG[:4097]),
    "/bin/fail": CommandAnswer(LONG, LONG[:5000], exit_code=3),
    "/bin/bytes": b"\xff\xfe" * 5000,
}
WARNING = "may not be whole"


@pytest.fixture
def real(fake: FakeYagna) -> FakeYagna:
    """Providers that lose output as real ones do."""
    for provider in fake.providers:
        provider.answers = ANSWERS
        provider.loses_output = True
    return fake


def files_on(fake: FakeYagna) -> list[str]:
    return [path for provider in fake.providers if provider.activities for path in list(provider.files)]


def test_a_program_without_any_output_loses_nothing(real: FakeYagna) -> None:
    for provider in real.providers:
        provider.answers = lambda _command: iter(())
    with Golem(1) as golem:
        result = started(golem).execute(Run("/bin/silent"))
    assert (result.stdout, result.exit_code) == ("", 0)


def test_a_long_output_may_be_cut_and_is_told_once_for_each_class(
    real: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    class Other(Idle):
        pass

    with Golem(1) as golem:
        instance = started(golem)
        short, stderr = instance.execute(Run("/bin/short"), Run("/bin/stderr"))
        assert not short.may_be_cut
        assert len(short.stdout) == 4095
        assert stderr.may_be_cut
        assert len(stderr.stderr) == 4096
        assert caplog.text.count(WARNING) == 1
        assert "keep_all=True" in caplog.text
        assert "Run('/bin/stderr')" in caplog.text
        (long,) = instance.execute(Run("/bin/long"))
        assert long.may_be_cut
        assert long.stdout.encode() == LONG[:-65536]
        assert caplog.text.count(WARNING) == 1
        started(golem, Other).execute(Run("/bin/long"))
        assert caplog.text.count(WARNING) == 2


def test_a_failed_command_and_a_streamed_one_are_told_too(
    real: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[Any] = []
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(CommandFailed) as caught:
            instance.execute(Run("/bin/fail"))
        assert caught.value.results[-1].may_be_cut  # type: ignore[attr-defined]
        assert caplog.text.count(WARNING) == 1
        assert instance.execute(Run("/bin/long", stream=lines.append))[0].may_be_cut
    assert sum(map(len, lines)) == len(LONG) - 65536


@pytest.mark.parametrize(
    ("command", "may_be_cut"),
    [
        (Run("/bin/long", keep_first=8192), False),
        (Run("/bin/long", keep_first=10_000_000), True),
        (Run("/bin/long", keep_last=100), True),
        (Run("/bin/short", keep_last=5000), False),
        (Run("/bin/long", binary=True), True),
        (Run("/bin/long", keep_all=True), False),
    ],
)
def test_a_limit_that_was_reached_is_no_cut_but_at_the_end(
    real: FakeYagna, command: Run, may_be_cut: bool
) -> None:
    with Golem(1) as golem:
        assert started(golem).execute(command)[0].may_be_cut is may_be_cut


def test_another_runtime_is_believed(fake: FakeYagna, caplog: pytest.LogCaptureFixture) -> None:
    for provider in fake.providers:
        provider.answers = ANSWERS
        provider.properties = {"golem.runtime.name": "wasmtime"}
    with Golem(1) as golem:
        instance = started(golem, payload=Payload(runtime="wasmtime"))
        assert not instance.execute(Run("/bin/long"))[0].may_be_cut
        with pytest.raises(BadCommand, match="whole output needs /bin/sh, and the runtime wasmtime has no"):
            instance.execute(Run("/bin/long", keep_all=True))
    assert WARNING not in caplog.text


def test_keep_all_brings_everything_and_leaves_nothing(
    real: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        results = instance.execute(
            Run("/bin/short"),
            Run("/bin/long", keep_all=True),
            UploadBytes(b"x", "/golem/input/x"),
            Run("/bin/bytes", keep_all=True, binary=True, env={"A": "1"}),
            Run("/bin/true"),
        )
        assert [one.index for one in results] == [0, 1, 2, 3, 4]
        assert results[1].stdout.encode() == LONG
        assert results[1].exit_code == 0
        assert results[1].command == Run("/bin/long", keep_all=True)
        assert results[3].stdout_bytes == b"\xff\xfe" * 5000
        assert files_on(real) == ["/golem/input/x"]
    assert WARNING not in caplog.text


def test_a_failed_command_has_its_whole_output_and_its_exit_code(real: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        batch = (Run("/bin/fail", keep_all=True), Run("/bin/true"))
        with pytest.raises(CommandFailed, match="exit code 3\n  stderr: 01234") as caught:
            instance.execute(*batch)
        assert caught.value.stdout.encode() == LONG
        assert caught.value.stderr.encode() == LONG[:5000]
        assert caught.value.exit_code == 3
        assert len(caught.value.results) == 1
        assert files_on(real) == []


def test_a_class_can_have_all_its_commands_keep_all(real: FakeYagna) -> None:
    class Whole(Idle):
        keep_all = True

        def start(self) -> Any:
            super().start()
            return [Run("/bin/long")]

        def run(self) -> Any:
            lines: list[Any] = []
            self.seen = (
                *self.results,
                *self.execute(Run("/bin/long"), Run("/bin/long", keep_first=5)),
                *self.execute(Run("/bin/short", stream=lines.append)),
            )

    with Golem(1) as golem:
        cluster, instance = begun(golem, Whole)
        assert cluster.wait(SECONDS)
    returned, executed, limited, streamed = instance.service.seen  # type: ignore[attr-defined]
    assert returned.stdout.encode() == executed.stdout.encode() == LONG
    assert limited.stdout == "01234"
    assert len(streamed.stdout) == 4095


def test_a_transfer_that_fails_leaves_nothing(real: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem)
        (provider,) = (one for one in real.providers if one.activities)
        provider.transfer_error = "Local service error: Transfer error: the disk is full"
        with pytest.raises(CommandFailed, match=r"keep_all=True\) failed .* the disk is full"):
            instance.execute(Run("/bin/long", keep_all=True))
        last = provider.commands[-1]["run"]
        assert (last["entry_point"], last["args"]) == ("/bin/rm", ["-rf", "/golem/work/.simple-golem-output"])


def test_an_image_without_a_volume_says_so(real: FakeYagna) -> None:
    for provider in real.providers:
        provider.volumes = ()
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(BadCommand, match="needs a volume, and the image has none"):
            instance.execute(Run("/bin/long", keep_all=True))


def test_a_resumed_instance_knows_its_volume(real: FakeYagna) -> None:
    with Golem(1) as golem:
        cluster = golem.run_service(Idle)
        cluster.wait_until_running(SECONDS)
        suspended = cluster.suspend()
    assert [one.volume for one in suspended] == ["/golem/work"]
    with Golem(1) as golem:
        resumed = golem.resume_service(Idle, suspended)
        (instance,) = resumed.wait_until_running(SECONDS)
        assert instance.execute(Run("/bin/long", keep_all=True)).stdout.encode() == LONG
        assert instance.execute(Run("/bin/long"))[0].may_be_cut


@pytest.mark.parametrize("value", [1, "yes", None])
def test_keep_all_of_a_class_is_checked(value: object) -> None:
    with pytest.raises(BadService, match=r"Wrong\.keep_all is"):
        type("Wrong", (Service,), {"keep_all": value})


def test_a_unit_test_can_have_a_result_that_may_be_cut() -> None:
    assert Result(may_be_cut=True).may_be_cut
    assert Idle().with_answers({Run("/bin/x"): "out"}).execute(Run("/bin/x"))[0].may_be_cut is False


@pytest.mark.parametrize("next_one", [Run("/bin/true"), Run("/bin/long", keep_all=True)])
def test_what_a_batch_left_that_timed_out_is_removed_by_the_next(
    real: FakeYagna, monkeypatch: pytest.MonkeyPatch, next_one: Run
) -> None:
    # The transfer to where nobody waits for it any more fails at once.
    monkeypatch.setattr("simple_golem.testing.daemon.files.transfers._RETRY_SECONDS", ())
    gate = Gate()

    def answers(command: dict[str, Any]) -> Any:
        program = command["run"]["entry_point"]
        if program == "/bin/slow":
            gate.wait()
        return ANSWERS.get(program)

    for provider in real.providers:
        provider.answers = answers
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(BatchTimeout):
            instance.execute(Run("/bin/slow", keep_all=True), timeout=1.5)
        gate.open()
        assert instance.execute(next_one, timeout=SECONDS).success
        (provider,) = (one for one in real.providers if one.activities)
        removals = [line for line in programs(provider) if line.startswith("/bin/rm")]
        assert removals == ["/bin/rm -rf /golem/work/.simple-golem-output"]
        assert programs(provider).index(removals[0]) < len(programs(provider)) - 1


def test_the_log_has_no_secret(real: FakeYagna, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Golem(1) as golem:
        instance = started(golem)
        instance.execute(Run("/bin/long", env={"TOKEN": "a-secret"}, keep_all=True))
        with pytest.raises(CommandFailed):
            instance.execute(Run("/bin/fail", env={"TOKEN": "a-secret"}, keep_all=True))
    assert "/bin/long" in caplog.text
    for secret in ("a-secret", real.app_key):
        assert secret not in caplog.text


def test_the_output_of_shell_is_whole_without_asking(
    real: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    for provider in real.providers:
        provider.answers = {"/bin/sh -c long": LONG.decode(), "/bin/sh -c fail": CommandAnswer(LONG, b"", 3)}
    with Golem(1) as golem:
        instance = started(golem)
        result = instance.shell("long")
        assert (result.stdout, result.may_be_cut) == (LONG.decode(), False)
        assert result[0].command == Run.shell("long")
        with pytest.raises(CommandFailed) as caught:
            instance.shell("fail")
        assert (caught.value.stdout, caught.value.exit_code) == (LONG.decode(), 3)
        assert files_on(real) == []
        assert WARNING not in caplog.text
        # Whoever says how much is to be kept gets that.
        assert len(instance.shell("long", keep_first=100).stdout) == 100
        assert len(instance.shell("long", keep_all=False).stdout) < len(LONG)


def test_the_output_of_shell_in_an_image_without_a_volume_comes_as_any_other(real: FakeYagna) -> None:
    for provider in real.providers:
        provider.answers = {"/bin/sh -c short": "short"}
        provider.volumes = ()
    with Golem(1) as golem:
        assert started(golem).shell("short").stdout == "short"
