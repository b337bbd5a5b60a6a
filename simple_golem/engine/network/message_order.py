"""Has the daemon keep the order of what is sent to instances.

The daemon takes each message at once, and puts it into the queue of its connection a moment later. If it has
taken another one meanwhile, the second may come first (yagna 0.17.6: seen, and why in its source). So one
message is sent when the one before is in its queue for certain: after the daemon has taken it, which a pong
tells, it has answered a request that goes the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...yagna.api.network import NetworkApi
from ...yagna.transport.socket_lost import SocketLost

logger = logging.getLogger(__name__)

Confirmed = Callable[[bool], object]
Network = tuple[str, str]


class MessageOrder:
    """Asks the daemon, for all connections; nothing blocks, and only the thread of the pump calls it."""

    def __init__(self, api: NetworkApi) -> None:
        self._api = api
        self._questions = api.order_questions()
        self._waiting: dict[Network, list[Confirmed]] = {}
        self._asking: list[Confirmed] = []

    def confirm(self, network_id: str, ip: str, then: Confirmed) -> None:
        """Learn when all messages that the daemon has taken are in their queues.

        Args:
            network_id: the daemon's id of the network.
            ip: any address in it.
            then: called when they are, with True; with False if that can't be known.
        """
        self._waiting.setdefault((network_id, ip), []).append(then)
        self._ask_next()

    def fileno(self) -> int:
        """The file descriptor, for a selector; -1 while there is no connection."""
        return self._questions.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes were not sent yet: call `flush` when the socket is writable."""
        return self._questions.unsent

    def flush(self) -> None:
        """Send what waits for the daemon."""
        try:
            self._questions.flush()
        except SocketLost as error:
            self._not_known(error)

    def receive(self) -> None:
        """Take what the daemon answers."""
        try:
            status = self._questions.receive()
        except SocketLost as error:
            self._not_known(error)
            return
        if status is not None:
            self._answered(self._api.confirms_order(status))

    def _ask_next(self) -> None:
        while self._waiting and not self._asking:
            (network_id, ip), self._asking = self._waiting.popitem()
            try:
                self._questions.get(self._api.order_question_path(network_id, ip))
            except SocketLost as error:
                self._not_known(error)

    def _not_known(self, error: SocketLost) -> None:
        logger.info("the daemon does not say whether messages are in order: %s", error)
        self._answered(False)

    def _answered(self, is_known: bool) -> None:
        asking, self._asking = self._asking, []
        for then in asking:
            then(is_known)
        self._ask_next()

    def close(self) -> None:
        """Close the connection to the daemon; after that, no callback is called."""
        self._waiting.clear()
        self._asking.clear()
        self._questions.close()
