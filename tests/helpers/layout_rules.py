"""Reads the source files of a package and lists what breaks the rules of its layout.

Every import counts: those inside a function, those under `if TYPE_CHECKING`, and `import_module("...")`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, takewhile
from pathlib import Path

# A module as the path to its file: ("yagna", "client") for yagna/client.py.
Module = tuple[str, ...]
INIT = "__init__"


@dataclass(frozen=True, order=True)
class Offender:
    """A place that breaks a rule."""

    where: str
    rule: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True)
class Import:
    importer: Module
    imported: Module
    line: int

    def __str__(self) -> str:
        return f"{'/'.join(self.importer)}.py:{self.line} imports {'.'.join(self.imported)}"


@dataclass(frozen=True)
class Package:
    """The source files of the package in `root`, without the folders in `ignored`."""

    root: Path
    ignored: tuple[Path, ...] = ()

    @cached_property
    def trees(self) -> Mapping[Module, ast.Module]:
        """The syntax tree of each module."""
        return {
            path.relative_to(self.root).with_suffix("").parts: ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted(self.root.rglob("*.py"))
            if not set(self.ignored) & {path, *path.parents}
        }

    @cached_property
    def imports(self) -> Sequence[Import]:
        """All imports of the package's own modules."""
        return [one for one, found in self._imports() if found]

    @cached_property
    def missing(self) -> Sequence[Import]:
        """The imports of modules of the package that do not exist."""
        return [one for one, found in self._imports() if not found]

    def _imports(self) -> Iterator[tuple[Import, bool]]:
        for importer, tree in self.trees.items():
            for node in ast.walk(tree):
                for target in self._targets(importer, node):
                    module = self._module_of(target)
                    yield Import(importer, module or target, getattr(node, "lineno", 0)), module is not None

    def _targets(self, importer: Module, node: ast.AST) -> Iterator[Module]:
        """What a node imports of the package: a module, or a name in a module."""
        if isinstance(node, ast.ImportFrom):
            base = self._absolute(importer, "." * node.level + (node.module or ""))
            if base is not None:
                yield from ((*base, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (self._absolute(importer, alias.name) for alias in node.names)
            yield from (name for name in names if name is not None)
        elif isinstance(node, ast.Call) and is_dynamic_import(node):
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                base = self._absolute(importer, name.value)
                if base is not None:
                    yield base

    def _absolute(self, importer: Module, name: str) -> Module | None:
        """The path of a dotted name in the package; None if another package has it."""
        dots = len(name) - len(name.lstrip("."))
        parts = tuple(part for part in name.split(".") if part)
        if dots:
            return (*importer[: len(importer) - dots], *parts)
        return parts[1:] if parts[:1] == (self.root.name,) else None

    def _module_of(self, target: Module) -> Module | None:
        """The module that is executed for `target`, which may be a name inside a module."""
        candidates = (target, (*target, INIT), target[:-1], (*target[:-1], INIT))
        return next((one for one in candidates if one in self.trees), None)


# --- folders and imports ------------------------------------------------------------------------


def crowded_folders(root: Path, most: int) -> Iterator[Offender]:
    """Folders with more than `most` entries. Files such as `__init__.py`, and `py.typed`, do not count."""
    for folder in (root, *sorted(path for path in root.rglob("*") if path.is_dir())):
        entries = sorted(
            path.name for path in folder.iterdir() if not path.name.startswith(("_", ".", "py.typed"))
        )
        if len(entries) > most and not folder.name.startswith(("_", ".")):
            yield Offender(
                place(folder, root), f"has more than {most} entries", f"{len(entries)}: {', '.join(entries)}"
            )


def missing_modules(package: Package) -> Iterator[Offender]:
    """Imports of modules that do not exist."""
    for one in package.missing:
        yield Offender(file_of(one.importer), "imports what does not exist", ".".join(one.imported))


def forbidden_imports(package: Package, may_import: Mapping[str, Collection[str]]) -> Iterator[Offender]:
    """Imports between entries of the top folder that the table does not allow."""
    for name in sorted({module[0] for module in package.trees} ^ set(may_import)):
        yield Offender(name, "stands in only one of the package and the table of allowed imports")
    for one in package.imports:
        entry, other = one.importer[0], one.imported[0]
        if entry != other and other not in may_import.get(entry, ()):
            yield Offender(file_of(one.importer), f"may not import {other}", str(one))


def circles(package: Package) -> Iterator[Offender]:
    """Circles between the entries of one folder: modules and folders.

    A circle of modules in different folders is one between the entries of the folder that holds them all.
    """
    between: dict[Module, dict[tuple[str, str], Import]] = {}
    for one in package.imports:
        pairs = zip(one.importer, one.imported, strict=False)
        folder = tuple(a for a, b in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if len(folder) < min(len(one.importer), len(one.imported)):
            edge = one.importer[len(folder)], one.imported[len(folder)]
            between.setdefault(folder, {}).setdefault(edge, one)
        else:
            yield Offender(file_of(one.importer), "imports itself", str(one))
    for folder, imports in sorted(between.items()):
        for circle in shortest_circles(imports):
            steps = [imports[edge] for edge in pairwise(circle)]
            yield Offender(
                "/".join(folder) or ".",
                "circle of " + " → ".join(circle),
                "; ".join(str(one) for one in steps),
            )


def shortest_circles(edges: Iterable[tuple[str, str]]) -> Iterator[tuple[str, ...]]:
    """For each edge that lies on a circle, a shortest one; each circle once, its first node at both ends."""
    neighbours: dict[str, list[str]] = {}
    for start, end in sorted(edges):
        neighbours.setdefault(start, []).append(end)
    seen: set[frozenset[str]] = set()
    for start, end in sorted(edges):
        way = shortest_way(neighbours, end, start)
        if way is not None and frozenset(way) not in seen:
            seen.add(frozenset(way))
            yield (start, *way)


def shortest_way(neighbours: Mapping[str, Sequence[str]], start: str, end: str) -> tuple[str, ...] | None:
    ways, reached = [(start,)], {start}
    for way in ways:
        if way[-1] == end:
            return way
        for node in neighbours.get(way[-1], ()):
            if node not in reached:
                reached.add(node)
                ways.append((*way, node))
    return None


# --- what stands inside files -------------------------------------------------------------------


def late_imports(package: Package, allowed: Mapping[tuple[str, str], str]) -> Iterator[Offender]:
    """Imports inside functions, and dynamic ones. `allowed` maps (file, statement) to a reason."""
    unused = set(allowed)
    for module, tree in package.trees.items():
        for node in ast.walk(tree):
            if is_function(node):
                imports = [one for one in ast.walk(node) if isinstance(one, (ast.Import, ast.ImportFrom))]
                found = [(one.lineno, ast.unparse(one)) for one in imports]
            elif isinstance(node, ast.Call) and is_dynamic_import(node):
                found = [(node.lineno, ast.unparse(node))]
            else:
                continue
            for line, statement in found:
                unused.discard((file_of(module), statement))
                if (file_of(module), statement) not in allowed:
                    yield Offender(file_of(module), "imports late", f"line {line}: {statement}")
    for file, statement in sorted(unused):
        yield Offender(file, "is allowed a late import that it does not have", statement)


def prints(package: Package, allowed: Callable[[Module], bool]) -> Iterator[Offender]:
    """Writing to the program's stdout or stderr, but for modules that are allowed to."""
    for module, node in nodes(package, ast.Call):
        name = ast.unparse(node.func)
        writes = name.startswith(("sys.stdout.", "sys.stderr.")) and name.endswith((".write", ".writelines"))
        if (writes or name == "print") and not allowed(module):
            yield Offender(file_of(module), "prints", f"line {node.lineno}")


def sleeps(package: Package) -> Iterator[Offender]:
    """`time.sleep`: a stop can't interrupt it."""
    for module, node in nodes(package, ast.Call):
        if ast.unparse(node.func) in ("time.sleep", "sleep"):
            yield Offender(file_of(module), "sleeps where no stop can wake it", f"line {node.lineno}")


def dodged_types(package: Package) -> Iterator[Offender]:
    """`cast(Any, ...)`, and comments that silence all that a checker says of a line or a file."""
    for module, node in nodes(package, ast.Call):
        kind = ast.unparse(node.args[0]).strip("'\"") if node.args else ""
        if ast.unparse(node.func) in ("cast", "typing.cast") and kind in ("Any", "typing.Any"):
            yield Offender(file_of(module), "casts to Any", f"line {node.lineno}")
    for module in package.trees:
        lines = (package.root / file_of(module)).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            comment = line.partition("#")[2].strip()
            blanket = comment.startswith(("type: ignore", "noqa")) and not comment.startswith(
                ("type: ignore[", "noqa: ")
            )
            if blanket or comment.startswith(("mypy:", "ruff:")):
                yield Offender(file_of(module), "silences a checker as a whole", f"line {number}: {comment}")


def nodes(package: Package, kind: type[ast.Call]) -> Iterator[tuple[Module, ast.Call]]:
    for module, tree in package.trees.items():
        yield from ((module, node) for node in ast.walk(tree) if isinstance(node, kind))


def is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def is_dynamic_import(node: ast.Call) -> bool:
    return ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__")


# --- reports ------------------------------------------------------------------------------------


def place(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def file_of(module: Module) -> str:
    return "/".join(module) + ".py"


def complaints(offenders: Iterable[Offender]) -> list[str]:
    """A line for each offender, in order of their places."""
    return [str(one) for one in sorted(set(offenders))]
