"""The image registry of a local network: answers as Golem's own registry does, about the local images."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from ..machine.json_server import JsonServer, Request
from .image_store import ImageStore

_PATH = "/v1/image/info"
_FILE_PATH = "/v1/image/download"


class Registry:
    """A web server on a free port; it answers `GET /v1/image/info?hash=…` and `GET /v1/image/info?tag=…`.

    Attributes:
        url: the URL of the server.
    """

    def __init__(self, images: ImageStore) -> None:
        """Start listening; does not block."""
        self._images = images
        self._server = JsonServer("registry", self._answer)
        self.url = self._server.url

    def close(self) -> None:
        """Stop listening; blocks for about 0.1 s."""
        self._server.close()

    def _answer(self, request: Request) -> tuple[int, object]:
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if (request.method, url.path) == ("HEAD", _FILE_PATH):
            # A requestor looks whether there is such a file.
            image = self._images.lookup(hash=query.get("hash", ""))
            return (404, {"message": "there is no such image"}) if image is None else (200, {})
        if request.method != "GET":
            return 405, {"message": f"the method is GET, not {request.method}"}
        if url.path != _PATH:
            return 404, {"message": f"there is only {_PATH}?hash=… and {_PATH}?tag=… here"}
        if ("hash" in query) == ("tag" in query):
            return 400, {"message": "give either a hash or a tag"}
        return self._find(query.get("hash"), query.get("tag"))

    def _find(self, hash: str | None, tag: str | None) -> tuple[int, object]:
        image = self._images.lookup(hash=hash, tag=tag)
        if image is None:
            return 404, {"message": self._images.missing(hash or tag or "")}
        # Nothing is downloaded from this address: a local provider finds the image by its hash.
        address = f"{urlsplit(self.url).netloc}{_FILE_PATH}?hash={image.hash}"
        answer: dict[str, object] = {
            "http": f"http://{address}",
            "https": f"https://{address}",
            "sha3": image.hash,
            "size": image.source.size,
        }
        return 200, answer if image.tag is None else {**answer, "tag": image.tag}
