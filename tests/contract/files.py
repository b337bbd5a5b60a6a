"""Services on the bus, which is how files are transferred."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import pytest
from flatbuffers import flexbuffers
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .buyer import Buyer

SERVICES = "/gsb-api/v1/services"
COMPONENTS = ["GetMetadata", "GetChunk", "UploadChunk", "UploadFinished"]
FAILED = "Local service error: Transfer error:"
# The real daemon never answers the close of a service that was deleted.
_CLOSE_SECONDS = 0.2


def id_of(address: str) -> str:
    return base64.urlsafe_b64encode(address.encode()).decode().rstrip("=")


class ServiceContract:
    def test_a_service_from_its_publishing_to_its_end(self, buyer: Buyer) -> None:
        address = f"/public/gftp/{secrets.token_hex(8)}"
        listen = {"on": address, "components": ["GetMetadata", "GetChunk"]}
        status, published = buyer.say("POST", SERVICES, {"listen": listen})
        assert (status, published) == (201, {"listen": listen, "servicesId": id_of(address)})
        twice = f"Duplicated service address prefix: {address}"
        assert buyer.say("POST", SERVICES, {"listen": listen}) == (400, twice)
        path = f"{SERVICES}/{published['servicesId']}"
        assert buyer.say("GET", path) == (500, "Actix error: WebSocket upgrade is expected")
        assert buyer.say("DELETE", path) == (200, None)
        gone = f"Service prefix not found: Cannot find service: {address}"
        assert buyer.say("DELETE", path) == (404, gone)

    def test_one_that_never_was_is_not_found(self, buyer: Buyer) -> None:
        assert buyer.say("GET", f"{SERVICES}/{id_of('no')}") == (404, "Service prefix not found: no")
        status, text = buyer.say("DELETE", f"{SERVICES}/!!")
        assert (status, text.startswith("Service address should be encoded in base64.")) == (400, True)
        missing = "Json deserialize error: missing field `listen` at line 1 column 2"
        assert buyer.say("POST", SERVICES, {}) == (400, missing)


class PublishedFile:
    """A file on the bus in a `with` statement, to be read or written by a provider.

    Attributes:
        content: of the file.
        finished: the hash that a provider has sent at the end.
    """

    def __init__(self, buyer: Buyer, content: bytes = b"", refusal: str | None = None) -> None:
        """Args: refusal: the kind of the error with which each call is answered."""
        self.content = bytearray(content)
        self.finished: str | None = None
        self._buyer = buyer
        self._refusal = refusal
        name = secrets.token_hex(32)
        self.url = f"gftp://{buyer.get('/me')['identity']}/{name}"
        self._address = f"/public/gftp/{name}"
        self._path = f"{SERVICES}/{id_of(self._address)}"

    def __enter__(self) -> PublishedFile:
        listen = {"on": self._address, "components": COMPONENTS}
        assert self._buyer.say("POST", SERVICES, {"listen": listen})[0] == 201
        self._open = ExitStack()
        opening = connect(
            f"ws{self._buyer.url.removeprefix('http')}{self._path}",
            subprotocols=["gsb+flexbuffers"],  # type: ignore[list-item]
            additional_headers={"Authorization": str(self._buyer.session.headers["Authorization"])},
            close_timeout=_CLOSE_SECONDS,
        )
        connection = self._open.enter_context(opening)
        self._thread = threading.Thread(target=self._serve, args=(connection,))
        self._thread.start()
        return self

    def _serve(self, connection: ClientConnection) -> None:
        try:
            for message in connection:
                call = flexbuffers.Loads(message)
                answer = {"id": call["id"], "payload": self._answer(call["component"], call["payload"])}
                if self._refusal is not None:
                    answer = {"id": call["id"], "error": {self._refusal: "as the test wants it"}}
                connection.send(bytes(flexbuffers.Dumps(answer)))
        except ConnectionClosed:
            return

    def _answer(self, component: str, payload: Any) -> Any:
        if component == "GetMetadata":
            return {"fileSize": len(self.content)}
        if component == "GetChunk":
            offset = payload["offset"]
            return {"offset": offset, "content": bytes(self.content[offset : offset + payload["size"]])}
        if component == "UploadChunk":
            chunk = payload["chunk"]
            self.content[chunk["offset"] :] = bytes(chunk["content"])
        else:
            self.finished = payload["hash"]
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._buyer.say("DELETE", self._path) == (200, None)
        self._open.close()
        self._thread.join(10)


class TransferContract:
    def test_a_file_goes_to_a_provider_and_back(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        content = secrets.token_bytes(100_000)
        there = "container:/golem/input/file"
        with PublishedFile(buyer, content) as source, PublishedFile(buyer) as sink:
            results = buyer.run(
                activity_id,
                {"transfer": {"from": source.url, "to": there}},
                {"transfer": {"from": there, "to": sink.url}},
            )
        assert [result["result"] for result in results] == ["Ok", "Ok"]
        assert sink.content == content
        assert sink.finished == hashlib.sha3_256(content).hexdigest()

    def test_an_empty_file_is_a_file(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        there = "container:/golem/input/empty"
        with PublishedFile(buyer) as source, PublishedFile(buyer, b"old") as sink:
            buyer.run(activity_id, {"transfer": {"from": source.url, "to": there}})
            results = buyer.run(activity_id, {"transfer": {"from": there, "to": sink.url}})
        assert results[0]["result"] == "Ok"
        assert sink.finished == hashlib.sha3_256(b"").hexdigest()

    @pytest.mark.parametrize(
        ("source", "target", "message"),
        [
            (
                "container:/golem/work/none",
                "container:/golem/input/x",
                "IO error: No such file or directory (os error 2)",
            ),
            ("ftp://host/x", "container:/golem/input/x", "Unsupported scheme: ftp"),
        ],
    )
    def test_a_transfer_that_fails(self, buyer: Buyer, source: str, target: str, message: str) -> None:
        _, activity_id = buyer.hire()
        batch = buyer.execute(activity_id, {"transfer": {"from": source, "to": target}})
        (result,) = buyer.get(batch, timeout=10, commandIndex=0)
        assert (result["result"], result["message"]) == ("Error", f"{FAILED} {message}")

    def test_a_file_whose_owner_refuses(self, buyer: Buyer) -> None:
        _, activity_id = buyer.hire()
        with PublishedFile(buyer, refusal="InternalError") as source:
            command = {"transfer": {"from": source.url, "to": "container:/golem/input/x"}}
            (result,) = buyer.get(buyer.execute(activity_id, command), timeout=10, commandIndex=0)
        assert result["result"] == "Error"
        assert result["message"].startswith(f"{FAILED} gftp error: ")
        assert "as the test wants it" in result["message"]
