"""Hello world: a service writes the date in the background, and the script asks for it."""

from simple_golem import Golem, Run, Service, vm

DATE_FILE = "/golem/work/date.txt"
LOOP = f"while sleep 1; do date > {DATE_FILE}; done"


class DateService(Service):
    run_interval = 1  # seconds between the end of one run() and the next

    @staticmethod
    def get_payload():
        return vm.repo(image_tag="golem/alpine:latest")

    def start(self):
        # The first date is there before run() is called; the loop goes on in the background.
        return [Run.shell(f"date > {DATE_FILE}"), Run.background("/bin/sh", "-c", LOOP)]

    def run(self):
        answer = self.execute(Run.shell(f"cat {DATE_FILE}"))
        print(f"{self.name} on {self.provider_name}: hello world, it is {answer.stdout.strip()}")


with Golem(budget=1) as golem:
    cluster = golem.run_service(DateService)
    cluster.wait_until_running(timeout=240)
    cluster.wait(3)

print("It cost", golem.cost)
