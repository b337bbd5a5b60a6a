"""What `import simple_golem` loads: each script waits for it before its first line."""

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
    "simple_golem.background.file_lock",
    "simple_golem.background.serial_queue",
    "simple_golem.background.signals",
    "simple_golem.background.threads",
    "simple_golem.background.timer",
    "simple_golem.engine",
    "simple_golem.engine.activity",
    "simple_golem.engine.activity.activity",
    "simple_golem.engine.activity.health_check",
    "simple_golem.engine.activity.output_gaps",
    "simple_golem.engine.activity.output_printer",
    "simple_golem.engine.activity.output_stream",
    "simple_golem.engine.cleanup",
    "simple_golem.engine.event_dispatcher",
    "simple_golem.engine.files",
    "simple_golem.engine.files.download_target",
    "simple_golem.engine.files.file_batch",
    "simple_golem.engine.files.folders",
    "simple_golem.engine.files.local_files",
    "simple_golem.engine.files.publisher",
    "simple_golem.engine.life",
    "simple_golem.engine.life.batch_rules",
    "simple_golem.engine.life.batch_runner",
    "simple_golem.engine.life.life",
    "simple_golem.engine.life.life_state",
    "simple_golem.engine.life.provider_lease",
    "simple_golem.engine.life.provider_watch",
    "simple_golem.engine.life.service_link",
    "simple_golem.engine.life.shutdown_alarm",
    "simple_golem.engine.life.user_traceback",
    "simple_golem.engine.market",
    "simple_golem.engine.market.agreement",
    "simple_golem.engine.market.awaited_answers",
    "simple_golem.engine.market.chooser",
    "simple_golem.engine.market.demand",
    "simple_golem.engine.market.demand_properties",
    "simple_golem.engine.market.image_registry",
    "simple_golem.engine.market.listing",
    "simple_golem.engine.market.offer_book",
    "simple_golem.engine.market.offer_preview",
    "simple_golem.engine.market.proposal_rules",
    "simple_golem.engine.market.providers",
    "simple_golem.engine.payment",
    "simple_golem.engine.payment.account",
    "simple_golem.engine.payment.budget",
    "simple_golem.engine.payment.journal",
    "simple_golem.engine.payment.ledger",
    "simple_golem.engine.payment.payments",
    "simple_golem.engine.session",
    "simple_golem.engine.shutdown_times",
    "simple_golem.errors",
    "simple_golem.golem",
    "simple_golem.model",
    "simple_golem.model.base",
    "simple_golem.model.base.frozen",
    "simple_golem.model.base.wire_time",
    "simple_golem.model.commands",
    "simple_golem.model.commands.answers",
    "simple_golem.model.commands.commands",
    "simple_golem.model.commands.failure",
    "simple_golem.model.commands.output",
    "simple_golem.model.commands.results",
    "simple_golem.model.commands.transfers",
    "simple_golem.model.cost",
    "simple_golem.model.cost_report",
    "simple_golem.model.events",
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
    "simple_golem.model.service.service_class",
    "simple_golem.model.service.states",
    "simple_golem.model.service.suspended",
    "simple_golem.model.settings",
    "simple_golem.progress",
    "simple_golem.progress.progress_bar",
    "simple_golem.services",
    "simple_golem.services.cluster",
    "simple_golem.services.cluster_builder",
    "simple_golem.services.instance",
    "simple_golem.yagna",
    "simple_golem.yagna.api",
    "simple_golem.yagna.api.activity",
    "simple_golem.yagna.api.bridge",
    "simple_golem.yagna.api.gsb",
    "simple_golem.yagna.api.identity",
    "simple_golem.yagna.api.market",
    "simple_golem.yagna.api.payment",
    "simple_golem.yagna.api.provider",
    "simple_golem.yagna.client",
    "simple_golem.yagna.event_reader",
    "simple_golem.yagna.service_bus",
    "simple_golem.yagna.service_bus.gsb_call",
    "simple_golem.yagna.transport",
    "simple_golem.yagna.transport.abandonable",
    "simple_golem.yagna.transport.event_stream",
    "simple_golem.yagna.transport.http",
    "simple_golem.yagna.transport.retry",
    "simple_golem.yagna.values",
]
# Of the standard library; some of them not by each version of Python.
LOADED_OF_OTHERS = {
    "decimal",
    "fcntl",
    "grp",
    "numbers",
    "pickle",
    "pwd",
    "secrets",
    "shlex",
    "signal",
    "tarfile",
}

_CODE = """
import sys, requests, tenacity
before = set(sys.modules)
import simple_golem
loaded = set(sys.modules) - before
import json
print(json.dumps(sorted(loaded)))
"""


def loaded_modules() -> list[str]:
    """The modules that `import simple_golem` loads in a new interpreter, its requirements left out."""
    package = {"PYTHONPATH": str(Path(simple_golem.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", _CODE],
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
