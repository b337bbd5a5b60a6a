"""The private networks of one activity: joined at its deploy, left at its end."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ....background.cancellation import Deadline
from ....background.threads import EngineThread
from ....errors import BusError
from ...bus.bus import Bus
from ...sandbox.sandbox import Sandbox
from .membership import BadNetwork, Membership

logger = logging.getLogger(__name__)

# A daemon's network forgets a hardware address after a minute.
_GREETING_SECONDS = 25.0
_THREAD_ENDS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class VpnSupport:
    """What this machine can do for private networks.

    Attributes:
        refusal: why no network can be joined; `""` if one can.
        prepare: called before networks are joined.
    """

    refusal: str = ""
    prepare: Callable[[], object] = lambda: None


class NetworkFailed(Exception):
    """An activity could not join a network; the message is for the requestor."""


class Networks:
    """Joins networks, and passes their frames on, on a thread of its own while there are any."""

    def __init__(self, bus: Bus, node_id: str, name: str, support: VpnSupport) -> None:
        """Args:
        bus: the service bus.
        node_id: the provider's node id.
        name: of the activity, for the thread.
        support: what this machine can do.
        """
        self._bus = bus
        self._node_id = node_id
        self._name = name
        self._support = support
        self._lock = threading.Lock()
        self._memberships: list[Membership] = []
        self._wake: int | None = None
        self._thread: EngineThread | None = None

    def join(self, sandbox: Sandbox, networks: Sequence[Mapping[str, Any]]) -> None:
        """Join all networks; blocks until the bus has confirmed each, for 10 seconds each at most.

        Args:
            sandbox: the sandbox of the activity.
            networks: as in `deploy`.

        Raises:
            NetworkFailed: one of them could not be joined, and none is.
        """
        if not networks:
            return
        if self._support.refusal:
            raise NetworkFailed(self._support.refusal)
        self._support.prepare()
        joined: list[Membership] = []
        try:
            for number, network in enumerate(networks):
                joined.append(Membership(self._bus, self._node_id, sandbox, number, network))
        except (BadNetwork, BusError, OSError) as error:
            for one in joined:
                one.close()
            raise NetworkFailed(str(error)) from error
        reader, writer = os.pipe()
        thread = EngineThread(f"{self._name}-vpn", self._forward, joined, reader)
        with self._lock:
            self._memberships, self._wake, self._thread = joined, writer, thread.start()

    def leave(self) -> None:
        """Leave all networks; blocks for 2 seconds at most. May be called at any time, and again."""
        with self._lock:
            joined, self._memberships = self._memberships, []
            wake, self._wake = self._wake, None
            thread, self._thread = self._thread, None
        if wake is not None:
            os.close(wake)
        if thread is not None and not thread.join(_THREAD_ENDS_SECONDS):
            logger.warning("%s did not end in time and is abandoned", thread.name)
        for one in joined:
            one.close()

    # --- on the thread -----------------------------------------------------------------------------------

    def _forward(self, memberships: Sequence[Membership], wake: int) -> None:
        try:
            poll = select.poll()
            poll.register(wake, 0)  # only the end of the pipe, which is always reported
            by_descriptor = {one.frames.fileno(): one for one in memberships}
            for descriptor in by_descriptor:
                poll.register(descriptor, select.POLLIN)
            greeting = Deadline(0)
            while True:
                if greeting.passed:
                    for one in memberships:
                        one.greet()
                    greeting = Deadline(_GREETING_SECONDS)
                for descriptor, _ in poll.poll(greeting.remaining() * 1000):
                    if descriptor == wake:
                        return
                    by_descriptor[descriptor].forward()
        finally:
            with suppress(OSError):
                os.close(wake)
