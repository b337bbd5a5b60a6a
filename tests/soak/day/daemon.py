"""The daemon in memory of the day: obeys lines of its input until that ends.

`add` adds a provider; `left` prints what is left, as JSON.
"""

from __future__ import annotations

import json
import sys

from simple_golem.testing import FakeProvider, FakeYagna


def main(providers: int) -> None:
    with FakeYagna(providers) as fake:
        _say("\n".join(f"{name}={value}" for name, value in fake.environment.items()))
        for line in sys.stdin:
            if line.strip() == "add":
                fake.add(FakeProvider())
            else:
                _say(json.dumps(fake.leftovers()))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
