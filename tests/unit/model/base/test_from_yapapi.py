"""Names of yapapi: each has a line on the page, and its AttributeError says the same."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Cluster, Golem, Instance, Service
from simple_golem.model.base.yapapi_names import NAMES

ROOT = Path(__file__).resolve().parents[4]
# The public names of these classes of yapapi 0.13.1, with what their constructors set, and all events.
OF_YAPAPI = Path(__file__).with_name("yapapi_names.txt").read_text().split()
ROW = re.compile(r"^\| `((?:Golem|Cluster|Service|WorkContext|Script|events)\.\w+)` \| (.+) \|$", re.M)
ROWS = ROW.findall((ROOT / "docs/coming-from/yapapi-names.md").read_text(encoding="utf-8"))
CLASSES = {"Golem": [Golem], "Cluster": [Cluster], "Service": [Service, Instance]}
# An instance has other methods for these; the object of the user's class has them.
ON_THE_SERVICE = [(Instance, "run"), (Instance, "start"), (Instance, "shutdown")]


class Counter(Service):
    def __init__(self, total: int = 0) -> None:
        self.total = total

    @property
    def doubled(self) -> int:
        return self.totals * 2  # type: ignore[attr-defined,no-any-return] - the mistake that is told


def without_init(kind: type) -> Any:
    return object.__new__(kind)


def test_the_page_has_each_public_name_once() -> None:
    assert sorted(name for name, _ in ROWS) == sorted(OF_YAPAPI)


def test_the_page_and_the_errors_say_the_same() -> None:
    of_errors = {f"{kind}.{name}": text for kind, names in NAMES.items() for name, text in names.items()}
    assert of_errors == {name: text for name, text in ROWS if name.partition(".")[0] in NAMES}


@pytest.mark.parametrize(("counterpart", "name"), [(kind, name) for kind in NAMES for name in NAMES[kind]])
def test_asking_for_a_name_of_yapapi_names_ours(counterpart: str, name: str) -> None:
    for kind in CLASSES[counterpart]:
        if hasattr(kind, name) or (kind, name) in ON_THE_SERVICE:
            continue
        with pytest.raises(AttributeError) as caught:
            getattr(without_init(kind), name)
        assert str(caught.value).endswith(f"; coming from yapapi: {NAMES[counterpart][name]}")
        assert caught.value.name == name


@pytest.mark.parametrize(
    ("kind", "name", "advice"),
    [
        (Service, "upload", "; write execute(Upload(local, remote))"),
        (Counter, "put", "; write execute(Upload(local, remote))"),
        (Instance, "put", "; write execute(Upload(local, remote))"),
        (Instance, "get", "; write execute(Download(remote, local))"),
        (Instance, "run", "; write shell(line), or execute(Run(…))"),
        (Instance, "start", "; write wait_for('running'): an instance starts by itself"),
        (Instance, "close", "; write stop()"),
        (Cluster, "close", "; write stop()"),
        (Golem, "map", "; write golem.pool(n).map(function, items)"),
        (Golem, "shell", "; write golem.rent().shell(line), which rents a machine"),
        (Instance, "nothing", "has no attribute 'nothing'"),
    ],
)
def test_asking_for_a_method_of_other_libraries_names_ours(
    kind: type[object], name: str, advice: str
) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(without_init(kind), name)
    assert str(caught.value).endswith(advice)


@pytest.mark.parametrize(("counterpart", "name"), [(kind, name) for kind in NAMES for name in NAMES[kind]])
def test_what_is_said_to_be_the_same_is_there(counterpart: str, name: str) -> None:
    if NAMES[counterpart][name].startswith("the same"):
        assert any(hasattr(kind, name) for kind in (*CLASSES[counterpart], Cluster)) or name == "expiration"


def test_any_other_name_is_an_ordinary_attribute_error() -> None:
    for kind in (Golem, Cluster, Instance, Service):
        thing = without_init(kind)
        with pytest.raises(AttributeError, match=rf"^'{kind.__name__}' object has no attribute 'total'$"):
            _ = thing.total
        assert not hasattr(thing, "total")
        assert not hasattr(thing, "_repr_png_")
        assert not hasattr(thing, "__fspath__")


def test_an_attribute_error_inside_a_property_is_that_of_the_property() -> None:
    with pytest.raises(AttributeError, match=r"^'Counter' object has no attribute 'totals'$"):
        _ = Counter().doubled


def test_a_service_can_be_copied_and_pickled_as_before() -> None:
    counter = Counter(5)
    assert copy.copy(counter).total == 5
    assert copy.deepcopy(counter).total == 5
    assert pickle.loads(pickle.dumps(counter)).total == 5
