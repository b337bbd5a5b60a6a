"""Many items by yapapi's `execute_tasks`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterable, AsyncIterator
from datetime import timedelta
from typing import Any

from stopwatch import Stopwatch
from yapapi import Golem, Task, WorkContext
from yapapi.events import ActivityCreated, Event
from yapapi.payload import vm
from yapapi.rest.activity import CommandExecutionError

IMAGE = "3b1ffd19d88e9877e71546aae779daa4be2fcc3481319a194e2cb03f"


async def worker(context: WorkContext, tasks: AsyncIterable[Task[int, None]]) -> AsyncIterator[Any]:
    """One machine: an item after the other."""
    async for task in tasks:
        script = context.new_script()
        script.run("/bin/true")
        try:
            yield script
        except CommandExecutionError:
            task.reject_result(retry=True)
        else:
            task.accept_result()


async def main(machines: int, items: int) -> None:
    watch, activities = Stopwatch(), 0

    def count(event: Event) -> None:
        nonlocal activities
        activities += isinstance(event, ActivityCreated)

    golem = Golem(
        budget=50,
        payment_network=os.environ["YAGNA_PAYMENT_NETWORK"],
        subnet_tag=os.environ["YAGNA_SUBNET"],
        event_consumer=count,
    )
    payload = await vm.repo(image_hash=IMAGE, repository_url=os.environ["GOLEM_REGISTRY_URL"])
    async with golem:
        tasks = golem.execute_tasks(
            worker,
            [Task(data=item) for item in range(items)],
            payload=payload,
            max_workers=machines,
            timeout=timedelta(minutes=25),
        )
        done = 0
        async for _ in tasks:
            watch.first()
            done += 1
        watch.last()
    assert done == items, done
    watch.tell(machines=activities)


if __name__ == "__main__":
    asyncio.run(main(machines=int(sys.argv[1]), items=int(sys.argv[2])))
