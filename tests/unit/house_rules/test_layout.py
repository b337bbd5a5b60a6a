"""The rules of the house: what stands where, what may import what, and what no file contains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

import simple_golem
from tests.helpers.layout_rules import (
    Offender,
    Package,
    circles,
    complaints,
    crowded_folders,
    dodged_types,
    forbidden_imports,
    late_imports,
    missing_modules,
    prints,
    sleeps,
)

ROOT = Path(simple_golem.__file__).parent
# Programs that run inside an activity: not part of the library.
PROGRAMS = ROOT / "local" / "images" / "simple-service"
MOST_ENTRIES = 12

VALUES = ("errors", "model")
DAEMON = (*VALUES, "background", "yagna")
ENGINE = (*DAEMON, "engine")
# What each entry of the top folder may import of the others. Inside a folder, only circles are forbidden.
MAY_IMPORT = {
    "errors": (),
    "_version": (),
    "model": ("errors",),
    "background": ("errors",),
    "events": VALUES,
    "yagna": (*VALUES, "_version", "background"),
    "engine": DAEMON,
    "progress": VALUES,
    "services": (*ENGINE, "progress"),
    "golem": (*ENGINE, "services"),
    "__init__": (*VALUES, "_version", "engine", "services", "golem"),
    # Only the command line knows the local network, and nothing knows the tests' daemon.
    "local": DAEMON,
    "testing": DAEMON,
    "command_line": (*ENGINE, "services", "golem", "local", "_version"),
}
LOADED_LATE = {
    # The engine takes 45 ms, half as long as requests and tenacity.
    (
        "services/lifecycle.py",
        "from .open_golem import OpenGolem",
    ): "only a Golem that opens needs the engine",
    (
        "golem.py",
        "from .engine.market.offer_preview import offers_on_market",
    ): "the engine, for a look at the market without an open Golem",
    (
        "golem.py",
        "from .engine.market.offer_preview import explanation_without_session",
    ): "the engine, for a look at the market without an open Golem",
    ("golem.py", "from .model.events.event import Event"): "only programs that listen need the events",
    ("golem.py", "from .model.cost_report import CostReport"): "only who asks for it needs it",
    (
        "golem.py",
        "from .model.payload.unknown_option import unknown_option",
    ): "only a call with a wrong argument needs it",
    (
        "model/service/service.py",
        "from ..commands.answers import answer_batch, checked_answers",
    ): "only unit tests of services need it, and it takes 3 ms",
    (
        "services/cluster_context.py",
        "from ..engine.market.offer_preview import explanation_of_market",
    ): "only a search that has found no offer needs it, and it takes 5 ms",
    (
        "engine/life/life.py",
        "from .batch_runner import BatchRunner",
    ): "what runs batches takes 10 ms, and providers need longer to create an activity",
    (
        "services/instance_lives.py",
        "from ..engine.life.life import Life",
    ): "the machinery of a life takes 6 ms, and providers need longer to answer the demand",
    (
        "services/open_golem.py",
        "from .pool.pool_builder import pool_and_builder",
    ): "only a pool needs its code, which takes 10 ms",
    (
        "services/open_golem.py",
        "from ..progress.progress_bar import ProgressBar",
    ): "only a terminal or a notebook needs it, and all events that it shows",
    (
        "engine/session.py",
        "from .network.networks import Networks",
    ): "only private networks need it, and it takes 6 ms",
    ("__init__.py", "import_module(f'.{module}', __name__)"): "Cluster and Instance, which need the engine",
    (
        "model/base/from_yapapi.py",
        "import_module('.yapapi_names', __package__)",
    ): "only who asks for a name of yapapi needs them",
    ("model/commands/commands.py", "import pickle"): "it is there already where somebody pickles",
    ("engine/payment/journal.py", "import platformdirs"): "only a session that opens needs it",
    ("progress/progress_bar.py", "from .bar_line import BarLine"): "tqdm; only a terminal needs it",
    ("progress/progress_bar.py", "from .notebook_bar import NotebookBar"): "tqdm; only a notebook needs it",
    (
        "yagna/api/gsb.py",
        "from ..service_bus.gsb_socket import GsbSocket",
    ): "websockets; only files need it",
    (
        "yagna/api/network.py",
        "from ..transport.kept_connection import KeptConnection",
    ): "h11; only connections to instances need it",
    (
        "yagna/api/network.py",
        "from ..transport.web_socket import WebSocket",
    ): "websockets; only connections to instances need it",
    (
        "local/supervisor/main.py",
        "importlib.import_module('..chain.server', __package__)",
    ): "its packages come with an extra",
    (
        "command_line/image_commands.py",
        "from ..local.sandbox.sandbox import Sandbox",
    ): "the code of activities, for one command of the tool",
    (
        "local/images/formats/decompression.py",
        "importlib.import_module(module)",
    ): "few images need these packages, and one of them comes with no extra",
}
LATE_PACKAGES = {"h11", "platformdirs", "tqdm", "websockets"}


def in_folders_and_imports(package: Package) -> list[Offender]:
    return [
        *crowded_folders(package.root, MOST_ENTRIES),
        *missing_modules(package),
        *forbidden_imports(package, MAY_IMPORT),
        *circles(package),
    ]


def in_files(package: Package) -> list[Offender]:
    return [
        *late_imports(package, LOADED_LATE),
        *prints(package, lambda module: module[0] == "command_line" or module[-1] == "__main__"),
        *sleeps(package),
        *dodged_types(package),
    ]


@pytest.fixture(scope="module")
def package() -> Package:
    return Package(ROOT, ignored=(PROGRAMS,))


def test_folders_are_small_and_imports_go_one_way(package: Package) -> None:
    lines = complaints(in_folders_and_imports(package))
    assert not lines, "\n".join(["", *lines])


def test_files_contain_nothing_that_is_forbidden(package: Package) -> None:
    lines = complaints(in_files(package))
    assert not lines, "\n".join(["", *lines])


def test_only_what_is_needed_is_loaded() -> None:
    code = "import sys, simple_golem; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(ran.stdout.split())
    assert "simple_golem.golem" in loaded
    assert LATE_PACKAGES & loaded == set()
    assert [name for name in loaded if name.startswith(("simple_golem.local", "simple_golem.testing"))] == []


# --- the checker finds what is planted ------------------------------------------------------------

CLEAN = {
    "__init__.py": "from .upper.door import Door\n",
    "base.py": "import os\n",
    "upper/__init__.py": "",
    "upper/door.py": "from ..base import name\nfrom . import window\n",
    "upper/window.py": "def look():\n    return 1\n",
}
TABLE = {"base": (), "upper": ("base",), "__init__": ("upper",)}
Check = Callable[[Package], Iterable[Offender]]


def planted(tmp_path: Path, files: dict[str, str]) -> Package:
    root = tmp_path / "simple_golem"
    for name, text in (CLEAN | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Package(root)


def crowded(package: Package) -> Iterable[Offender]:
    return crowded_folders(package.root, most=2)


def printed(package: Package) -> Iterable[Offender]:
    return prints(package, lambda module: module == ("base",))


direction = partial(forbidden_imports, may_import=TABLE)
late = partial(late_imports, allowed={})


@pytest.mark.parametrize(
    ("check", "files", "found"),
    [
        pytest.param(
            crowded,
            {"upper/wall.py": ""},
            "upper: has more than 2 entries: 3: door.py, wall.py, window.py",
            id="a full folder",
        ),
        pytest.param(
            missing_modules,
            {"base.py": "from .nowhere import x\n"},
            "base.py: imports what does not exist: nowhere.x",
            id="a module that is not there",
        ),
        pytest.param(
            direction,
            {"base.py": "\nfrom .upper import window\n"},
            "base.py: may not import upper: base.py:2 imports upper.window",
            id="upwards",
        ),
        pytest.param(
            direction,
            {"base.py": "def f():\n    import simple_golem.upper.door\n"},
            "base.py: may not import upper: base.py:2 imports upper.door",
            id="upwards, inside a function, by its full name",
        ),
        pytest.param(
            direction,
            {"base.py": "from simple_golem import Door\n"},
            "base.py: may not import __init__: base.py:1 imports __init__",
            id="the package itself",
        ),
        pytest.param(
            direction,
            {"cellar.py": ""},
            "cellar: stands in only one of the package and the table of allowed imports",
            id="a new entry",
        ),
        pytest.param(
            circles,
            {"base.py": "from .upper.window import look\n"},
            ".: circle of base → upper → base: base.py:1 imports upper.window; upper/door.py:1 imports base",
            id="a circle of folders that is none of modules",
        ),
        pytest.param(
            circles,
            {"upper/window.py": "if TYPE_CHECKING:\n    from .door import Door\n"},
            "upper: circle of door → window → door: "
            "upper/door.py:2 imports upper.window; upper/window.py:2 imports upper.door",
            id="a circle for types only",
        ),
        pytest.param(
            circles,
            {
                "upper/window.py": "from .wall import x\n",
                "upper/wall.py": "import_module('.door', __package__)\n",
            },
            "upper: circle of door → window → wall → door: upper/door.py:2 imports upper.window; "
            "upper/window.py:1 imports upper.wall; upper/wall.py:1 imports upper.door",
            id="a circle of three, the last import dynamic",
        ),
        pytest.param(
            circles,
            {"upper/__init__.py": "from .window import look\n", "upper/window.py": "from . import look\n"},
            "upper: circle of __init__ → window → __init__: "
            "upper/__init__.py:1 imports upper.window; upper/window.py:1 imports upper.__init__",
            id="a circle through a package's own file",
        ),
        pytest.param(
            circles,
            {"base.py": "from . import base\n"},
            "base.py: imports itself: base.py:1 imports base",
            id="a module that imports itself",
        ),
        pytest.param(
            late,
            {"base.py": "class A:\n    def f(self):\n        def g():\n            import json\n"},
            "base.py: imports late: line 4: import json",
            id="inside a function",
        ),
        pytest.param(
            late,
            {"base.py": "from importlib import import_module\njson = import_module('json')\n"},
            "base.py: imports late: line 2: import_module('json')",
            id="a dynamic import",
        ),
        pytest.param(
            partial(late_imports, allowed={("base.py", "import json"): "slow"}),
            {},
            "base.py: is allowed a late import that it does not have: import json",
            id="an exception that is not needed any more",
        ),
        pytest.param(
            printed,
            {"base.py": "print(1)\n", "upper/window.py": "print(2)\n"},
            "upper/window.py: prints: line 1",
            id="a print",
        ),
        pytest.param(
            printed,
            {"upper/window.py": "import sys\nsys.stderr.buffer.write(b'')\n"},
            "upper/window.py: prints: line 2",
            id="a print by another name",
        ),
        pytest.param(
            sleeps,
            {"base.py": "import time\ntime.sleep(1)\n"},
            "base.py: sleeps where no stop can wake it: line 2",
            id="a sleep",
        ),
        pytest.param(
            dodged_types,
            {"base.py": "x = cast('Any', 1)\n"},
            "base.py: casts to Any: line 1",
            id="a cast to Any",
        ),
        pytest.param(
            dodged_types,
            {"base.py": "x = 1\ny = f()  # type: ignore\n"},
            "base.py: silences a checker as a whole: line 2: type: ignore",
            id="a blanket ignore",
        ),
        pytest.param(
            dodged_types,
            {"base.py": "# mypy: ignore-errors\n"},
            "base.py: silences a checker as a whole: line 1: mypy: ignore-errors",
            id="a file that mypy leaves out",
        ),
    ],
)
def test_a_planted_offender_is_found(tmp_path: Path, check: Check, files: dict[str, str], found: str) -> None:
    assert complaints(check(planted(tmp_path, files))) == [found]


def test_a_tree_without_offenders_is_clean(tmp_path: Path) -> None:
    package = planted(tmp_path, {})
    checks: list[Check] = [crowded, missing_modules, direction, circles, late, printed, sleeps, dodged_types]
    assert [str(one) for check in checks for one in check(package)] == []


def test_an_allowed_late_import_is_no_offender(tmp_path: Path) -> None:
    package = planted(tmp_path, {"base.py": "def f():\n    import json\n"})
    assert list(late_imports(package, {("base.py", "import json"): "slow"})) == []
