"""Testing a service: its methods return plain values, so a test needs no network, no daemon and no money."""

import os
from unittest.mock import patch

from simple_golem import CommandFailed, Golem, Result, Run, Service
from simple_golem.testing import FakeProvider, FakeYagna

READ = Run("/golem/run/thermometer", "--read")


class Thermometer(Service):
    run_interval = 60
    warning = None

    def start(self):
        return [Run("/golem/run/thermometer", "--calibrate")]

    def run(self):
        try:
            degrees = float(self.execute(READ).stdout)
        except CommandFailed:
            degrees, self.warning = 0, "no reading"
        if degrees > 30:
            self.warning = f"{degrees:g} degrees"
            self.stop()


def test_it_is_calibrated_at_the_start():
    assert Thermometer().start() == [Run("/golem/run/thermometer", "--calibrate")]


def test_heat_is_warned_of_and_ends_the_service():
    thermometer = Thermometer().with_answers({READ: "35"})
    thermometer.run()
    assert thermometer.warning == "35 degrees"
    assert thermometer.stopping


def test_a_broken_sensor_is_reported_and_the_service_goes_on():
    thermometer = Thermometer().with_answers({READ: Result(success=False, stderr="no sensor")})
    thermometer.run()
    assert thermometer.warning == "no reading"
    assert not thermometer.stopping


def test_its_whole_life_on_a_network_in_memory():
    provider = FakeProvider(answers={"/golem/run/thermometer --read": "35"})
    with FakeYagna([provider]) as yagna, patch.dict(os.environ, yagna.environment), Golem(budget=1) as golem:
        cluster = golem.run_service(Thermometer)
        cluster.wait(timeout=20)
        assert cluster.instances[0].service.warning == "35 degrees"


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("passed:", name.removeprefix("test_").replace("_", " "))
