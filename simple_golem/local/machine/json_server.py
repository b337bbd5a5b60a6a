"""The base of the local network's HTTP servers: a function from a request to a JSON answer, or to a file."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

from ...background.threads import EngineThread

logger = logging.getLogger(__name__)

_SHUTDOWN_POLL_SECONDS = 0.1
_JOIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a `JsonServer`.

    Attributes:
        method: `GET`, `HEAD` or `POST`.
        target: the path with the query.
        body: the body, empty if there is none.
    """

    method: str
    target: str
    body: bytes


# Returns the status code of the answer, and the JSON value of its body, or the path of a file.
Answer = Callable[[Request], tuple[int, object]]


class JsonServer:
    """A web server on 127.0.0.1; it answers each request on a thread of its own.

    Attributes:
        url: the URL of the server.
    """

    def __init__(self, name: str, answer: Answer, port: int = 0) -> None:
        """Start listening; does not block.

        Args:
            name: the name for threads and log lines.
            answer: returns the answer to a request; called by several threads at once.
            port: 0 for any free port.

        Raises:
            OSError: the port is in use.
        """
        self._server = _Server(name, answer, port)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = EngineThread(name, self._server.serve_forever, _SHUTDOWN_POLL_SECONDS).start()

    def close(self) -> None:
        """Stop listening; blocks for about 0.1 s, for 1 s at most."""
        self._server.shutdown()
        self._thread.join(_JOIN_SECONDS)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, name: str, answer: Answer, port: int) -> None:
        self.name = name
        self.answer = answer
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        # For example a client that was killed. The base class would print a traceback to stderr.
        logger.info("%s: a request was not answered", self.name, exc_info=True)


def _opened(document: object) -> IO[bytes]:
    if isinstance(document, Path):
        return document.open("rb")
    return io.BytesIO(json.dumps(document).encode())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    # A client that sends nothing must not occupy a thread for ever.
    timeout = 10.0

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, document = self.server.answer(Request(self.command, self.path, body))
        is_file = isinstance(document, Path)
        with _opened(document) as body_file:
            length = body_file.seek(0, os.SEEK_END)
            body_file.seek(0)
            self.send_response(status)
            self.send_header("Content-Type", "application/octet-stream" if is_file else "application/json")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                shutil.copyfileobj(body_file, self.wfile)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug("%s: %s", self.server.name, format % args)
