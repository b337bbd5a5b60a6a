"""The bus's own limit: a file in and out of one instance, by a requestor that reads and writes no file.

What it sends is one chunk over and over, written once; what it receives it does not look at.
"""

from __future__ import annotations

import os
import secrets
import struct
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

import bare_floor
from flatbuffers import flexbuffers
from stopwatch import memory_mib, most_memory_mib, say
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

COMPONENTS = ["GetMetadata", "GetChunk", "UploadChunk", "UploadFinished"]
# A number that occurs nowhere else in what is sent, where an offset is to be.
PLACE = 0x7EDCBA9876543210
TRANSFER_SECONDS = 600.0


class Published:
    """A file on the bus, of `size` zeros if it is read."""

    def __init__(self, daemon: bare_floor.Daemon, size: int) -> None:
        name = secrets.token_hex(32)
        node_id = daemon.call("GET", "/me")["identity"]
        self.url = f"gftp://{node_id}/{name}"
        self._daemon = daemon
        self._size = size
        self._templates: dict[tuple[int, int], bytes] = {}
        body = {"listen": {"on": f"/public/gftp/{name}", "components": COMPONENTS}}
        self._service = (
            f"/gsb-api/v1/services/{daemon.call('POST', '/gsb-api/v1/services', body)['servicesId']}"
        )
        connection = connect(
            os.environ["YAGNA_API_URL"].replace("http", "ws", 1) + self._service,
            additional_headers={"Authorization": f"Bearer {os.environ['YAGNA_APPKEY']}"},
            subprotocols=["gsb+flexbuffers"],  # type: ignore[list-item]
            compression=None,
            max_size=None,
            close_timeout=1,
        )
        self._open = ExitStack()
        self._socket = self._open.enter_context(connection)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                call = flexbuffers.GetRoot(self._socket.recv()).AsMap
            except ConnectionClosed:
                return
            call_id, component = call["id"].AsString, call["component"].AsString
            if component == "GetChunk":
                asked = call["payload"].AsMap
                self._socket.send(self._chunk(call_id, asked["offset"].AsInt, asked["size"].AsInt))
            else:
                payload = {"fileSize": self._size} if component == "GetMetadata" else None
                self._socket.send(bytes(flexbuffers.Dumps({"id": call_id, "payload": payload})))

    def _chunk(self, call_id: str, offset: int, size: int) -> bytes:
        size = min(size, self._size - offset)
        key = len(call_id), size
        if key not in self._templates:
            payload = {"offset": PLACE, "content": bytes(size)}
            made = flexbuffers.Dumps({"id": "#" * len(call_id), "payload": payload})
            self._templates[key] = bytes(made)
        with_id = self._templates[key].replace(b"#" * len(call_id), call_id.encode(), 1)
        return with_id.replace(struct.pack("<q", PLACE), struct.pack("<q", offset), 1)

    def close(self) -> None:
        self._daemon.call("DELETE", self._service)
        self._open.close()
        self._thread.join()


class Carrier(bare_floor.Life):
    """Sends a file, and brings it back."""

    def run(self) -> None:
        size = self._work.batches
        self._agree()
        activity = self._call("POST", "/activity-api/v1/activity", self.agreement, timeout=30)
        self._batch(activity, [{"deploy": {}}, {"start": {}}])
        before = memory_mib()
        up = self._moved(activity, size, lambda url: {"from": url, "to": "container:/golem/work/file"})
        down = self._moved(activity, size, lambda url: {"from": "container:/golem/work/file", "to": url})
        self._work.report = {"up": up, "down": down, "memory_mib": most_memory_mib() - before}
        self._end(activity)

    def _moved(self, activity: str, size: int, transfer: Any) -> float:
        """Megabytes a second."""
        published = Published(self._work.daemon, size)
        began = time.monotonic()
        self._batch(activity, [{"transfer": transfer(published.url)}], TRANSFER_SECONDS)
        seconds = time.monotonic() - began
        published.close()
        return size / 1e6 / seconds


if __name__ == "__main__":
    work = bare_floor.Work(1, batches=int(sys.argv[1]), life=Carrier)
    work.run()
    say(work.report)
