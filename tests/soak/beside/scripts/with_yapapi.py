"""The jobs by yapapi, as its documentation shows them; runs in an environment of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from typing import Any

from yapapi import Golem, Task, WorkContext
from yapapi.payload import vm
from yapapi.services import Service, ServiceState

IMAGE = "3b1ffd19d88e9877e71546aae779daa4be2fcc3481319a194e2cb03f"
MACHINES = 2
ITEMS = 6


async def payload() -> Any:
    return await vm.repo(image_hash=IMAGE, repository_url=os.environ["GOLEM_REGISTRY_URL"])


async def worker(context: WorkContext, tasks: AsyncIterable[Task[int, str]]) -> AsyncIterator[Any]:
    async for task in tasks:
        script = context.new_script(timeout=timedelta(minutes=1))
        future = script.run("/bin/echo", str(task.data))
        yield script
        task.accept_result(result=(await future).stdout.strip())


async def work(golem: Golem) -> list[str]:
    completed = golem.execute_tasks(
        worker,
        [Task(data=item) for item in range(ITEMS)],
        payload=await payload(),
        max_workers=MACHINES,
        timeout=timedelta(minutes=10),
    )
    return [task.result async for task in completed]


said: list[str] = []


class Speaker(Service):
    def __init__(self, first: int) -> None:
        super().__init__()
        self._first = first

    @staticmethod
    async def get_payload() -> Any:
        return await payload()

    async def run(self) -> AsyncIterator[Any]:
        for item in range(self._first, self._first + ITEMS // MACHINES):
            script = self._ctx.new_script(timeout=timedelta(minutes=1))
            future = script.run("/bin/echo", str(item))
            yield script
            said.append((await future).stdout.strip())


async def services(golem: Golem) -> list[str]:
    parameters = [{"first": number * ITEMS // MACHINES} for number in range(MACHINES)]
    cluster = await golem.run_service(Speaker, instance_params=parameters)
    while any(one.state != ServiceState.terminated for one in cluster.instances):
        await asyncio.sleep(0.1)
    return said


async def main(job: str) -> None:
    golem = Golem(
        budget=5, payment_network=os.environ["YAGNA_PAYMENT_NETWORK"], subnet_tag=os.environ["YAGNA_SUBNET"]
    )
    async with golem:
        results = await {"work": work, "services": services}[job](golem)
    sys.stdout.write(" ".join(sorted(results)) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
