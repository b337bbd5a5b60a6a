"""What `import simple_golem` and `Golem.open` load: each script waits for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import simple_golem

# A new row costs every script 0.2 ms, and half a millisecond for each dataclass in it. Whether the import is
# still quick enough, `python -m tests.benchmarks imports` tells. What few scripts need is better loaded late.
LOADED = [
    "simple_golem",
    "simple_golem._version",
    "simple_golem.background",
    "simple_golem.background.cancellation",
    "simple_golem.background.forks",
    "simple_golem.background.not_async",
    "simple_golem.background.signals",
    "simple_golem.background.threads",
    "simple_golem.engine",
    "simple_golem.engine.shutdown_times",
    "simple_golem.errors",
    "simple_golem.golem",
    "simple_golem.model",
    "simple_golem.model.base",
    "simple_golem.model.base.from_yapapi",
    "simple_golem.model.base.frozen",
    "simple_golem.model.base.printable",
    "simple_golem.model.base.wire_time",
    "simple_golem.model.commands",
    "simple_golem.model.commands.background",
    "simple_golem.model.commands.commands",
    "simple_golem.model.commands.environment",
    "simple_golem.model.commands.failure",
    "simple_golem.model.commands.file_commands",
    "simple_golem.model.commands.output",
    "simple_golem.model.commands.results",
    "simple_golem.model.commands.shell_options",
    "simple_golem.model.commands.texts",
    "simple_golem.model.cost",
    "simple_golem.model.offers",
    "simple_golem.model.offers.offer",
    "simple_golem.model.offers.prices",
    "simple_golem.model.offers.strategy",
    "simple_golem.model.offers.terms",
    "simple_golem.model.payload",
    "simple_golem.model.payload.constraints",
    "simple_golem.model.payload.manifest",
    "simple_golem.model.payload.payload",
    "simple_golem.model.payload.properties",
    "simple_golem.model.payload.vm",
    "simple_golem.model.service",
    "simple_golem.model.service.service",
    "simple_golem.model.service.states",
    "simple_golem.model.service.suspended",
    "simple_golem.model.settings",
    "simple_golem.services",
    "simple_golem.services.lifecycle",
]
# Of the standard library; some of them not by each version of Python.
LOADED_OF_OTHERS = {"decimal", "numbers", "shlex", "signal"}

# What `Golem.open` leaves to the life threads, and to programs that use it: it would delay the first result.
LOADED_AFTER_OPENING = (
    "simple_golem.engine.files.file_batch",
    "simple_golem.engine.life.life",
    "simple_golem.engine.life.batch_runner",
    "simple_golem.engine.market.offer_preview",
    "simple_golem.engine.network.networks",
    "simple_golem.engine.network.tunnel",
    "simple_golem.model.events.batches",
    "simple_golem.model.events.items",
    "simple_golem.progress.progress_bar",
    "simple_golem.services.pool.",
    "simple_golem.services.proxies.",
)

_CODE = """
import sys, requests, tenacity
before = set(sys.modules)
import {module}
loaded = set(sys.modules) - before
import json
print(json.dumps(sorted(loaded)))
"""


def loaded_modules(module: str = "simple_golem") -> list[str]:
    """The modules that the import of one loads in a new interpreter, its requirements left out."""
    package = {"PYTHONPATH": str(Path(simple_golem.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", _CODE.format(module=module)],
        env={**os.environ, **package},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names: list[str] = json.loads(run.stdout)
    return names


def test_an_import_loads_these_modules_of_ours_and_few_others() -> None:
    loaded = loaded_modules()
    ours = [name for name in loaded if name.partition(".")[0] == "simple_golem"]
    others = {name for name in loaded if name not in ours and not name.startswith("_")}
    assert ours == LOADED
    assert others - LOADED_OF_OTHERS == set()


def test_opening_a_golem_loads_neither_a_life_nor_what_few_programs_use() -> None:
    loaded = loaded_modules("simple_golem.services.open_golem")
    assert "simple_golem.engine.session" in loaded
    assert [name for name in loaded if name.startswith(LOADED_AFTER_OPENING)] == []
