"""The jobs by simple_golem, as its documentation shows them."""

from __future__ import annotations

import sys

from simple_golem import Golem, Instance, Run, Service

MACHINES = 2
ITEMS = 6


def echo(machine: Instance, item: int) -> str:
    return machine.execute(Run("/bin/echo", str(item)), timeout=60).stdout.strip()


def work(golem: Golem) -> list[str]:
    with golem.pool(MACHINES) as pool:
        return list(pool.map(echo, range(ITEMS)))


said: list[str] = []


class Speaker(Service):
    def __init__(self, first: int) -> None:
        self._first = first

    def run(self) -> None:
        for item in range(self._first, self._first + ITEMS // MACHINES):
            said.append(self.execute(Run("/bin/echo", str(item)), timeout=60).stdout.strip())


def services(golem: Golem) -> list[str]:
    parameters = [{"first": number * ITEMS // MACHINES} for number in range(MACHINES)]
    golem.run_service(Speaker, instance_params=parameters).wait()
    return said


def main(job: str) -> None:
    with Golem(5) as golem:
        results = {"work": work, "services": services}[job](golem)
    sys.stdout.write(" ".join(sorted(results)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
