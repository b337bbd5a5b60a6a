"""Files that a bare requestor publishes and receives over its daemon's GSB WebSocket."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import requests
from flatbuffers import flexbuffers
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from simple_golem.local.local_golem import DaemonAddress

COMPONENTS = ["GetMetadata", "GetChunk", "UploadChunk", "UploadFinished"]


class PublishedFile:
    """One gftp URL: gives `content` chunk by chunk, or takes what is uploaded."""

    def __init__(self, daemon: DaemonAddress, name: str, content: bytes = b"") -> None:
        self._api = daemon.api_url
        self._headers = {"Authorization": f"Bearer {daemon.app_key}"}
        node_id = requests.get(f"{self._api}/me", headers=self._headers, timeout=10).json()["identity"]
        self.url = f"gftp://{node_id}/{name}"
        self.content = bytearray(content)
        self.calls: list[str] = []
        self.hash: str | None = None
        self._refusal: str | None = None
        listen = {"listen": {"on": f"/public/gftp/{name}", "components": COMPONENTS}}
        made = requests.post(
            f"{self._api}/gsb-api/v1/services", json=listen, headers=self._headers, timeout=10
        )
        assert made.status_code == 201, made.text
        self._service = f"/gsb-api/v1/services/{made.json()['servicesId']}"
        self._open = ExitStack()
        connection = connect(
            self._api.replace("http", "ws", 1) + self._service,
            additional_headers=self._headers,
            subprotocols=[Subprotocol("gsb+flexbuffers")],
            compression=None,
            max_size=None,
            close_timeout=1,
        )
        self._socket = self._open.enter_context(connection)
        self._thread = threading.Thread(target=self._serve, name=f"published-{name}", daemon=True)
        self._thread.start()

    def refuse(self, text: str) -> None:
        """Answer every call from now on with an error."""
        self._refusal = text

    def _serve(self) -> None:
        try:
            while True:
                self._serve_next()
        except ConnectionClosed:
            return  # a provider that was cut off may still have asked for more

    def _serve_next(self) -> None:
        request = flexbuffers.Loads(self._socket.recv())
        answer: dict[str, Any] = {"id": request["id"]}
        if self._refusal is None:
            answer["payload"] = self._answer(request["component"], request["payload"])
        else:
            answer["error"] = {"InternalError": self._refusal}
        self._socket.send(bytes(flexbuffers.Dumps(answer)))

    def _answer(self, component: str, payload: Mapping[str, Any]) -> object:
        self.calls.append(component)
        if component == "GetMetadata":
            return {"fileSize": len(self.content)}
        if component == "GetChunk":
            offset, size = payload["offset"], payload["size"]
            return {"offset": offset, "content": bytes(self.content[offset : offset + size])}
        if component == "UploadChunk":
            offset, content = payload["chunk"]["offset"], payload["chunk"]["content"]
            self.content[offset : offset + len(content)] = content
            return None
        self.hash = payload["hash"]
        assert self.hash == hashlib.sha3_256(self.content).hexdigest()
        return None

    def close(self) -> None:
        requests.delete(self._api + self._service, headers=self._headers, timeout=10)
        self._open.close()
        self._thread.join(10)

    def __enter__(self) -> PublishedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
