#!/usr/local/bin/python3
"""Starts and stops the simulated observations, which go on in the background between the two."""

# ruff: noqa: T201 - its output is what the service's owner reads

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

OBSERVER = Path(__file__).with_name("simulate_observations.py")
PID_FILE = Path(os.environ.get("OBSERVATIONS_PID_FILE", "/golem/out/simulate_observations.pid"))
STOP_SECONDS = 3.0


def running_pid() -> int | None:
    """The process id of the observer, None if it does not run."""
    try:
        pid = int(PID_FILE.read_text())
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    return pid


def start() -> int:
    if (pid := running_pid()) is not None:
        print(f"observations are already simulated by process {pid}", file=sys.stderr)
        return 1
    observer = subprocess.Popen(
        [sys.executable, str(OBSERVER)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    PID_FILE.write_text(f"{observer.pid}\n")
    print(f"observations are simulated by process {observer.pid}")
    return 0


def stop() -> int:
    pid = running_pid()
    if pid is None:
        print("no observations are being simulated", file=sys.stderr)
        return 1
    os.kill(pid, signal.SIGTERM)
    give_up = time.monotonic() + STOP_SECONDS
    while running_pid() is not None:
        if time.monotonic() > give_up:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    PID_FILE.unlink()
    print(f"process {pid} has ended; no more observations")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--start", action="store_true", help="simulate observations in the background")
    action.add_argument("--stop", action="store_true", help="stop the simulation")
    return start() if parser.parse_args().start else stop()


if __name__ == "__main__":
    sys.exit(main())
