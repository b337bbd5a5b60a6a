"""The activities of a fake daemon, from the requestor's side."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...request import Call, FakeAnswer, FakeRequest, Refused
from ..market.agreements import Agreement, Agreements
from ..market.ids import not_hexadecimal
from ..records import Records
from ..wire import json_body, needed, number_of, seconds_of
from ..world import World
from .batch import Batch, Command
from .exe_unit import TERMINATED, ExeUnit, StatePair

_DEFAULT_SECONDS = 5.0
_COMMANDS = ("sign", "deploy", "start", "run", "transfer", "terminate")
_NEEDED = {"run": ("entry_point",), "transfer": ("from", "to")}


@dataclass(eq=False)
class Activity:
    """An activity of the requestor.

    Attributes:
        state: the last one that its provider has reported.
        exe_unit: what serves it; None until it is created.
        destroyed_at: when it ended, on the clock.
    """

    activity_id: str
    agreement: Agreement
    created_at: float
    changed: Any = field(repr=False)
    state: StatePair = ("New", None)
    reason: str | None = None
    error_message: str | None = None
    exe_unit: ExeUnit | None = None
    destroyed_at: float | None = None
    silent: bool = False
    given_up: bool = False

    @property
    def is_alive(self) -> bool:
        return TERMINATED not in self.state

    def change(self, state: StatePair, reason: str | None = None, message: str | None = None) -> None:
        """Take a new state from the provider."""
        self.state, self.reason, self.error_message = state, reason, message
        self.changed.notify_all()


class Hosts(Protocol):
    """The providers, as activities call them; each call holds the lock of the world."""

    def wanted(self, activity: Activity) -> None: ...
    def unwanted(self, activity: Activity) -> None: ...
    def usage(self, activity: Activity) -> list[float]: ...
    def answers_results(self, agreement: Agreement) -> bool: ...
    def streams(self, agreement: Agreement) -> bool: ...
    def times_out_after(self, agreement: Agreement) -> float: ...
    def reached(self, provider: str) -> tuple[Any, Callable[[], bool]]: ...


class Activities:
    """Answers requests for activities."""

    def __init__(self, world: World, agreements: Agreements) -> None:
        self._world = world
        self._agreements = agreements
        self.hosts: Hosts
        self._activities: Records[Activity] = Records(lambda one: not one.is_alive)

    def all(self) -> list[Activity]:
        return list(self._activities.values())

    def of_agreement(self, agreement: Agreement) -> list[Activity]:
        return [one for one in self._activities.values() if one.agreement is agreement]

    # --- by REST ----------------------------------------------------------------------------------------

    def post(self, request: FakeRequest, call: Call) -> FakeAnswer:
        body, timeout = json_body(request), seconds_of(request, _DEFAULT_SECONDS)
        agreement_id = body.get("agreementId") if isinstance(body, dict) else body
        if not isinstance(agreement_id, str):
            text = (
                "Json deserialize error: data did not match any variant of untagged enum CreateActivityJson"
            )
            return FakeAnswer.of_text(text, 400)
        agreement = self._agreement(agreement_id)
        if agreement.state == "Proposal":
            return FakeAnswer.of_message(f"Not found: {agreement_id}", 404)
        if agreement.state != "Approved":
            text = f"Agreement {agreement_id} is not Approved. Current state: {agreement.state}"
            return FakeAnswer.of_message(f"Bad request: {text}", 400)
        self._reach(agreement, call, timeout)
        world = self._world
        activity = Activity(world.hex_id(32), agreement, world.clock.monotonic(), world.condition())
        self._activities.put(activity.activity_id, activity)
        return self._created(activity, call, timeout, isinstance(body, dict))

    def _created(self, activity: Activity, call: Call, timeout: float, as_object: bool) -> FakeAnswer:
        self.hosts.wanted(activity)
        try:
            in_time = self._world.wait(call, activity.changed, lambda: activity.state[0] != "New", timeout)
        finally:
            # Its provider hears that it is not wanted any more, and does not create it.
            activity.given_up = activity.state[0] == "New"
            if activity.given_up:
                self._activities.pop(activity.activity_id, None)
        if in_time and activity.is_alive:
            wire = {"activityId": activity.activity_id} if as_object else activity.activity_id
            return FakeAnswer.of_json(wire)
        self._activities.pop(activity.activity_id, None)
        if not in_time:
            activity.change((TERMINATED, None))
            return _timeout()
        reason, message = (one or "<unspecified>" for one in (activity.reason, activity.error_message))
        text = (
            f"Service error: Activity {activity.activity_id} was abruptly terminated. "
            f"Reason: {reason}, message: {message}"
        )
        return FakeAnswer.of_message(text, 500)

    def list_ids(self, request: FakeRequest, call: Call) -> FakeAnswer:
        # One that its provider has not created yet is not known to the requestor's daemon.
        agreement = self._agreement(needed(request, "agreementId"))
        known = [one for one in self.of_agreement(agreement) if one.state[0] != "New"]
        return FakeAnswer.of_json([one.activity_id for one in known])

    def delete(self, request: FakeRequest, call: Call, activity_id: str) -> FakeAnswer:
        timeout = seconds_of(request, _DEFAULT_SECONDS)
        activity = self._known(activity_id)
        if activity.is_alive:
            self._reach(activity.agreement, call, timeout)
            self.hosts.unwanted(activity)
            if not self._world.wait(call, activity.changed, lambda: not activity.is_alive, timeout):
                return _timeout()
        return FakeAnswer.of_json(None)

    def get_state(self, request: FakeRequest, call: Call, activity_id: str) -> FakeAnswer:
        activity = self._known(activity_id)
        if activity.is_alive:
            self._reach(activity.agreement, call, seconds_of(request, _DEFAULT_SECONDS))
        wire: dict[str, Any] = {"state": list(activity.state)}
        if activity.reason is not None:
            wire["reason"] = activity.reason
        if activity.error_message is not None:
            wire["errorMessage"] = activity.error_message
        return FakeAnswer.of_json(wire)

    def get_usage(self, request: FakeRequest, call: Call, activity_id: str) -> FakeAnswer:
        activity = self._known(activity_id)
        if activity.is_alive:
            self._reach(activity.agreement, call, seconds_of(request, _DEFAULT_SECONDS))
        usage = self.hosts.usage(activity)
        timestamp = int(self._world.clock.now().timestamp())
        return FakeAnswer.of_json({"currentUsage": usage, "timestamp": timestamp})

    def get_agreement(self, request: FakeRequest, call: Call, activity_id: str) -> FakeAnswer:
        return FakeAnswer.of_json(self._known(activity_id).agreement.agreement_id)

    def exec(self, request: FakeRequest, call: Call, activity_id: str) -> FakeAnswer:
        body, timeout = json_body(request, ("text",)), seconds_of(request, _DEFAULT_SECONDS)
        activity = self._known(activity_id)
        script = _script(body["text"])
        self._reach(activity.agreement, call, timeout)
        return FakeAnswer.of_json(self._exe_unit(activity, "Exec").exec(script).batch_id)

    def get_results(self, request: FakeRequest, call: Call, activity_id: str, batch_id: str) -> FakeAnswer:
        timeout, index = seconds_of(request, 0.0), number_of(request, "commandIndex")
        activity = self._known(activity_id)
        if request.headers.get("accept") == "text/event-stream":
            return self._stream(activity, batch_id, call)
        self._reach(activity.agreement, call, timeout)
        exe_unit = self._exe_unit(activity, "GetExecBatchResults")
        batch = exe_unit.find(batch_id)
        if batch is None:
            return FakeAnswer.of_message(f"Not found: batch_id = {batch_id}", 404)
        if not batch.script:
            return FakeAnswer.of_json([])
        awaited = len(batch.script) - 1 if index is None else index
        told = self.hosts.answers_results(activity.agreement)
        # A command that fails before it leaves it unexecuted, and does not end this wait: so it is with the
        # real one. An exe-unit that dies meanwhile does not either.
        ended = self._world.wait(
            call,
            batch.changed,
            lambda: told and (batch.done > awaited or (batch.is_over and not exe_unit.serves)),
            timeout,
        )
        if not ended and not told:
            return _timeout()
        if batch.done <= awaited and not exe_unit.serves:
            raise Refused(self._unserved(activity, "GetExecBatchResults"))
        if batch.done <= awaited and index is not None:
            return _timeout()
        return FakeAnswer.of_json(batch.results(index))

    def _stream(self, activity: Activity, batch_id: str, call: Call) -> FakeAnswer:
        exe_unit = activity.exe_unit
        is_told = exe_unit is not None and exe_unit.serves and self.hosts.streams(activity.agreement)
        batch = exe_unit.find(batch_id) if exe_unit is not None and is_told else None
        stream = (batch or Batch(self._world, batch_id, [])).events(call)
        return FakeAnswer(200, content_type="text/event-stream", stream=stream)

    # --- what is asked for ------------------------------------------------------------------------------

    def _agreement(self, agreement_id: str) -> Agreement:
        objection = not_hexadecimal(agreement_id)
        if objection is not None:
            raise Refused(FakeAnswer.of_message(f"Service error: {objection}", 500))
        agreement = self._agreements.find(agreement_id)
        if agreement is None:
            raise Refused(FakeAnswer.of_message(f"Not found: {agreement_id}", 404))
        return agreement

    def _known(self, activity_id: str) -> Activity:
        activity = self._activities.get(activity_id)
        if activity is None:
            text = f"DAO error: Not found: agreement id for activity: {activity_id}"
            raise Refused(FakeAnswer.of_message(text, 500))
        return activity

    def _reach(self, agreement: Agreement, call: Call, timeout: float) -> None:
        """Block until the provider can be reached; raises `Refused` after `timeout` seconds at most."""
        changed, is_reached = self.hosts.reached(agreement.provider)
        timeout = min(timeout, self.hosts.times_out_after(agreement))
        if not self._world.wait(call, changed, is_reached, timeout):
            raise Refused(_timeout())

    def _exe_unit(self, activity: Activity, message: str) -> ExeUnit:
        exe_unit = activity.exe_unit
        if exe_unit is None or not exe_unit.serves:
            raise Refused(self._unserved(activity, message))
        return exe_unit

    def _unserved(self, activity: Activity, message: str) -> FakeAnswer:
        address = f"/net/{activity.agreement.provider}/exeunit/{activity.activity_id}/{message}"
        text = (
            f"GSB error: Remote service at `{address}` error: GSB failure: Bad request: "
            "endpoint address not found"
        )
        return FakeAnswer.of_message(text, 500)


def _timeout() -> FakeAnswer:
    return FakeAnswer.of_message("Timeout", 408)


def _script(text: object) -> list[Command]:
    """Read the commands of an exec."""
    try:
        script = json.loads(str(text))
    except ValueError as error:
        position = error.pos if isinstance(error, json.JSONDecodeError) else 0
        raise Refused(_bad_script("expected value", position + 1)) from None
    if not isinstance(script, list):
        kind = "map" if isinstance(script, dict) else "value"
        raise Refused(_bad_script(f"invalid type: {kind}, expected a sequence", 0))
    for command in script:
        if not isinstance(command, dict) or len(command) != 1:
            raise Refused(_bad_script("invalid type: unit variant, expected struct variant", 1))
        name, details = next(iter(command.items()))
        if name not in _COMMANDS:
            expected = ", ".join(f"`{one}`" for one in _COMMANDS)
            raise Refused(_bad_script(f"unknown variant `{name}`, expected one of {expected}", 1))
        for field_name in _NEEDED.get(name, ()):
            if field_name not in (details or {}):
                raise Refused(_bad_script(f"missing field `{field_name}`", 1))
    return script


def _bad_script(what: str, column: int) -> FakeAnswer:
    return FakeAnswer.of_message(f'Bad request: Error("{what}", line: 1, column: {column})', 400)
