"""A simple service: providers collect simulated observations, and the script asks for statistics."""

import json

from simple_golem import Golem, Run, Service, vm


class SimpleService(Service):
    run_interval = 2

    @staticmethod
    def get_payload():
        return vm.repo(
            image_hash="8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488",
            min_mem_gib=0.5,
            min_storage_gib=2.0,
        )

    def start(self):
        return [Run("/golem/run/simulate_observations_ctl.py", "--start")]

    def run(self):
        answer = self.execute(Run("/golem/run/simple_service.py", "--stats"))
        print(f"{self.name:<16} {self.provider_name:<8} {statistics(answer.stdout)}")

    def shutdown(self):
        return [Run("/golem/run/simulate_observations_ctl.py", "--stop")]


def statistics(answer):
    """The statistics of a service, as one line."""
    stats = json.loads(answer)
    if not stats.get("count"):
        return "no observations yet"
    bar = "#" * min(40, stats["count"])
    return f"{stats['count']:>4} observations, mean {stats['mean']:6.2f} {bar}"


with Golem(budget=1) as golem:
    cluster = golem.run_service(SimpleService, num_instances=3)
    cluster.wait_until_running(timeout=240)
    cluster.wait(9)
    cluster.stop()

print("It cost", golem.cost)
