"""A fake daemon as a process of its own: says where it is, and runs until its stdin ends, or Ctrl-C."""

from __future__ import annotations

import argparse
import sys

from .fake_yagna import FakeYagna


def main() -> None:
    """Run a fake daemon; prints the environment variables by which it is found, one a line."""
    parser = argparse.ArgumentParser(prog="python -m simple_golem.testing", description=__doc__)
    parser.add_argument("--providers", type=int, default=1, help="how many, 1 by default")
    parser.add_argument("--port", type=int, default=0, help="where to listen; any that is free by default")
    parser.add_argument("--app-key", default="fake-app-key", help="the key to know")
    options = parser.parse_args()
    with FakeYagna(options.providers, app_key=options.app_key, port=options.port) as fake:
        for name, value in fake.environment.items():
            print(f"{name}={value}")  # noqa: T201 - it is a command
        sys.stdout.flush()
        try:
            while sys.stdin.readline():
                pass
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
