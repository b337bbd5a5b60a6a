"""The allocations of a fake daemon: funds that the requestor sets aside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ...request import Call, FakeAnswer, FakeRequest, Refused
from ..records import Records
from ..wire import amount_of, bad_json, date_of, date_text, json_body, needed, number_of, read_date
from ..world import World

_URL = "/payment-api/v1/allocations"
_TEN_YEARS = timedelta(days=3650)
_DEFAULT_PLATFORM = "erc20-holesky-tglm"
_NETWORKS = ("mainnet", "goerli", "holesky", "mumbai", "polygon", "amoy", "sepolia", "hoodi")


@dataclass(eq=False)
class Allocation:
    """Funds of the requestor, set aside.

    Attributes:
        spent: what was accepted from it.
    """

    allocation_id: str
    address: str
    platform: str
    total: Decimal
    made: datetime
    timeout: datetime
    spent: Decimal = Decimal(0)
    is_released: bool = False

    @property
    def remaining(self) -> Decimal:
        return self.total - self.spent

    def wire(self) -> dict[str, Any]:
        made = date_text(self.made)
        return {
            "allocationId": self.allocation_id,
            "address": self.address,
            "paymentPlatform": self.platform,
            "totalAmount": f"{self.spent + self.remaining:f}",
            "spentAmount": f"{self.spent:f}",
            "remainingAmount": f"{self.remaining:f}",
            "timestamp": made,
            "timeout": date_text(self.timeout),
            "createdTs": made,
            "updatedTs": made,
            "makeDeposit": False,
        }


class Allocations:
    """Answers requests for allocations.

    Attributes:
        funds: the requestor's GLM, which bound its allocations; None: no bound.
    """

    def __init__(self, world: World, node_id: str, funds: Decimal | None) -> None:
        self.funds = funds
        self._world = world
        self._node_id = node_id
        self._allocations: Records[Allocation] = Records(lambda one: one.is_released)

    def alive(self) -> list[Allocation]:
        return [one for key in list(self._allocations) if (one := self.find(key)) is not None]

    def find(self, allocation_id: object) -> Allocation | None:
        """The allocation of this id, unless it was released or has expired."""
        allocation = self._allocations.get(str(allocation_id))
        if allocation is None or allocation.is_released:
            return None
        if self._world.clock.now() >= allocation.timeout:
            allocation.is_released = True
            return None
        return allocation

    # --- by REST ----------------------------------------------------------------------------------------

    def post(self, request: FakeRequest, call: Call) -> FakeAnswer:
        body = json_body(request, ("totalAmount",))
        total, now = _amount(request, body), self._world.clock.now()
        timeout = _date(request, body) or now + _TEN_YEARS
        platform = self._platform(body)
        address = body.get("address") or self._node_id
        if address != self._node_id:
            text = (
                "Failed to initialize account on driver: erc20 due to error "
                f"Account {address} not found in active accounts"
            )
            return _problem("internal-error", "Unhandled internal error", body, 500, internalError=text)
        if timeout <= now:
            return self._invalid(
                "timeout-passed", "Requested allocation timeout is in the past", platform, body,
                requestedTimeout=date_text(timeout).replace("Z", "+00:00"),
            )  # fmt: skip
        reserved = sum((one.remaining for one in self.alive()), Decimal(0))
        if self.funds is not None and total > self.funds - reserved:
            return self._invalid(
                "insufficient-account-funds", "Insufficient funds to make allocation", platform, body,
                requestedFunds=f"{total:f}", availableFunds=f"{self.funds:f}", reservedFunds=f"{reserved:f}",
            )  # fmt: skip
        allocation = Allocation(
            self._world.uuid(), self._node_id, platform, total, self._world.stamp(), timeout
        )
        self._allocations.put(allocation.allocation_id, allocation)
        return FakeAnswer.of_json(allocation.wire(), 201)

    def list_all(self, request: FakeRequest, call: Call) -> FakeAnswer:
        after, most = date_of(request), number_of(request, "maxItems")
        alive = [one.wire() for one in self.alive() if after is None or one.timeout > after]
        return FakeAnswer.of_json(alive[:most])

    def get(self, request: FakeRequest, call: Call, allocation_id: str) -> FakeAnswer:
        return FakeAnswer.of_json(self._known(allocation_id).wire())

    def put(self, request: FakeRequest, call: Call, allocation_id: str) -> FakeAnswer:
        body = json_body(request)
        total = _amount(request, body) if body.get("totalAmount") is not None else None
        timeout = _date(request, body)
        allocation = self._known(allocation_id)
        if timeout is not None and timeout <= self._world.clock.now():
            return FakeAnswer.of_message("New allocation timeout is in the past", 400)
        if total is not None and total < allocation.spent:
            text = "New allocation would be smaller than the already spent amount"
            return FakeAnswer.of_message(text, 400)
        allocation.total = allocation.total if total is None else total
        allocation.timeout = timeout or allocation.timeout
        return FakeAnswer.of_json(allocation.wire())

    def delete(self, request: FakeRequest, call: Call, allocation_id: str) -> FakeAnswer:
        allocation = self._allocations.get(allocation_id)
        if allocation is None:
            return FakeAnswer.of_message(None, 404)
        if allocation.is_released:
            text = f"Allocation {allocation_id} has been already released"
            return FakeAnswer.of_message(text, 410)
        allocation.is_released = True
        return FakeAnswer.of_json(None)

    def get_decorations(self, request: FakeRequest, call: Call) -> FakeAnswer:
        text = needed(request, "allocationIds")
        if "%2c" in request.raw_query.lower():
            what = f'invalid type: string "{text}", expected a borrowed string'
            return FakeAnswer.of_text(f"Query deserialize error: {what}", 400)
        allocations = [self._known(one) for one in text.split(",")]
        names = [f"golem.com.payment.platform.{one.platform}.address" for one in allocations]
        properties = [
            {"key": name, "value": one.address} for name, one in zip(names, allocations, strict=True)
        ]
        properties.append({"key": "golem.com.payment.protocol.version", "value": "3"})
        parts = [f"({name}=*)" for name in names]
        platforms = parts[0] if len(parts) == 1 else "(|\n  " + "\n  ".join(parts) + "\n)"
        constraints = [platforms, "(golem.com.payment.protocol.version>1)"]
        return FakeAnswer.of_json({"properties": properties, "constraints": constraints})

    def _known(self, allocation_id: str) -> Allocation:
        allocation = self.find(allocation_id)
        if allocation is None:
            raise Refused(FakeAnswer.of_message(None, 404))
        return allocation

    def _platform(self, body: dict[str, Any]) -> str:
        asked = body.get("paymentPlatform")
        if asked is None:
            return _DEFAULT_PLATFORM
        if isinstance(asked, dict):
            network = asked.get("network") or "holesky"
            token = asked.get("token") or ("glm" if network in ("mainnet", "polygon") else "tglm")
            return f"{asked.get('driver') or 'erc20'}-{network}-{token}".lower()
        parts = str(asked).split("-")
        if len(parts) != 3:
            error = f"paymentPlatform must be of the form driver-network-token instead of {asked}"
        elif parts[1] not in _NETWORKS:
            error = f"Validate network failed (2): Invalid network name: {parts[1]}"
        else:
            return str(asked)
        more = {"parseError": error, "requestedPaymentPlatform": asked}
        raise Refused(_problem("bad-payment-platform", "Payment platform doesn't parse", body, 400, **more))

    def _invalid(
        self, instance: str, detail: str, platform: str, body: dict[str, Any], **more: object
    ) -> FakeAnswer:
        kind = "validation-error"
        known = {"address": self._node_id, "paymentPlatform": platform}
        return _problem(kind, detail, body, 400, instance=f"{_URL}/{kind}/{instance}", **known, **more)


def _problem(kind: str, detail: str, body: dict[str, Any], status: int, **more: object) -> FakeAnswer:
    names = ("address", "deposit", "extendTimeout", "makeDeposit", "paymentPlatform", "timeout")
    told = {**dict.fromkeys(names), "makeDeposit": False, **body, "totalAmount": str(body["totalAmount"])}
    wire = {"type": f"{_URL}/{kind}", "detail": detail, "requestBody": told, **more}
    return FakeAnswer(status, json.dumps(wire, separators=(",", ":")).encode(), "application/problem+json")


def _amount(request: FakeRequest, body: dict[str, Any]) -> Decimal:
    try:
        return amount_of(body["totalAmount"])
    except ValueError as error:
        raise Refused(bad_json(request, str(error))) from None


def _date(request: FakeRequest, body: dict[str, Any]) -> datetime | None:
    if body.get("timeout") is None:
        return None
    try:
        return read_date(str(body["timeout"]))
    except ValueError:
        raise Refused(bad_json(request, "input contains invalid characters")) from None
