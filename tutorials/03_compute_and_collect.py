"""Compute and collect: three providers each do a part of the work, and the script adds up the results."""

from simple_golem import Golem, Run, Service


class Summer(Service):
    """Adds up the numbers from `first` to `last`, on a provider's machine."""

    def __init__(self, first, last):
        self.first = first
        self.last = last
        self.total = None

    def run(self):  # without a run_interval it is called once; then the service ends
        loop = (
            f"total=0; for i in $(seq {self.first} {self.last}); do total=$((total + i)); done; echo $total"
        )
        self.total = int(self.execute(Run.shell(loop)).stdout)


parts = [{"first": 1, "last": 1000}, {"first": 1001, "last": 2000}, {"first": 2001, "last": 3000}]

with Golem(budget=1) as golem:
    cluster = golem.run_service(Summer, instance_params=parts)
    cluster.wait()  # until all of them have ended
    for instance in cluster.instances:
        summer = instance.service
        print(f"{instance.provider_name}: {summer.first} to {summer.last} is {summer.total}")
    print("Together:", sum(instance.service.total for instance in cluster.instances))

print("It cost", golem.cost)
