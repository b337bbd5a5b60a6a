"""Services on the bus, which is how files are transferred."""

from __future__ import annotations

import base64
import secrets

from .buyer import Buyer

SERVICES = "/gsb-api/v1/services"


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
