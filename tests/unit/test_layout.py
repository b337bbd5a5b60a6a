"""The floors of the package: what may import what, read from the files themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import simple_golem

ROOT = Path(simple_golem.__file__).parent
PACKAGE = "simple_golem"

# From the base upwards. A module is on the floor of the longest of these names that it begins with; one on a
# floor may import its own floor and those below it.
FLOORS = (
    ("_version", "errors"),
    ("background",),
    ("model",),
    ("yagna",),
    ("local", "engine", "testing"),
    ("services.instance",),
    ("events",),
    ("services.cluster", "progress"),
    ("services.cluster_builder",),
    ("golem",),
    ("",),
    ("command_line", "pytest_plugin"),
)
# What most scripts never need, and would make `import simple_golem` a tenth slower.
LOADED_LATE = {
    "engine/payment/journal.py": "import platformdirs",
    "progress/progress_bar.py": "from .bar_line import BarLine",
    "yagna/api/gsb.py": "from ..service_bus.gsb_socket import GsbSocket",
}
# Programs that run inside an activity: not part of the library.
PROGRAMS = ROOT / "local" / "images" / "simple-service"

FILES = sorted(path for path in ROOT.rglob("*.py") if PROGRAMS not in path.parents)


def name_of(path: Path) -> str:
    """The dotted name of a module inside the package, `""` for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def floor_of(module: str) -> int:
    for level, names in enumerate(FLOORS):
        if module in names or module.partition(".")[0] in names:
            return level
    raise AssertionError(f"{module} has no floor yet: give it one in FLOORS")


def only_for_types(tree: ast.Module) -> set[ast.AST]:
    """The nodes under `if TYPE_CHECKING`, which are never executed."""
    guarded = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return {inner for node in guarded for statement in node.body for inner in ast.walk(statement)}


def imports_of(module: str) -> Iterator[str]:
    """The modules of the package that `module` imports when it is executed."""
    path = MODULES[module]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unexecuted = only_for_types(tree)
    for node in ast.walk(tree):
        if node in unexecuted:
            continue
        if isinstance(node, ast.ImportFrom):
            yield from from_import(module, path, node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == PACKAGE:
                    yield alias.name.partition(".")[2]


def from_import(module: str, path: Path, node: ast.ImportFrom) -> Iterator[str]:
    if node.level == 0:
        if (node.module or "").partition(".")[0] != PACKAGE:
            return
        base = (node.module or "").partition(".")[2]
    else:
        package = module.split(".") if module else []
        up = node.level - (1 if path.name == "__init__.py" else 0)
        base = ".".join([*package[: len(package) - up], *(node.module or "").split(".")]).strip(".")
    for alias in node.names:
        inner = f"{base}.{alias.name}".strip(".")
        yield inner if inner in MODULES else base


IMPORTS = {module: sorted(set(imports_of(module))) for module in MODULES}
PAIRS = [(module, imported) for module, all_imported in IMPORTS.items() for imported in all_imported]


def test_the_imports_are_read_as_python_reads_them() -> None:
    assert "errors" in IMPORTS["background.cancellation"]
    assert {"engine.market.demand", "errors", "yagna.client"} <= set(IMPORTS["engine.market.agreement"])
    assert "model.payload.vm" in IMPORTS["model.service.service"]
    assert "golem" in IMPORTS[""]
    assert IMPORTS["errors"] == []


def test_every_module_that_is_imported_is_there() -> None:
    assert [pair for pair in PAIRS if pair[1] not in MODULES] == []


def test_imports_point_downwards_only() -> None:
    upwards = [f"{one} imports {other}" for one, other in PAIRS if floor_of(other) > floor_of(one)]
    assert upwards == []


def test_only_the_command_line_and_the_pytest_plugin_import_the_local_network() -> None:
    guests = {one for one, other in PAIRS if is_local(other) and not is_local(one)}
    assert {one.partition(".")[0] for one in guests} <= {"command_line", "pytest_plugin"}


def test_the_local_network_imports_nothing_above_yagna() -> None:
    above = [pair for pair in PAIRS if is_local(pair[0]) and not is_local(pair[1])]
    assert [pair for pair in above if floor_of(pair[1]) > floor_of("yagna")] == []


def is_local(module: str) -> bool:
    return module.partition(".")[0] == "local"


def test_there_is_no_cycle() -> None:
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join([*way[way.index(module) :], module])
        if module in done:
            return
        for imported in IMPORTS[module]:
            if imported != module:
                visit(imported, (*way, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())
    assert done == set(MODULES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_else_is_imported_inside_a_function(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    ]
    imports = [
        inner
        for function in functions
        for inner in ast.walk(function)
        if isinstance(inner, (ast.Import, ast.ImportFrom))
    ]
    late = LOADED_LATE.get(str(path.relative_to(ROOT)))
    assert [ast.unparse(one) for one in imports] == ([] if late is None else [late])


def test_what_is_loaded_late_is_not_loaded_by_an_import() -> None:
    code = "import sys, simple_golem; print({'platformdirs', 'tqdm', 'websockets'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "set()\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_printed_but_by_the_command_line(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prints = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and is_print(node.func)]
    assert prints == [] or path.parent.name == "command_line" or path.name == "__main__.py"


def is_print(function: ast.expr) -> bool:
    return ast.unparse(function) in ("print", "sys.stdout.write", "sys.stderr.write")


def test_the_library_needs_nothing_of_the_local_network() -> None:
    script = (
        "import sys, simple_golem\n"
        "names = [name for name in sys.modules"
        " if name.startswith('simple_golem.local')]\n"
        "assert 'simple_golem.golem' in sys.modules\n"
        "assert not names, names\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT.parent, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
