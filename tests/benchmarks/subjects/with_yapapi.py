"""The same work by yapapi, which runs in an environment of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from stopwatch import Stopwatch
from yapapi import Golem
from yapapi.payload import vm
from yapapi.services import Service, ServiceState

IMAGE = "3b1ffd19d88e9877e71546aae779daa4be2fcc3481319a194e2cb03f"
LOOK_SECONDS = 0.05


class Echo(Service):
    """Runs its batches one after the other."""

    def __init__(self, batches: int, watch: Stopwatch) -> None:
        super().__init__()
        self._batches = batches
        self._watch = watch

    @staticmethod
    async def get_payload() -> Any:
        return await vm.repo(image_hash=IMAGE, repository_url=os.environ["GOLEM_REGISTRY_URL"])

    async def run(self) -> AsyncIterator[Any]:
        for number in range(self._batches):
            began = time.monotonic()
            script = self._ctx.new_script()
            future = script.run("/bin/echo", str(number))
            yield script
            result = await future
            self._watch.round_trip(time.monotonic() - began)
            if number == 0:
                self._watch.first()
            assert result.stdout == f"{number}\n", result
        self._watch.last()


async def main(instances: int, batches: int) -> None:
    watch = Stopwatch()
    golem = Golem(
        budget=50,
        payment_network=os.environ["YAGNA_PAYMENT_NETWORK"],
        subnet_tag=os.environ["YAGNA_SUBNET"],
        event_consumer=lambda event: None,
    )
    async with golem:
        params = [{"batches": batches, "watch": watch}] * instances
        cluster = await golem.run_service(Echo, instance_params=params)
        while any(one.state != ServiceState.terminated for one in cluster.instances):
            await asyncio.sleep(LOOK_SECONDS)
    watch.tell()


if __name__ == "__main__":
    asyncio.run(main(instances=int(sys.argv[1]), batches=int(sys.argv[2])))
