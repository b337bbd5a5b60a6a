"""The activity API, requestor's side: create, execute, results, state, destroy."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import tenacity

from ...background.cancellation import Scope
from ...errors import NoDaemon, YagnaError
from ..transport.event_stream import RuntimeEvent, runtime_events
from ..transport.http import NO_BODY, Http
from ..transport.retry import Repeat, is_unsure
from ..values import ActivityStatus, made_id

# The daemon sends a `ping` in an event stream each 15 seconds; after this silence the connection is broken.
_STREAM_SILENCE_SECONDS = 40.0
# The daemon gave up waiting for the provider, and has told it so.
_NOT_IN_TIME = 408
# How long an activity is looked for whose answer was lost.
_LOOK_SECONDS = 1.0


class ActivityApi:
    def __init__(self, http: Http, url: str = "/activity-api/v1") -> None:
        self._http = http
        self._url = url

    def create(self, agreement_id: str, *, timeout: float, scope: Scope | None = None) -> str:
        """`POST /activity`: blocks up to `timeout` seconds for the provider; returns the activity's id.

        An agreement gets one activity. If the answer was lost it is looked up, and the error is raised where
        the daemon does not know it: the provider may have created it all the same, and ends it with the
        agreement.
        """
        try:
            activity = self._call(
                "POST",
                "/activity",
                body=agreement_id,
                params={"timeout": timeout},
                timeout=timeout,
                scope=scope,
                repeat=Repeat.UNSENT,
            )
            return made_id(activity, "/activity")
        except YagnaError as error:
            if not is_unsure(error) or error.status == _NOT_IN_TIME:
                raise
            found = self._find(agreement_id, scope)
            if found is None:
                raise
            return found

    def _find(self, agreement_id: str, scope: Scope | None) -> str | None:
        """The activity of an agreement; blocks for a second at most until the daemon knows it."""
        waiter = scope if scope is not None else Scope()

        def sleep(pause: float) -> None:
            waiter.wait(pause)

        looking = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda found: not found)
            | tenacity.retry_if_exception_type((YagnaError, NoDaemon)),
            stop=tenacity.stop_after_delay(_LOOK_SECONDS),
            wait=tenacity.wait_exponential(multiplier=0.05),
            sleep=sleep,
            retry_error_callback=lambda state: [],
        )
        found: list[str] = looking(self.of_agreement, agreement_id, scope=scope, repeat=Repeat.NEVER)
        return found[0] if found else None

    def destroy(self, activity_id: str, *, timeout: float, scope: Scope | None = None) -> None:
        """`DELETE /activity/{id}`: blocks up to `timeout` seconds until the provider has ended it.

        An activity that does not exist any more is no error.
        """
        self._call(
            "DELETE",
            f"/activity/{activity_id}",
            params={"timeout": timeout},
            timeout=timeout,
            within=timeout,
            scope=scope,
            done=(404,),
        )

    def execute(
        self,
        activity_id: str,
        script: Sequence[Mapping[str, Any]],
        *,
        timeout: float = 5.0,
        scope: Scope | None = None,
        **limits: float,
    ) -> str:
        """`POST /activity/{id}/exec`: send a batch of commands; returns the batch's id, before it has run.

        Blocks up to `timeout` seconds until the provider has accepted it; it may do so even after a 408.
        `limits` are `margin` and `within` of `Http.request`.
        """
        path = f"/activity/{activity_id}/exec"
        batch = self._call(
            "POST",
            path,
            body={"text": json.dumps(list(script))},
            params={"timeout": timeout},
            timeout=timeout,
            scope=scope,
            repeat=Repeat.UNSENT,
            **limits,
        )
        return made_id(batch, path)

    def results(
        self,
        activity_id: str,
        batch_id: str,
        *,
        command_index: int | None = None,
        timeout: float,
        scope: Scope | None = None,
        repeat: Repeat = Repeat.UNANSWERED,
        **limits: float,
    ) -> list[Mapping[str, Any]] | None:
        """`GET /activity/{id}/exec/{batch}`: the results so far; None if `timeout` seconds brought none.

        With `command_index` it waits for that command, and only that entry has the output. Without, it waits
        for the last command, and reports the failure of an earlier one only when the time is over.
        `limits` are `margin` and `within` of `Http.request`.
        """
        try:
            answer = self._call(
                "GET",
                f"/activity/{activity_id}/exec/{batch_id}",
                params={"timeout": timeout, "commandIndex": command_index},
                timeout=timeout,
                scope=scope,
                repeat=repeat,
                **limits,
            )
        except YagnaError as error:
            if error.status == 408:
                return None
            raise
        return list(answer)

    def events(self, activity_id: str, batch_id: str, *, scope: Scope) -> Generator[RuntimeEvent, None, None]:
        """`GET /activity/{id}/exec/{batch}` as an event stream: what the commands do from now on.

        Earlier events are not repeated. The stream does not end with the batch: it stays open without events
        until `scope` is cancelled (`ScopeEnded`) or the connection breaks (`YagnaError`).
        """
        url = f"{self._url}/activity/{activity_id}/exec/{batch_id}"
        return runtime_events(
            self._http.stream(url, accept="text/event-stream", silence=_STREAM_SILENCE_SECONDS, scope=scope)
        )

    def of_agreement(
        self, agreement_id: str, *, scope: Scope | None = None, repeat: Repeat = Repeat.SAFE
    ) -> list[str]:
        """`GET /activity?agreementId=`: the ids of an agreement's activities."""
        params = {"agreementId": agreement_id}
        return list(self._call("GET", "/activity", params=params, scope=scope, repeat=repeat))

    def state(
        self,
        activity_id: str,
        *,
        timeout: float = 5.0,
        scope: Scope | None = None,
        repeat: Repeat = Repeat.SAFE,
    ) -> ActivityStatus:
        """`GET /activity/{id}/state`: asks the provider's daemon, blocking up to `timeout` seconds."""
        answer = self._call(
            "GET",
            f"/activity/{activity_id}/state",
            params={"timeout": timeout},
            timeout=timeout,
            scope=scope,
            repeat=repeat,
        )
        return ActivityStatus.from_wire(answer)

    def usage(
        self, activity_id: str, *, timeout: float = 5.0, scope: Scope | None = None
    ) -> tuple[float, ...]:
        """`GET /activity/{id}/usage`: the counters, in the order of the offer's usage vector."""
        params = {"timeout": timeout}
        answer = self._call(
            "GET", f"/activity/{activity_id}/usage", params=params, timeout=timeout, scope=scope
        )
        return tuple(answer.get("currentUsage") or ())

    def _call(self, method: str, path: str, *, body: Any = NO_BODY, **options: Any) -> Any:
        return self._http.request(method, self._url + path, body=body, **options)
