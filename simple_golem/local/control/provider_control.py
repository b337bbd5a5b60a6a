"""`ProviderControl`: the user's handle of one provider of a local network."""

from __future__ import annotations

from .messages import Ask, LocalProvider


class ProviderControl:
    """Makes one provider of a local network misbehave while the network runs.

    Each method sends an order to the network's supervisor and blocks until the provider has carried it out.

    Attributes:
        name: the provider's name, such as `prov-1`.
        node_id: the provider's node id.
    """

    def __init__(self, provider: LocalProvider, ask: Ask) -> None:
        """Make the handle; sends nothing.

        Args:
            provider: the provider.
            ask: sends an order to the supervisor and blocks for its answer.
        """
        self.name = provider.name
        self.node_id = provider.node_id
        self._ask = ask

    def die(self) -> None:
        """Stop the provider without notice, as if its machine lost power; blocks for 5 seconds at most.

        All processes of its activities end. The provider answers nothing and sends nothing any more.
        Its daemon still runs, and keeps the provider's offers, agreements and activities.

        Raises:
            LocalNetworkError: the network is not up.
        """
        self._order("die")

    def kill_exe_unit(self) -> None:
        """Kill the processes that run the provider's activities; blocks for 10 seconds at most.

        The daemon knows at once that they are terminated. Requests for results that wait are not answered
        before their time is up. The provider keeps its agreement.

        Raises:
            LocalNetworkError: the provider has no agreement, or the network is not up.
        """
        self._order("kill exe-unit")

    def kill_agent(self) -> None:
        """Kill the provider, but not the processes that run its activities; blocks for 5 seconds at most.

        Commands go on, and more can follow. The provider sends nothing more, and destroys nothing.

        Raises:
            LocalNetworkError: the network is not up.
        """
        self._order("kill agent")

    def shut_down(self) -> None:
        """Shut the provider down in good order; blocks for 10 seconds at most.

        Commands that run fail, and its activities end. It does not end its agreement, and sends no invoice.

        Raises:
            LocalNetworkError: the network is not up.
        """
        self._order("shut down")

    def revive(self) -> None:
        """Start a provider again after `die`, `kill_agent` or `shut_down`.

        Blocks until the daemon has withdrawn its old offers.

        The provider publishes new offers. It does not know its old agreements and activities.
        Does nothing if the provider is alive.

        Raises:
            LocalNetworkError: the network is not up.
        """
        self._order("revive")

    def terminate_agreement(
        self, reason: str = "the provider has other plans", *, keep_activity: bool = False
    ) -> None:
        """Terminate the provider's agreement and its activity; blocks for 15 seconds at most.

        Args:
            reason: the reason that the requestor gets.
            keep_activity: True: the provider serves the activity until the requestor destroys it.

        Raises:
            LocalNetworkError: the provider has no agreement, the daemon refused, or the network is not up.
        """
        self._order("terminate", reason=reason, keep_activity=keep_activity)

    def stop_reporting(self) -> None:
        """Stop the reports of usage to the daemon; returns at once.

        The daemon marks the provider's activities as unresponsive after 5 seconds.
        It asks the provider to destroy them after 10 seconds.

        Raises:
            LocalNetworkError: the network is not up.
        """
        self._order("stop reporting")

    def report_again(self) -> None:
        """Resume the reports of usage to the daemon; returns at once.

        Raises:
            LocalNetworkError: the network is not up.
        """
        self._order("report again")

    def _order(self, order: str, **details: object) -> None:
        self._ask({"do": "provider", "name": self.name, "order": order, **details})
