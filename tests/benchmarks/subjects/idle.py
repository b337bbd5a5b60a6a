"""What instances of simple_golem cost while nothing happens."""

from __future__ import annotations

import sys
import time

from stopwatch import cpu_seconds, memory_mib, say, threads

from simple_golem import Golem, Service

# What the start of so many has set in motion comes to rest first.
SETTLE_SECONDS = 5.0
# One machine has no room for more that begin or end at once, with all of their providers.
AT_ONCE = 25


def main(instances: int, seconds: float) -> None:
    with Golem(budget=50) as golem:
        memory_of_none, threads_of_none = memory_mib(), threads()
        # A class without a `run` stays running until it is stopped.
        cluster = golem.run_service(Service, num_instances=min(AT_ONCE, instances))
        cluster.wait_until_running(timeout=240)
        while len(cluster.instances) < instances:
            cluster.resize(min(len(cluster.instances) + AT_ONCE, instances))
            cluster.wait_until_running(timeout=240)
        time.sleep(SETTLE_SECONDS)
        cpu, began = cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        share = (cpu_seconds() - cpu) / (time.monotonic() - began)
        report = {
            "cpu_percent": 100 * share,
            "threads_above_instances": threads() - instances,
            "threads_of_none": threads_of_none,
            "memory_mib_per_instance": (memory_mib() - memory_of_none) / instances,
            "memory_mib": memory_mib(),
        }
        assert all(one.state == "running" for one in cluster.instances), cluster
        for left in range(instances - AT_ONCE, 0, -AT_ONCE):
            cluster.resize(left)
    say(report)


if __name__ == "__main__":
    main(instances=int(sys.argv[1]), seconds=float(sys.argv[2]))
