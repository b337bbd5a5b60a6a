#!/usr/local/bin/python3
"""Observes something that is not there: a normally distributed number for the service, each half second."""

import random
import time

from simple_service import add

MEAN, DEVIATION = 10.0, 5.0


def main() -> None:
    while True:
        add(round(random.normalvariate(MEAN, DEVIATION), 4))
        time.sleep(random.uniform(0.3, 0.7))


if __name__ == "__main__":
    main()
