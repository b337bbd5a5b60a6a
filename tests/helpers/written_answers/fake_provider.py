"""A provider behind a daemon in a test. It accepts batches, and ends a command when the test says so."""

from __future__ import annotations

import json
import re
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import responses
from requests import PreparedRequest

from tests.unit.conftest import API

Reply = tuple[int, dict[str, str], str]
ACTIVITY = f"{API}/activity-api/v1/activity/act1"


class FakeProvider:
    """One activity, `act1`, whose batches are `b1`, `b2` and so on."""

    def __init__(self, daemon: responses.RequestsMock, longest_poll: float = 5.0) -> None:
        self.scripts: list[list[dict[str, Any]]] = []
        self.asked: list[tuple[str, int]] = []
        self.state: list[str | None] = ["Ready", None]
        # The statuses that polls get before they get a result.
        self.failures: list[int] = []
        self.failure_message = "out of order"
        self.patience = longest_poll
        self._results: dict[str, list[dict[str, Any]]] = {}
        self._changed = threading.Condition()
        daemon.add_callback(responses.POST, f"{ACTIVITY}/exec", self._exec)
        daemon.add_callback(responses.GET, re.compile(f"{ACTIVITY}/exec/b.*"), self._poll)
        daemon.add_callback(responses.GET, re.compile(f"{ACTIVITY}/state.*"), self._state)

    def end(self, batch: str, *, stdout: str = "", error: str | None = None) -> None:
        """End the next command of a batch; `error` is the provider's message if it failed."""
        with self._changed:
            results = self._results.setdefault(batch, [])
            results.append(
                {
                    "index": len(results),
                    "eventDate": "2026-01-31T12:00:00Z",
                    "result": "Ok" if error is None else "Error",
                    "stdout": stdout,
                    "stderr": None,
                    "message": error,
                    "isBatchFinished": False,
                }
            )
            self._changed.notify_all()

    def _exec(self, request: PreparedRequest) -> Reply:
        with self._changed:
            self.scripts.append(json.loads(json.loads(request.body or "")["text"]))
            return 200, {}, json.dumps(f"b{len(self.scripts)}")

    def _poll(self, request: PreparedRequest) -> Reply:
        url = urlsplit(request.url or "")
        query = parse_qs(str(url.query))
        batch = str(url.path).rpartition("/")[2]
        index, timeout = int(query["commandIndex"][0]), float(query["timeout"][0])
        with self._changed:
            self.asked.append((batch, index))
            if self.failures:
                return self.failures.pop(0), {}, json.dumps({"message": self.failure_message})
            results = self._results.setdefault(batch, [])
            if not self._changed.wait_for(lambda: len(results) > index, min(timeout, self.patience)):
                return 408, {}, '{"message": "timeout"}'
            # As the real daemon: only the entry that was asked for has its output.
            told = [{**entry, "stdout": None} for entry in results[:index]]
            return 200, {}, json.dumps([*told, results[index]])

    def _state(self, request: PreparedRequest) -> Reply:
        return 200, {}, json.dumps({"state": self.state, "reason": None, "errorMessage": None})
