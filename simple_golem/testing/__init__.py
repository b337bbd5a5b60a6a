"""A Golem Network in memory, for tests of programs that use this library; nothing but Python is needed.

    from simple_golem import Golem
    from simple_golem.testing import FakeProvider, FakeYagna


    def test_it_says_hello():
        provider = FakeProvider(answers={"/bin/echo hello": "hello\\n"})
        with FakeYagna([provider]) as fake:
            with Golem(budget=1, api_url=fake.url, app_key=fake.app_key) as golem:
                cluster = golem.run_service(Hello)
                ...
            assert fake.leftovers() == []

`FakeYagna` is the requestor's daemon. It answers each request as the real one does, and at once where the
real one takes its time. In a `with` statement it listens on loopback, so that anything can use it, files and
streamed output included; `fake.adapter()` serves a `requests.Session` without a socket. `fake.environment`
has the variables that a script needs, those for its image registry included, which knows every tag: set them
with `monkeypatch.setenv`.

`FakeProvider` describes how a provider behaves: its prices, what its commands answer, and how it lets
requestors down. Its attributes may be changed at any moment, and its methods have it do something now:
`provider.terminate_agreement()`, `vanish()`, `die()`, `kill_exe_unit()`, `come_back()`, `stop_reporting()`.
The daemon has `go_down()`, `come_up()` and `restart()`. Whoever waits for what has changed by that wakes at
once.

A command is answered by `FakeProvider(answers=...)`: a function of the command, or a mapping of command
lines. See `CommandAnswer` for what an answer can say. `sleep N` in a shell takes N seconds and is never asked
for; all else succeeds without output. Files are kept in `provider.files`, by path.

All waiting goes by `fake.clock`. With `FakeYagna(clock=HandClock())` time stands still for daemon and
providers until the test calls `fake.clock.advance(seconds)`: long polls end, debit notes come, silent
activities become unresponsive. The library itself goes by the real clock all the same.

`fake.intercept(function)` shows each request to a function first, which may answer it, or return a `Fault`
that lets the connection break before or after the request is carried out.

`python -m simple_golem.testing` runs one as a process of its own.
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
