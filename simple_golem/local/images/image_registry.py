"""The image registry of a local network: answers as Golem's own registry does, about the local images."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from ..machine.json_server import JsonServer, Request
from .image_file import file_of
from .image_store import ImageStore, LocalImage

_INFO, _DOWNLOAD = "/v1/image/info", "/v1/image/download"


class Registry:
    """A web server on a free port: `/v1/image/info` tells of images, `/v1/image/download` has their files.

    Both paths have a query, `?hash=…` or `?tag=…`. The methods are GET and HEAD.

    Attributes:
        url: the URL of the server.
    """

    def __init__(self, images: ImageStore) -> None:
        """Start listening; does not block."""
        self._images = images
        self._server = JsonServer("registry", self._answer)
        self.url = images.served_at = self._server.url

    def close(self) -> None:
        """Stop listening; blocks for about 0.1 s."""
        self._server.close()

    def _answer(self, request: Request) -> tuple[int, object]:
        url = urlsplit(request.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if request.method not in ("GET", "HEAD"):
            return 405, {"message": f"the methods are GET and HEAD, not {request.method}"}
        if url.path not in (_INFO, _DOWNLOAD):
            return 404, {"message": f"there are only {_INFO}?hash=… and {_DOWNLOAD}?hash=… here, or ?tag=…"}
        if ("hash" in query) == ("tag" in query):
            return 400, {"message": "give either a hash or a tag"}
        image = self._images.lookup(hash=query.get("hash"), tag=query.get("tag"))
        if image is None:
            return 404, {"message": self._images.missing(query.get("hash") or query.get("tag") or "")}
        if url.path == _DOWNLOAD:
            return 200, file_of(image, self._images)
        return 200, self._info(image)

    def _info(self, image: LocalImage) -> Mapping[str, object]:
        address = f"{urlsplit(self.url).netloc}{_DOWNLOAD}?hash={image.hash}"
        answer: dict[str, object] = {
            "http": f"http://{address}",
            "https": f"https://{address}",
            "sha3": image.hash,
            "size": image.source.size,
        }
        return answer if image.tag is None else {**answer, "tag": image.tag}
