"""Golem's image registry as a local network has it: the same questions, about the images that are here."""

from __future__ import annotations

import json
import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from ...background.threads import EngineThread
from .image_store import ImageStore

logger = logging.getLogger(__name__)

_PATH = "/v1/image/info"


class Registry:
    """A web server on a free port of this machine that answers `GET /v1/image/info?hash=…` and `?tag=…`."""

    def __init__(self, images: ImageStore) -> None:
        """Begin to listen; does not block."""
        self._server = _Server(images)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = EngineThread("registry", self._server.serve_forever, 0.1).start()

    def close(self) -> None:
        """Stop listening; blocks for a moment."""
        self._server.shutdown()
        self._thread.join(1.0)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, images: ImageStore) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.images = images


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    # A client that keeps its connection open and says nothing must not keep a thread for ever.
    timeout = 10.0

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path != _PATH:
            self._reply(404, {"message": f"there is only {_PATH}?hash=… and {_PATH}?tag=… here"})
        elif ("hash" in query) == ("tag" in query):
            self._reply(400, {"message": "ask for a hash or for a tag, one of the two"})
        else:
            self._reply(*self._found(query.get("hash"), query.get("tag")))

    def _found(self, hash: str | None, tag: str | None) -> tuple[int, dict[str, object]]:
        images = self.server.images
        image = images.lookup(hash=hash, tag=tag)
        if image is None:
            return 404, {"message": images.missing(hash or tag or "")}
        # Nobody fetches from this address: a local provider finds the image by the hash.
        host, port = self.server.server_address[:2]
        address = f"{host!s}:{port}/v1/image/download?hash={image.hash}"
        answer: dict[str, object] = {
            "http": f"http://{address}",
            "https": f"https://{address}",
            "sha3": image.hash,
            "size": image.size,
        }
        return 200, answer if image.tag is None else {**answer, "tag": image.tag}

    def _reply(self, status: int, answer: dict[str, object]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)
