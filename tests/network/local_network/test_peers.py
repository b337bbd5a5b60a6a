"""Programs of other libraries run on the local network as they are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import requests

from simple_golem.local.local_golem import LocalGolem
from tests.benchmarks.peer import NoPeer, the_peer
from tests.benchmarks.subject import Subject
from tests.helpers.golem_js import golem_js

IMAGE = "3b1ffd19d88e9877e71546aae779daa4be2fcc3481319a194e2cb03f"
# As in the examples of yapapi.
SCRIPT = """
import asyncio, os, sys
from datetime import timedelta
from yapapi import Golem, Task, WorkContext
from yapapi.payload import vm

async def worker(context, tasks):
    async for task in tasks:
        script = context.new_script(timeout=timedelta(minutes=2))
        future = script.run("/bin/sh", "-c", f"echo hello from task {task.data}")
        yield script
        task.accept_result(result=(await future).stdout.strip())

async def main(where):
    if where == "registry":
        package = await vm.repo(image_hash=sys.argv[2], repository_url=os.environ["GOLEM_REGISTRY_URL"])
    else:
        package = await vm.repo(image_hash=sys.argv[2], image_url=where)
    async with Golem(budget=1, subnet_tag=os.environ["YAGNA_SUBNET"]) as golem:
        async for task in golem.execute_tasks(worker, [Task(data=n) for n in range(2)], payload=package):
            print(task.result)

asyncio.run(main(sys.argv[1]))
"""
# As in the examples of golem-js.
JAVASCRIPT = """
import { GolemNetwork } from "@golem-sdk/golem-js";
const glm = new GolemNetwork({ payment: { network: process.env.YAGNA_PAYMENT_NETWORK } });
try {
  await glm.connect();
  const rental = await glm.oneOf({
    order: {
      demand: { workload: { imageTag: "golem/alpine:latest" }, subnetTag: process.env.YAGNA_SUBNET },
      market: {
        rentHours: 0.2,
        pricing: { model: "linear", maxStartPrice: 0.5, maxCpuPerHourPrice: 1.0, maxEnvPerHourPrice: 0.5 },
      },
    },
  });
  const machine = await rental.getExeUnit();
  console.log((await machine.run("echo hello from $(hostname)")).stdout.trim());
  await rental.stopAndFinalize();
} finally {
  await glm.disconnect();
}
"""


@pytest.fixture(scope="module")
def yapapi() -> Subject:
    try:
        return the_peer()
    except NoPeer as error:
        pytest.skip(f"yapapi can't be installed here: {error}")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "hello.py"
    script.write_text(SCRIPT)
    return script


@pytest.mark.parametrize("where", ["registry", "url"])
def test_a_script_of_yapapi_runs_as_it_is(
    network: LocalGolem, yapapi: Subject, script: Path, where: str
) -> None:
    registry = network.environment["GOLEM_REGISTRY_URL"]
    if where == "url":
        where = requests.get(f"{registry}/v1/image/info?hash={IMAGE}", timeout=10).json()["http"]
    # Without its network in the environment: its default is the second network of local providers.
    kept = {name: value for name, value in network.environment.items() if name != "YAGNA_PAYMENT_NETWORK"}
    done = subprocess.run(
        [yapapi.python, str(script), where, IMAGE],
        env={**os.environ, **kept, **yapapi.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["hello from task 0", "hello from task 1"]


def test_a_script_of_golem_js_runs_as_it_is(network: LocalGolem) -> None:
    try:
        folder = golem_js()
    except NoPeer as error:
        pytest.skip(f"golem-js can't be installed here: {error}")
    done = subprocess.run(
        ["node", "--input-type=module", "-e", JAVASCRIPT],
        cwd=folder,
        env={**os.environ, **network.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "hello from golem"
