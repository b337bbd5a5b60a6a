"""The service bus of a fake daemon: services of the requestor, and calls by providers."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Mapping
from typing import Any

from ...request import Call, FakeAnswer, FakeRequest, Refused
from ..wire import bad_json, json_body
from ..world import World

_CALL_SECONDS = 60.0


class BusError(Exception):
    """A call on the bus failed; `lasting` says whether it would fail again."""

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.lasting = lasting


class Service:
    """A service of the requestor, answered over a WebSocket.

    Attributes:
        changed: notified when there is something to send, an answer, or an end.
        connection: what serves its WebSocket at present.
        is_withdrawn: whether it is gone from the bus.
    """

    def __init__(self, world: World, address: str, components: list[str]) -> None:
        self.address = address
        self.components = components
        self.changed = world.condition()
        self.connection: object | None = None
        self.is_withdrawn = False
        self._world = world
        self._unsent: deque[Mapping[str, Any]] = deque()
        self._answers: dict[str, Mapping[str, Any] | None] = {}

    # --- for who calls ----------------------------------------------------------------------------------

    def ask(self, component: str, payload: object, call: Call) -> Any:
        """Block for an answer; raises `BusError`, and `ConnectionDropped` if the call is abandoned."""
        call_id = self._world.uuid()
        self._answers[call_id] = None
        self._unsent.append({"id": call_id, "component": component, "payload": payload})
        self.changed.notify_all()
        try:
            in_time = self._world.wait(
                call, self.changed, lambda: self._answers[call_id] is not None, _CALL_SECONDS
            )
            answer = self._answers[call_id]
        finally:
            del self._answers[call_id]
        if not in_time or answer is None:
            raise BusError("GSB error: timeout", lasting=False)
        if "lost" in answer:
            raise BusError(f"GSB error: {answer['lost']}", lasting=False)
        if "error" in answer:
            kind, text = next(iter(dict(answer["error"]).items()))
            raise BusError(f"gftp error: {kind}: {text}", lasting=True)
        return answer.get("payload")

    # --- for the WebSocket ------------------------------------------------------------------------------

    def connected(self, connection: object) -> None:
        """Use a new WebSocket, in place of an older one."""
        with self._world.lock:
            self.connection = connection
            self.changed.notify_all()

    def take(self, connection: object) -> list[Mapping[str, Any]] | None:
        """Block until there are calls to send over this WebSocket; None if it is not in use any more."""
        with self._world.lock:
            while connection is self.connection and not self.is_withdrawn:
                if self._unsent:
                    messages = list(self._unsent)
                    self._unsent.clear()
                    return messages
                self.changed.wait()
            return None

    def answered(self, message: Mapping[str, Any]) -> None:
        """Take an answer from the WebSocket."""
        with self._world.lock:
            if message.get("id") in self._answers:
                self._answers[str(message["id"])] = message
                self.changed.notify_all()

    def disconnected(self, connection: object, *, reset: bool) -> None:
        """Take note of the end of a WebSocket.

        After a close frame the real daemon expects a new WebSocket, and calls wait for it. After a reset they
        fail.
        """
        with self._world.lock:
            if connection is not self.connection:
                return
            self.connection = None
            self.changed.notify_all()
            if reset:
                self._lose("the service has lost its connection")

    def withdraw(self) -> None:
        self.is_withdrawn = True
        self._lose(f"endpoint address not found: {self.address}")

    def _lose(self, why: str) -> None:
        self._unsent.clear()
        for call_id, answer in self._answers.items():
            if answer is None:
                self._answers[call_id] = {"lost": why}
        self.changed.notify_all()


class Bus:
    """Answers requests for services."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._services: dict[str, Service] = {}

    @property
    def addresses(self) -> list[str]:
        """The addresses of all services."""
        return list(self._services)

    def call(self, address: str, component: str, payload: object, call: Call) -> Any:
        """Call a service and block for its answer.

        Raises:
            BusError: there is none, or it answered with an error.
        """
        with self._world.lock:
            service = self._services.get(address)
            if service is None:
                raise BusError(f"GSB error: endpoint address not found: {address}", lasting=False)
            return service.ask(component, payload, call)

    def forget_all(self) -> None:
        """Drop all services, as a restart does."""
        for service in self._services.values():
            service.withdraw()
        self._services.clear()

    # --- by REST ----------------------------------------------------------------------------------------

    def post(self, request: FakeRequest, call: Call) -> FakeAnswer:
        listen = json_body(request, ("listen",))["listen"]
        if not isinstance(listen, dict) or not {"on", "components"} <= listen.keys():
            return bad_json(request, "missing field `on`")
        address = str(listen["on"])
        if address in self._services:
            return FakeAnswer.of_message(f"Duplicated service address prefix: {address}", 400)
        service = Service(self._world, address, list(listen["components"]))
        self._services[address] = service
        wire = {"on": address, "components": service.components}
        return FakeAnswer.of_json({"listen": wire, "servicesId": _id_of(address)}, 201)

    def delete(self, request: FakeRequest, call: Call, services_id: str) -> FakeAnswer:
        address = _address_of(services_id)
        service = self._services.pop(address, None)
        if service is None:
            text = f"Service prefix not found: Cannot find service: {address}"
            return FakeAnswer.of_message(text, 404)
        service.withdraw()
        return FakeAnswer.of_json(None)

    def connect(self, request: FakeRequest, call: Call, services_id: str) -> FakeAnswer:
        address = _address_of(services_id)
        service = self._services.get(address)
        if service is None:
            return FakeAnswer.of_message(f"Service prefix not found: {address}", 404)
        if request.headers.get("upgrade", "").lower() != "websocket":
            return FakeAnswer.of_message("Actix error: WebSocket upgrade is expected", 500)
        return FakeAnswer(101, service=service)


def _id_of(address: str) -> str:
    return base64.urlsafe_b64encode(address.encode()).decode().rstrip("=")


def _address_of(services_id: str) -> str:
    try:
        padded = services_id + "=" * (-len(services_id) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = (
            "Service address should be encoded in base64. Unable to decode. Err: Invalid byte "
            f"{ord(services_id[0])}, offset 0."
        )
        raise Refused(FakeAnswer.of_message(text, 400)) from None
