"""`python -m tests.helpers.killed_maker IP`: a session that is killed once the daemon has made its network.

Its journal says that the network was to be made, and does not have its id.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simple_golem import Golem
from simple_golem.engine.payment.journal import Journal
from tests.helpers.unmeasured import own_environment

_CHECKOUT = Path(__file__).resolve().parents[2]
_SECONDS = 60.0


def make_network_and_be_killed(ip: str, environment: Mapping[str, str]) -> None:
    """Run such a session in a process of its own; blocks until it was killed.

    Args:
        ip: the range of addresses of the network.
        environment: where the daemon and the journals are.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "tests.helpers.killed_maker", ip],
        env={**own_environment(), **environment},
        cwd=_CHECKOUT,
        timeout=_SECONDS,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended


def main(ip: str) -> None:
    write = Journal.write

    def killed_before(journal: Journal, kind: Any, **what: Any) -> None:
        if kind == "network":
            os.kill(os.getpid(), signal.SIGKILL)
        write(journal, kind, **what)

    Journal.write = killed_before  # type: ignore[method-assign]
    with Golem(1) as golem:
        golem.create_network(ip)


if __name__ == "__main__":
    main(sys.argv[1])
