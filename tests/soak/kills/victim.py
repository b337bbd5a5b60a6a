"""`python -m tests.soak.kills.victim URL APP_KEY SEED`: a session that works until it is killed.

With `--rounds N` it ends by itself after so many jobs. With `--most-bytes N` no file can become longer, as on
a disk that is full. It says `open` when the session is about to begin.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import signal
import sys

from simple_golem import Golem
from tests.soak.fault_runs.jobs import JOBS, Setting


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("seed", type=int)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--most-bytes", type=int, default=None)
    asked = parser.parse_args()
    if asked.most_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked.most_bytes, asked.most_bytes))
    of_random = random.Random(asked.seed)

    def open_golem() -> Golem:
        return Golem(2, api_url=asked.url, app_key=asked.key, progress=False)

    sys.stdout.write("open\n")
    sys.stdout.flush()
    with open_golem() as golem:
        for _ in itertools.count() if asked.rounds is None else range(asked.rounds):
            JOBS[of_random.choice(sorted(JOBS))](golem, Setting(open_golem, of_random))


if __name__ == "__main__":
    main()
