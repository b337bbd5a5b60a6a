"""The Service class: what users write, what is refused, and how it is tested without a network."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from simple_golem.errors import (
    BadAnswer,
    BadCommandList,
    BadPayload,
    BadService,
    BadWaitTime,
    CommandFailed,
    GolemError,
    NoContext,
    NotRunning,
    ServiceStopped,
)
from simple_golem.model.commands.commands import Command, Commands, Deploy, Run, Start
from simple_golem.model.commands.results import Result, Results
from simple_golem.model.payload import vm
from simple_golem.model.payload.payload import Payload
from simple_golem.model.service.service import Service, bind, check_run_interval, set_results
from simple_golem.model.service.service_class import (
    check_service_class,
    commands_from,
    has_own_run,
    payload_of,
)
from simple_golem.model.service.states import ServiceState

DATE = Run("/bin/date")
LIST = Run("/bin/ls", "/")


class Hello(Service):
    def start(self) -> Commands:
        return [DATE]

    def run(self) -> Commands:
        print_me = self.execute(DATE).stdout
        return [Run("/bin/echo", print_me)]


class FakeBinding:
    """An instance that runs, as far as a service can see."""

    def __init__(self) -> None:
        self.name = "Hello-1"
        self.state = ServiceState.running
        self.provider_name = "prov-1"
        self.provider_id = "0x1"
        self.activity_id = "a1"
        self.stopping = False
        self.calls: list[object] = []

    def execute(self, commands: tuple[Command, ...], timeout: float | None) -> Results:
        self.calls.append((commands, timeout))
        return Results([Result(stdout="live")])

    def wait(self, seconds: float) -> None:
        self.calls.append(seconds)
        if self.stopping:
            raise ServiceStopped("stopped")

    def stop(self) -> None:
        self.stopping = True


# --- a class as users write it ---


def test_each_method_has_a_default() -> None:
    service = Service()
    assert service.get_payload() == vm.repo()
    assert service.deploy() == [Deploy(), Start()]
    assert service.start() == service.run() == service.shutdown() == []
    assert Service.run_interval is None


def test_commands_can_be_compared_without_a_network() -> None:
    assert Hello().start() == [DATE]


def test_a_forgotten_super_init_breaks_nothing() -> None:
    class Careless(Service):
        def __init__(self, city: str) -> None:
            self.city = city

    service = Careless("Oslo")
    assert (service.name, service.results, service.city) == ("Careless", Results(), "Oslo")


def test_an_init_may_name_the_service_before_or_without_calling_super() -> None:
    class Named(Service):
        def __init__(self, number: int) -> None:
            self.name = f"number {number}"
            super().__init__()

    assert Named(3).name == "number 3"


def test_dataclasses_frozen_or_not_can_be_services() -> None:
    @dataclasses.dataclass
    class Open(Service):
        city: str = "Oslo"

    @dataclasses.dataclass(frozen=True)
    class Shut:
        city: str = "Oslo"

    class Both(Shut, Service):
        pass

    assert Open("Rome").name == "Open"
    assert Both("Rome").name == "Both"


def test_mixins_after_service_get_their_init() -> None:
    class Mixin:
        def __init__(self) -> None:
            self.mixed = True

    class Mixed(Service, Mixin):
        pass

    assert Mixed().mixed


def test_parameters_that_no_init_takes_are_an_error() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        Hello("too much")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="keyword argument"):
        Hello(city="Oslo")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "state",
        "results",
        "execute",
        "wait",
        "stop",
        "stopping",
        "provider_name",
        "provider_id",
        "activity_id",
        "with_answers",
    ],
)
def test_a_class_can_not_take_a_name_that_service_uses(name: str) -> None:
    with pytest.raises(BadService, match=rf"Mine\.{name}: Service has a `{name}` already"):
        type("Mine", (Service,), {name: "mine"})
    mixin = type("Mixin", (), {name: "mine"})
    with pytest.raises(TypeError, match=rf"Mixin\.{name}"):
        type("Mine", (mixin, Service), {})


def test_properties_can_only_be_read() -> None:
    service = Hello()
    for name in ("state", "provider_name", "provider_id", "activity_id", "stopping"):
        with pytest.raises(AttributeError):
            setattr(service, name, "x")


@pytest.mark.parametrize("interval", [0, -1, True, "10", float("nan"), float("inf"), [10]])
def test_an_interval_that_is_no_positive_time_is_refused_at_the_class_line(interval: object) -> None:
    with pytest.raises(BadWaitTime, match=r"Mine\.run_interval is"):
        type("Mine", (Service,), {"run_interval": interval})
    with pytest.raises(ValueError, match="x is"):
        check_run_interval(interval, "x")


def test_a_usable_interval_is_kept() -> None:
    for interval in (None, 10, 0.5):
        cls: type[Service] = type("Mine", (Service,), {"run_interval": interval})
        assert check_run_interval(cls.run_interval, "x") == interval


def test_touching_ctx_shows_how_to_port_the_line() -> None:
    with pytest.raises(NoContext, match=r"becomes `self\.execute\(Run\(a, b\)\)`"):
        _ = Hello()._ctx
    assert issubclass(NoContext, AttributeError)


# --- what the engine asks of a class ---


def make(method: str, function: object) -> type[Service]:
    return type("Mine", (Service,), {method: function})


def generator(self: object) -> Iterator[Command]:
    yield DATE


async def coroutine(self: object) -> list[Command]:
    return [DATE]


async def async_generator(self: object) -> Any:
    yield DATE


def plain(self: object) -> list[Command]:
    return [DATE]


@pytest.mark.parametrize("method", ["deploy", "start", "run", "shutdown", "get_payload"])
@pytest.mark.parametrize("function", [generator, coroutine, async_generator])
@pytest.mark.parametrize("wrap", [lambda function: function, staticmethod, classmethod])
def test_generators_and_coroutines_are_refused(
    method: str, function: Callable[..., object], wrap: Callable[[Any], object]
) -> None:
    end = "return the payload" if method == "get_payload" else "return a list"
    with pytest.raises(BadService, match=rf"Mine\.{method} is .*: remove `yield` and `async`, and {end}"):
        check_service_class(make(method, wrap(function)))


def test_a_service_class_passes() -> None:
    @functools.wraps(plain)
    def decorated(*args: object) -> list[Command]:
        return plain(*args)

    for cls in (
        Service,
        Hello,
        make("start", plain),
        make("run", staticmethod(list)),
        make("run", decorated),
    ):
        assert check_service_class(cls) is cls


@pytest.mark.parametrize(
    ("stranger", "advice"),
    [
        (Hello(), "give the class itself, Hello without its parentheses"),
        (plain, "is not a class"),
        ("Hello", "is not a class"),
        (None, "is not a class"),
        (dict, r"class dict\(Service\)"),
        (make("start", [DATE]), r"Mine\.start is \[.*not a method"),
        (make("start", None), r"Mine\.start is None, which is not a method"),
        (make("run", lambda: [DATE]), r"Mine\.run must take `self`"),
        (make("run", lambda self, ctx: []), r"Mine\.run must take `self` and nothing else"),
    ],
)
def test_a_class_that_can_not_be_run_is_refused(stranger: object, advice: str) -> None:
    with pytest.raises(BadService, match=advice):
        check_service_class(stranger)


def test_an_inherited_run_counts_as_an_own_one() -> None:
    class Heir(Hello):
        pass

    assert [has_own_run(cls) for cls in (Service, make("start", plain), Hello, Heir)] == [
        False,
        False,
        True,
        True,
    ]


def test_get_payload_may_be_written_in_each_usual_way() -> None:
    payload = vm.repo(image_tag="a")

    def bare() -> Payload:
        return payload

    for method in (staticmethod(bare), classmethod(lambda cls: payload), bare, lambda *args: payload):
        assert payload_of(make("get_payload", method)) is payload
    assert payload_of(Service) == vm.repo()


def test_a_get_payload_with_self_is_told_what_it_lacks() -> None:
    with pytest.raises(BadService, match=r"Mine\.get_payload .*@staticmethod"):
        payload_of(make("get_payload", lambda self: vm.repo()))


def test_an_error_inside_get_payload_comes_out_as_it_is() -> None:
    def broken() -> Payload:
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        payload_of(make("get_payload", staticmethod(broken)))


def test_a_method_may_return_a_list_one_command_or_nothing() -> None:
    assert commands_from("Hello", "start", [DATE, LIST]) == (DATE, LIST)
    assert commands_from("Hello", "start", DATE) == (DATE,)
    assert commands_from("Hello", "start", None) == ()


def test_anything_else_is_named_with_class_and_method() -> None:
    with pytest.raises(BadCommandList, match=r"^Hello\.start\(\) returned 'ls', .*Run\.shell\('ls'\)"):
        commands_from("Hello", "start", "ls")
    with pytest.raises(BadCommandList, match=r"strike out `yield` and `async`"):
        commands_from("Hello", "start", coroutine(None))
    with pytest.raises(BadCommandList, match="has run its commands already"):
        commands_from("Hello", "run", Results([Result()]))


# --- bound to an instance ---


def test_a_bound_service_shows_its_instance() -> None:
    service, binding = Hello(), FakeBinding()
    bind(service, binding)
    assert (service.name, service.state, service.provider_name) == ("Hello-1", "running", "prov-1")
    assert (service.provider_id, service.activity_id, service.stopping) == ("0x1", "a1", False)
    service.name = "bob"
    assert binding.name == "bob"


def test_a_name_given_in_init_becomes_the_instances() -> None:
    service, binding = Hello(), FakeBinding()
    service.name = "bob"
    bind(service, binding)
    assert binding.name == service.name == "bob"


def test_a_bound_service_hands_everything_to_its_instance() -> None:
    service, binding = Hello(), FakeBinding()
    bind(service, binding)
    assert service.execute(DATE, LIST, timeout=5).stdout == "live"
    service.wait(3)
    assert service.execute() == Results()
    assert binding.calls == [((DATE, LIST), 5), 3, 0]
    service.stop()
    assert service.stopping
    with pytest.raises(ServiceStopped):
        service.execute()


def test_results_are_set_by_the_engine_alone() -> None:
    service = Hello()
    bind(service, FakeBinding())
    set_results(service, Results([Result(stdout="x")]))
    assert service.results.stdout == "x"
    service.execute(DATE)
    assert service.results.stdout == "x"
    with pytest.raises(AttributeError, match="unit test only"):
        service.results = [Result()]
    with pytest.raises(GolemError, match="runs on a provider"):
        service.with_answers({})


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1", None, True])
def test_a_time_that_is_none_is_refused(seconds: Any) -> None:
    service = Hello()
    with pytest.raises(BadWaitTime, match="seconds is"):
        service.wait(seconds)
    if seconds is not None:
        with pytest.raises(BadWaitTime, match="timeout is"):
            service.execute(DATE, timeout=seconds)
    with pytest.raises(BadWaitTime, match="timeout is"):
        service.execute(DATE, timeout=0)


def test_execute_refuses_what_is_no_command() -> None:
    with pytest.raises(BadCommandList, match=r"Run\.shell\('ls'\)"):
        Hello().execute("ls")  # type: ignore[arg-type]
    with pytest.raises(BadCommandList, match=r"execute\(\*commands\)"):
        Hello().execute([DATE])  # type: ignore[arg-type]


# --- in a unit test ---


def test_without_answers_execute_says_how_to_give_some() -> None:
    service = Hello()
    assert (service.name, service.state, service.provider_id) == ("Hello", "pending", None)
    with pytest.raises(NotRunning, match="with_answers"):
        service.run()


def test_answers_may_be_a_dict() -> None:
    service = Hello().with_answers({DATE: "Monday"})
    assert service.run() == [Run("/bin/echo", "Monday")]
    with pytest.raises(
        NotRunning, match=r"no answer was given for Run\('/bin/ls', '/'\).*Run\('/bin/date'\)"
    ):
        service.execute(LIST)


def test_answers_may_be_a_function_and_have_place_and_command() -> None:
    service = Hello().with_answers(lambda command: Result(stderr=command.program))
    assert service.execute(DATE, LIST) == (
        Result(stderr="/bin/date", index=0, command=DATE),
        Result(stderr="/bin/ls", index=1, command=LIST),
    )


def test_a_failed_answer_ends_the_batch_as_live() -> None:
    asked: list[Command] = []

    def answers(command: Command) -> Result:
        asked.append(command)
        return Result(success=False, stderr="no\n", message="exited with code 4")

    with pytest.raises(CommandFailed, match=r"Run\('/bin/date'\) failed on Hello .*exit code 4") as caught:
        Hello().with_answers(answers).execute(DATE, LIST)
    assert asked == [DATE]
    assert (caught.value.exit_code, caught.value.command) == (4, DATE)


def test_a_function_that_takes_the_lines_of_a_command_gets_those_of_its_answer(
    capsys: pytest.CaptureFixture[str],
):
    lines: list[Any] = []
    service = Hello().with_answers(lambda command: Result(stdout="one\ntwo", stderr="oops\n"))
    service.execute(Run("/bin/train", stream=lines.append))
    assert [(line, line.is_stderr) for line in lines] == [("one", False), ("two", False), ("oops", True)]
    service.execute(Run("/bin/train", stream=True))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("answer", [ServiceStopped, ServiceStopped("x"), KeyError("x")])
def test_an_error_as_an_answer_is_raised(answer: Any) -> None:
    with pytest.raises((ServiceStopped, KeyError)):
        Hello().with_answers({DATE: answer}).execute(DATE)


@pytest.mark.parametrize("answer", [None, 5, b"x", ["x"], int])
def test_an_answer_that_is_none_is_refused(answer: Any) -> None:
    with pytest.raises(BadAnswer, match=r"Run\('/bin/date'\) was answered"):
        Hello().with_answers({DATE: answer}).execute(DATE)
    if not callable(answer):
        with pytest.raises(BadAnswer, match="with_answers got"):
            Hello().with_answers(answer)


def test_waiting_takes_no_time_and_results_can_be_set() -> None:
    service = Hello()
    service.wait(3600)
    service.results = [Result(stdout="x")]
    assert service.results.stdout == "x"
    assert isinstance(service.results, Results)


def test_a_stopped_service_stops_at_its_next_call() -> None:
    service = Hello().with_answers({DATE: "Monday"})
    service.stop()
    assert service.stopping
    for call in (lambda: service.wait(1), lambda: service.execute(DATE), service.execute):
        with pytest.raises(ServiceStopped):
            call()


# --- the payload as an attribute ---------------------------------------------------------------------


class WithPayload(Service):
    payload = vm.repo(image_tag="me/image:latest")


class Computed(WithPayload):
    @staticmethod
    def get_payload():
        return vm.repo(image_tag="me/computed:latest")


class Again(Computed):
    payload = vm.repo(image_tag="me/again:latest")


class Both(Service):
    payload = vm.repo()

    @staticmethod
    def get_payload():
        return vm.repo()


@pytest.mark.parametrize(
    ("cls", "tag"),
    [
        (Service, "golem/alpine:latest"),
        (WithPayload, "me/image:latest"),
        (Computed, "me/computed:latest"),
        (Again, "me/again:latest"),
    ],
)
def test_the_payload_nearest_to_the_class_counts(cls, tag):
    assert payload_of(cls) == vm.repo(image_tag=tag)


def test_a_class_says_its_payload_in_one_way_only():
    with pytest.raises(BadService, match="Both has a payload and a get_payload"):
        payload_of(Both)


def test_a_payload_that_is_none_is_refused():
    wrong = type("Wrong", (Service,), {"payload": "golem/alpine"})
    with pytest.raises(BadPayload, match="'golem/alpine' is not a payload"):
        wrong().deploy()
