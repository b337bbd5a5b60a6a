"""The process that makes sandboxes, so that not each of them has to start a Python of its own."""

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

_INIT = Path(__file__).with_name("first_process.py")
_CLOSE_SECONDS = 3.0


class SandboxMaker:
    """Makes any number of sandboxes, for any number of threads; they live on when it is closed."""

    def __init__(self) -> None:
        """Start it; does not block until it is ready."""
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_INIT), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def make(self, settings: Mapping[str, Any]) -> socket.socket:
        """Have a sandbox made; returns its control socket, over which it tells how that went.

        Raises:
            LocalNetworkError: the maker has ended, or the settings are longer than a message can be.
        """
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                socket.send_fds(self._requests, [json.dumps(settings).encode()], [theirs.fileno()])
        except OSError as error:
            control.close()
            cure = "it asks for too much" if error.errno == errno.EMSGSIZE else "start the network again"
            raise LocalNetworkError(f"no private root for an activity: {error.strerror}; {cure}") from error
        return control

    def close(self) -> None:
        """End it; blocks until that is done."""
        self._requests.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
