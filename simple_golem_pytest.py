"""The pytest plugin of simple_golem: fixtures for tests on a Golem network of this machine.

pytest loads this module in each run, also where no test needs a network. So it stands outside the package,
and nothing of the package is imported before a fixture is used.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from simple_golem import Golem
    from simple_golem.local import LocalGolem

_NETWORK_MARK = (
    "golem_network(providers, habits, images, **others): the local network of the test. providers is their "
    "number, or a list of ProviderHabits; habits is a list such as ['prov-2=dies-after:5']; the others are "
    "arguments of simple_golem.local.LocalGolem"
)
_GOLEM_MARK = "golem(**arguments): the arguments of the test's Golem, such as budget=5"
_DESCRIPTIONS = pytest.StashKey[list[dict[str, Any]]]()
_IS_ENDING = pytest.StashKey[bool]()
_BUDGET = 1
# The invoices of agreements that have ended come within this time.
_SETTLE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_OURS = frozenset({"simple_golem", __name__})
# What the library calls, and what may call the code of a user again, such as a function of a pool.
_CALLED_BY_US = frozenset({"tenacity", "requests", "urllib3"})
_STANDARD_LIBRARY = (os.path.dirname(os.__file__) + os.sep, "<frozen ")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("golem_providers", "the number of providers of the local Golem network", default="4")
    parser.addini(
        "golem_habits", "what its providers do wrong: PROVIDER=HABIT, one a line", type="linelist", default=[]
    )
    parser.addini(
        "golem_images", "its additional images: TAG_OR_HASH=PATH, one a line", type="linelist", default=[]
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _NETWORK_MARK)
    config.addinivalue_line("markers", _GOLEM_MARK)
    config.stash[_DESCRIPTIONS] = []
    config.stash[_IS_ENDING] = False


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test with a mark its own network; pytest runs tests with the same network side by side."""
    if "golem_network" not in metafunc.fixturenames:
        return
    description = _marked(metafunc.definition, "golem_network")
    if description:
        known = metafunc.config.stash[_DESCRIPTIONS]
        # pytest keeps a fixture for the next test only if its parameter is the same object.
        same = next((one for one in known if one == description), description)
        if same is description:
            known.append(description)
        hidden = getattr(pytest, "HIDDEN_PARAM", "golem_network")
        metafunc.parametrize("golem_network", [same], indirect=True, ids=[hidden], scope="session")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Hide the frames of the library from the report of a test: its user looks for a line of their own.

    `pytest --full-trace` and `--tb=native` show all of them.
    """
    if call.excinfo is None:
        return
    if _is_end_signal(call.excinfo.value):
        # An open Golem turns SIGTERM into an exception. For pytest that is a failed test like any other.
        item.config.stash[_IS_ENDING] = True
        item.session.shouldstop = "a signal has asked pytest to end"
    # A failure with pytrace=False shows none.
    if not getattr(call.excinfo.value, "pytrace", True):
        return
    waiting: list[object] = [call.excinfo.value]
    seen: set[int] = set()
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseException) and id(error) not in seen:
            seen.add(id(error))
            _hide_frames(error)
            waiting += [error.__cause__, error.__context__]
            # Those of an ExceptionGroup; other errors may call something else so.
            others = getattr(error, "exceptions", ())
            waiting += others if isinstance(others, tuple) else ()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After Ctrl-C, fixtures are torn down by this hook of pytest: they must know it before."""
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        session.config.stash[_IS_ENDING] = True


def _is_end_signal(error: BaseException) -> bool:
    signals = sys.modules.get("simple_golem.background.signals")
    return signals is not None and isinstance(error, signals.Terminated)


def _hide_frames(error: BaseException) -> None:
    is_hidden = False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        is_hidden = module in _OURS or (
            is_hidden and (module in _CALLED_BY_US or _is_standard(module, frame.f_code.co_filename))
        )
        if is_hidden:
            frame.f_locals["__tracebackhide__"] = True


def _is_standard(module: str, file: str) -> bool:
    """Whether a module is Python's own, and not one of the user's with the same name, such as `profile`."""
    return module in sys.stdlib_module_names and file.startswith(_STANDARD_LIBRARY)


@pytest.fixture(scope="session")
def golem_network(request: pytest.FixtureRequest) -> Iterator[LocalGolem]:
    """A Golem network on this machine for all tests: a `LocalGolem` with the real daemon."""
    from simple_golem.errors import GolemError, LocalNetworkError, NamespacesForbidden
    from simple_golem.local import LocalGolem
    from simple_golem.local.local_golem import check_chain, check_machine

    try:
        options = _network_options(request.config, getattr(request, "param", {}))
        network = LocalGolem(**options)
    except (pytest.UsageError, GolemError, TypeError) as error:
        raise _mistake("the network of the tests", error, "simple_golem.local.LocalGolem") from None
    try:
        check_machine()
        if options.get("chain"):
            check_chain()
    except LocalNetworkError as error:
        pytest.skip(f"no Golem network can run here: {error}")
    try:
        network.start()
    except NamespacesForbidden as error:
        pytest.skip(f"no Golem network can run here: {error}")
    yield network
    network.stop()


@pytest.fixture
def golem_environment(
    request: pytest.FixtureRequest, golem_network: LocalGolem, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, str]:
    """Sets, for one test, the environment variables by which a script finds the network; returns them."""
    is_heard = "golem_network" in getattr(getattr(request.node, "callspec", None), "params", ())
    if not is_heard and _marked(request.node, "golem_network"):
        # pytest makes the networks of marks by the arguments of tests, before the first one runs.
        pytest.fail(
            f"{request.node.nodeid}: the mark golem_network has no effect on a method of unittest.TestCase, "
            "or with getfixturevalue: write a function of pytest, with golem among its arguments",
            pytrace=False,
        )
    from simple_golem.model.settings import OTHER_DAEMON_VARIABLES

    environment = golem_network.environment
    for name in OTHER_DAEMON_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def golem(
    request: pytest.FixtureRequest, golem_network: LocalGolem, golem_environment: Mapping[str, str]
) -> Iterator[Golem]:
    """An open `Golem` on the network, closed after the test; a test that leaves something fails."""
    from simple_golem import Golem
    from simple_golem.errors import GolemError

    before = set(golem_network.leftovers())
    try:
        made = Golem(**{"budget": _BUDGET, **_marked(request.node, "golem")})
    except (GolemError, TypeError) as error:
        raise _mistake("the Golem of the test", error, "simple_golem.Golem") from None
    try:
        with made as golem:
            yield golem
            if request.config.stash[_IS_ENDING]:
                # So that it closes as if Ctrl-C had come in its `with`: in some seconds, whatever still runs.
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        if request.config.stash[_IS_ENDING]:
            return  # pytest knows of it
        raise
    until = time.monotonic() + _SETTLE_SECONDS
    while (left := set(golem_network.leftovers()) - before) and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    if left:
        pytest.fail(
            f"the test has left on the network: {', '.join(sorted(left))}. If it has opened a Golem "
            "of its own, it has to close it: use it in a `with` statement",
            pytrace=False,
        )


def _marked(node: pytest.Item | Any, name: str) -> dict[str, Any]:
    """The arguments of all marks of a test; those of the function win over those of its class and module."""
    options: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers(name))):
        if mark.args:
            # A UsageError here would be an internal error of a worker of xdist.
            pytest.fail(
                f"{node.nodeid}: write the arguments of the mark {name} with their names, such as "
                + ("golem_network(providers=2)" if name == "golem_network" else "golem(budget=5)"),
                pytrace=False,
            )
        options |= mark.kwargs
    return options


def _mistake(what: str, error: Exception, made_by: str) -> BaseException:
    """A failure without a traceback: its frames say nothing of a mistake in the ini file or a mark."""
    step = f"; `help({made_by})` describes them" if isinstance(error, TypeError) else ""
    return pytest.fail.Exception(f"{what} can't be made: {error}{step}", pytrace=False)


def _network_options(config: pytest.Config, marked: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `LocalGolem`: those of the ini file, and those of marks, which win."""
    options = {
        "providers": _number(config.getini("golem_providers")),
        # They are habits of the ini file's providers.
        "habits": [] if "providers" in marked else config.getini("golem_habits"),
        "images": _images(config),
        **marked,
    }
    habits = options.pop("habits")
    if not habits:
        return options
    if not isinstance(habits, (list, tuple)) or not all(isinstance(habit, str) for habit in habits):
        raise pytest.UsageError(
            f"golem_network: habits is {habits!r}: give a list of texts such as ['prov-2=dies-after:5']"
        )
    if not isinstance(options["providers"], int):
        raise pytest.UsageError("golem_network: give habits, or a list of ProviderHabits, but not both")
    # Their words are those of the command line.
    from simple_golem.command_line.habit_options import spelled_habits

    return {**options, "providers": spelled_habits(habits, options["providers"])}


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise pytest.UsageError(f"golem_providers is {text!r}: give a whole number") from error


def _images(config: pytest.Config) -> dict[str, Any]:
    """The images of the ini file; a path is taken from the folder of that file."""
    folder = config.rootpath if config.inipath is None else config.inipath.parent
    images = {}
    for line in config.getini("golem_images"):
        name, equals, path = line.partition("=")
        if not equals:
            raise pytest.UsageError(f"golem_images has {line!r}: write TAG_OR_HASH=PATH")
        images[name.strip()] = folder / path.strip()
    return images
