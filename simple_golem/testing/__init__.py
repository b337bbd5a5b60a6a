"""A Golem network in memory, for tests of programs that use this library.

A test looks like this:

    from simple_golem import Golem
    from simple_golem.testing import FakeProvider, FakeYagna


    def test_it_says_hello(monkeypatch):
        provider = FakeProvider(answers={"/bin/echo hello": "hello\\n"})
        with FakeYagna([provider]) as fake:
            for name, value in fake.environment.items():
                monkeypatch.setenv(name, value)
            with Golem(budget=1) as golem:
                cluster = golem.run_service(Hello)
                ...
            assert fake.leftovers() == []

`FakeYagna` is the requestor's daemon. It answers each request as the real daemon does (the same tests run
on both), but without delay. In a `with` statement it listens on loopback, so that everything works: files
and streamed output, too. `fake.adapter()` serves a `requests.Session` without a socket. `fake.environment`
has the environment variables that lead a script to the daemon and to its image registry, which knows every
tag.

`FakeProvider` describes a provider: its prices, what its commands answer, and how it misbehaves. A test may
change its attributes at any moment. Its methods take effect at once and wake everything that waits for it:
`provider.terminate_agreement()`, `vanish()`, `die()`, `kill_exe_unit()`, `come_back()`, `stop_reporting()`,
`send_debit_note()`. The daemon has `go_down()`, `come_up()` and `restart()`.

`FakeProvider(answers=...)` answers commands: a function of the command, or a mapping of command lines.
`CommandAnswer` shows what an answer can be. `sleep N` in a shell takes N seconds and is never passed to
`answers`. All other commands succeed without output. `provider.files` has the files of an activity, by
path.

All waiting goes by `fake.clock`. With `FakeYagna(clock=HandClock())` time stands still for the daemon and
its providers until the test calls `fake.clock.advance(seconds)`: long polls end, debit notes come, silent
activities become unresponsive. The library itself uses the real clock all the same.

`fake.intercept(function)` calls a function with each request. The function may answer it, or return a
`Fault`: the connection then breaks before or after the request is carried out. `fake.leftovers()` lists
what the requestor has not ended.

`python -m simple_golem.testing` runs a fake daemon as a process of its own.
"""

from .clock import Clock, HandClock
from .command_answer import CommandAnswer
from .fake_provider import FakeProvider
from .fake_yagna import FakeYagna
from .fronts.adapter import FakeYagnaAdapter
from .request import Call, ConnectionDropped, ConnectionRefused, FakeAnswer, FakeRequest, Fault, ReadTimedOut

__all__ = [
    "Call",
    "Clock",
    "CommandAnswer",
    "ConnectionDropped",
    "ConnectionRefused",
    "FakeAnswer",
    "FakeProvider",
    "FakeRequest",
    "FakeYagna",
    "FakeYagnaAdapter",
    "Fault",
    "HandClock",
    "ReadTimedOut",
]
