"""What the daemon is told of the nodes of a private network; the daemon is one of the test."""

from __future__ import annotations

from simple_golem.background.cancellation import Scope
from simple_golem.engine.network.network import PrivateNetwork
from simple_golem.yagna.values import PrivateNetworkInfo


class Api:
    """Keeps the first node of an address, and forgets all addresses of a node that is removed."""

    def __init__(self) -> None:
        self.nodes: dict[str, str] = {}

    def create(self, ip: str, gateway: str, *, scope: Scope | None) -> PrivateNetworkInfo:
        return PrivateNetworkInfo("net", ip, gateway)

    def add_address(self, network_id: str, ip: str, *, scope: Scope | None) -> None:
        pass

    def add_node(self, network_id: str, node_id: str, ip: str, *, scope: Scope) -> None:
        self.nodes.setdefault(ip, node_id)

    def remove_node(self, network_id: str, node_id: str, *, scope: Scope) -> None:
        self.nodes = {ip: node for ip, node in self.nodes.items() if node != node_id}


def test_an_address_leads_to_who_has_it_now_and_all_others_of_its_former_provider_stay() -> None:
    api = Api()
    network = PrivateNetwork(api, "10.0.0.0/24", "me", lambda *_, **__: None)  # type: ignore[arg-type]
    with Scope() as scope:
        group = object()
        assert network.enter(["a"], group) == ["10.0.0.2"]
        network.join("10.0.0.2", "one", group, scope)
        network.enter(["b"], group)
        network.leave("10.0.0.2")
        network.join("10.0.0.3", "one", group, scope)
        assert network.enter(["c"], group, ["10.0.0.2"]) == ["10.0.0.2"]
        entry = network.join("10.0.0.2", "other", group, scope)
    assert api.nodes == {"10.0.0.2": "other", "10.0.0.3": "one"}
    assert entry.net["nodes"] == {"10.0.0.1": "me", **api.nodes}
    # The mark is between the daemon and this side: no provider hears of it.
    assert entry.net["gateway"] is None
