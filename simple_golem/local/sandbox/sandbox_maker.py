"""The process that makes sandboxes, so that not every sandbox starts a Python of its own.

A sandbox needs a fork from a process with one thread and few modules. To start Python for each takes 41 ms;
a fork of this process takes 7 ms.
"""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import LocalNetworkError
from ..machine.processes import await_or_kill

_FIRST_PROCESS = Path(__file__).with_name("first_process.py")
_PROCESS_END_SECONDS = 3.0


class SandboxMaker:
    """Makes any number of sandboxes, for any number of threads; they stay when the maker is closed."""

    def __init__(self) -> None:
        """Start the process; does not wait until it is ready."""
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_FIRST_PROCESS), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def make(self, settings: Mapping[str, Any]) -> socket.socket:
        """Request a sandbox; does not wait for it.

        Args:
            settings: the settings of the sandbox.

        Returns:
            The control socket of the sandbox; the first messages on it report success or failure.

        Raises:
            LocalNetworkError: the process has ended, or the settings are too long for a message.
        """
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                socket.send_fds(self._requests, [json.dumps(settings).encode()], [theirs.fileno()])
        except OSError as error:
            control.close()
            remedy = (
                "the settings are too long" if error.errno == errno.EMSGSIZE else "start the network again"
            )
            raise LocalNetworkError(f"no private root for an activity: {error.strerror}; {remedy}") from error
        return control

    def close(self) -> None:
        """End the process; blocks until it has ended, for 3 seconds at most."""
        self._requests.close()
        await_or_kill(self._process, _PROCESS_END_SECONDS)
