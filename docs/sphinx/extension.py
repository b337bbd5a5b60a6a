"""What the site needs beside Sphinx: public names as links, tables of errors and events, help of commands."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext import intersphinx

from simple_golem import errors, events
from simple_golem.command_line import main as command_line

MODULES = (
    "simple_golem",
    "simple_golem.errors",
    "simple_golem.events",
    "simple_golem.local",
    "simple_golem.testing",
)
# Names of other packages, as type hints write them.
ELSEWHERE = {
    "Decimal": "decimal.Decimal",
    "Future": "concurrent.futures.Future",
    "PreparedRequest": "requests.PreparedRequest",
    "RequestException": "requests.RequestException",
    "Response": "requests.Response",
    "StopBaseT": "tenacity.stop.stop_base",
    "WaitBaseT": "tenacity.wait.wait_base",
    "datetime": "datetime.datetime",
    "socket": "socket.socket",
    "timedelta": "datetime.timedelta",
}
# Type hints without a page of their own: the text next to them says what they are.
PLAIN = {"Listener", "RepoOptions", "Score", "ShellOptions", "Stream", "T", "vm"}
# The library makes the objects of these classes: their constructors are not for users.
MADE_BY_THE_LIBRARY = {
    "Cluster",
    "CostEntry",
    "CostReport",
    "Instance",
    "Network",
    "Offer",
    "Pool",
    "PoolStats",
    "Prices",
    "ProviderControl",
    "ChainControl",
    "OutputLine",
    "Results",
    "Usage",
}
SECTION = re.compile(r"^(Args|Raises|Returns|Attributes|Yields|Example|Examples):$")


def public_names() -> dict[str, str]:
    """The full public name of everything that users may import, by its short name."""
    names: dict[str, str] = {}
    for module_name in MODULES:
        for name in importlib.import_module(module_name).__all__:
            names.setdefault(name, f"{module_name}.{name}")
    return names


PUBLIC = public_names()


def public_thing(name: str) -> object:
    """What users import by this name; None if there is nothing."""
    module_name, _, _ = PUBLIC.get(name, "").rpartition(".")
    return getattr(importlib.import_module(module_name), name) if module_name else None


def show_public_modules() -> None:
    """Give public classes the module that users import them from: so their pages and links say it."""
    for name, full_name in PUBLIC.items():
        module_name, thing = full_name.rpartition(".")[0], public_thing(name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            thing.__module__ = module_name


def links_to(text: str, inliner: Any) -> nodes.Node:
    """A name in backticks: a link if it is public, else code."""
    if text not in PUBLIC:
        return nodes.literal(text, text)
    reference = addnodes.pending_xref(
        "", refdomain="py", reftype="obj", reftarget=PUBLIC[text], refexplicit=True
    )
    reference += nodes.literal(text, text)
    return reference


def public_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """The role of single backticks in docstrings."""
    return [links_to(text, inliner)], []


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> Any:
    """Resolve names as type hints and `Raises` write them: short, and several with commas between."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].partition("[")[0].rpartition(".")[2]
    if name in ELSEWHERE:
        node["reftarget"], node["reftype"] = ELSEWHERE[name], "obj"
        return intersphinx.missing_reference(app, env, node, content)
    is_inner = node["reftarget"].startswith("simple_golem.") and name not in PUBLIC
    if name in PLAIN or is_inner or "[" in node["reftarget"]:
        return content
    found = nodes.inline()
    for position, target in enumerate(node["reftarget"].split(",")):
        short = target.strip().rpartition(".")[2]
        if short not in PUBLIC:
            return None
        domain = env.get_domain("py")
        text = nodes.literal(short, short) if "," in node["reftarget"] else content
        link = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", PUBLIC[short], node, text)
        if link is None:
            return None
        found += ([nodes.Text(", ")] if position else []) + [link]
    return found


def mark_code(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Make code blocks of examples in docstrings: of those after `Example:`, and of indented ones."""
    if what == "property" and lines:
        # Napoleon would take the text before a colon for a type.
        lines[0] = f": {lines[0]}"
    marked: list[str] = []
    lines[:] = [re.sub(r"(`\w+`)(?=\w)", r"\1\\ ", line) for line in joined_names(lines)]
    for position, line in enumerate(lines):
        text, indent = line.strip(), line[: len(line) - len(line.lstrip())]
        after = lines[position + 1 : position + 3]
        if text in ("Example:", "Examples:"):
            marked += [line, f"{indent}    .. code-block:: python", ""]
            marked += ["    " + one if one.strip() else one for one in lines[position + 1 :]]
            break
        is_block = len(after) == 2 and not after[0].strip() and after[1].startswith(indent + "    ")
        marked.append(line + ":" if text.endswith(":") and not SECTION.match(text) and is_block else line)
    lines[:] = marked


def joined_names(lines: list[str]) -> Iterator[str]:
    """Join the lines of a list of names that goes on in the next line, before its colon."""
    begun = ""
    for line in lines:
        if begun or re.match(r"^    (\w+, )+\w*,?$", line + " " * line.endswith(",")):
            begun = f"{begun} {line.strip()}" if begun else line
            if ":" in line or not line.strip():
                yield begun
                begun = ""
        else:
            yield line
    if begun:
        yield begun


def hide_constructor(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str, returned: str
) -> tuple[str, str | None] | None:
    hidden = what in ("class", "exception") and name.rpartition(".")[2] in MADE_BY_THE_LIBRARY
    return ("", None) if hidden else None


def first_sentence(thing: type) -> str:
    text = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    return text.replace("|", "\\|")


def subclasses_of(base: type, depth: int = 0) -> Iterator[tuple[int, type]]:
    for one in base.__subclasses__():
        # A dataclass with slots is made twice, and the first one may still be there.
        if public_thing(one.__name__) is one:
            yield depth, one
            yield from subclasses_of(one, depth + 1)


class Table(Directive):
    """A table made from the classes of a module."""

    head: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, ...]]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in (self.head, *self.rows()):
            cells = iter(row)
            lines.append(f"   * - {next(cells)}")
            lines.extend(f"     - {cell}" for cell in cells)
        holder = nodes.Element()
        self.state.nested_parse(StringList(lines, "table"), self.content_offset, holder)
        return holder.children


class ErrorTable(Table):
    head = ("Error", "It is also", "When")

    def rows(self) -> Iterator[tuple[str, ...]]:
        for _, one in subclasses_of(errors.GolemError):
            also = ", ".join(f"`{base.__name__}`" for base in one.__bases__ if base is not errors.GolemError)
            yield f"`{one.__name__}`", also, first_sentence(one)


class EventTable(Table):
    head = ("Event", "When", "What it has")

    def rows(self) -> Iterator[tuple[str, ...]]:
        of_all = {field.name for field in dataclasses.fields(events.Event)}
        for _, one in subclasses_of(events.Event):
            own = [field.name for field in dataclasses.fields(one) if field.name not in of_all]
            yield f"`{one.__name__}`", first_sentence(one), ", ".join(f"``{name}``" for name in own)


class CommandHelp(Directive):
    """The help of `simple-golem` and of each of its commands."""

    def run(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for parser in parsers_of(command_line._parser()):
            found.append(nodes.rubric(text=parser.prog))
            found.append(nodes.literal_block(text=parser.format_help(), language="none"))
        return found


def parsers_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers_of(one)


def list_pages(app: Sphinx, error: Exception | None) -> None:
    """Write `llms.txt`, the list of pages for language models."""
    if error is None and app.builder.format == "html":
        titles = {name: title.astext() for name, title in app.env.titles.items()}
        pages = [f"- [{titles[name]}]({name}.html)" for name in sorted(titles)]
        (Path(app.outdir) / "llms.txt").write_text("\n".join(["# simple_golem", "", *pages, ""]), "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    show_public_modules()
    app.add_role("public", public_role)
    app.add_directive("error-table", ErrorTable)
    app.add_directive("event-table", EventTable)
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", mark_code, priority=400)
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("missing-reference", resolve)
    app.connect("build-finished", list_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
