"""What the daemon is told of the nodes of a private network; the daemon is one of the test."""

from __future__ import annotations

import threading

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.engine.network.network import PrivateNetwork
from simple_golem.errors import YagnaError
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


def network_of(api: Api, *names: str) -> PrivateNetwork:
    """A network whose instances have the addresses 10.0.0.2, 10.0.0.3, …"""
    network = PrivateNetwork(api, "10.0.0.0/24", "me", lambda *_, **__: None)  # type: ignore[arg-type]
    network.enter(names, object())
    return network


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


def test_who_joins_while_another_instance_of_its_provider_is_replaced_stays_a_node() -> None:
    class Meeting(Api):
        def add_node(self, network_id: str, node_id: str, ip: str, *, scope: Scope) -> None:
            is_new = ip not in self.nodes
            super().add_node(network_id, node_id, ip, scope=scope)
            if ip == "10.0.0.3" and is_new and "10.0.0.2" in self.nodes:
                network.join("10.0.0.2", "other", None, scope)

    api = Meeting()
    network = network_of(api, "a", "b")
    with Scope() as scope:
        network.join("10.0.0.2", "one", None, scope)
        network.join("10.0.0.3", "one", None, scope)
    assert api.nodes == {"10.0.0.2": "other", "10.0.0.3": "one"}


def test_a_node_that_could_not_be_removed_is_removed_by_the_next_life() -> None:
    class Refusing(Api):
        refuses = False

        def remove_node(self, network_id: str, node_id: str, *, scope: Scope) -> None:
            if self.refuses:
                raise YagnaError("DELETE", "/nodes", 500, "")
            super().remove_node(network_id, node_id, scope=scope)

    api = Refusing()
    network = network_of(api, "a")
    with Scope() as scope:
        network.join("10.0.0.2", "one", None, scope)
        api.refuses = True
        with pytest.raises(YagnaError):
            network.join("10.0.0.2", "two", None, scope)
        network.leave("10.0.0.2")
        api.refuses = False
        network.join("10.0.0.2", "three", None, scope)
    assert api.nodes == {"10.0.0.2": "three"}


def test_who_waits_for_a_network_that_another_thread_makes_can_be_ended() -> None:
    class Slow(Api):
        def __init__(self) -> None:
            super().__init__()
            self.asked, self.answers = threading.Event(), threading.Event()

        def create(self, ip: str, gateway: str, *, scope: Scope | None) -> PrivateNetworkInfo:
            self.asked.set()
            assert self.answers.wait(10)
            return super().create(ip, gateway, scope=scope)

    api = Slow()
    network = network_of(api, "a")
    maker = threading.Thread(target=network.make)
    maker.start()
    assert api.asked.wait(10)
    scope = Scope()
    threading.Timer(0.05, scope.cancel).start()
    with pytest.raises(ScopeEnded):
        network.join("10.0.0.2", "one", None, scope)
    api.answers.set()
    maker.join()


def test_after_a_lost_network_the_node_of_the_new_one_is_replaced() -> None:
    class Restarted(Api):
        network_id = "before"

        def create(self, ip: str, gateway: str, *, scope: Scope | None) -> PrivateNetworkInfo:
            return PrivateNetworkInfo(self.network_id, ip, gateway)

        def add_node(self, network_id: str, node_id: str, ip: str, *, scope: Scope) -> None:
            if network_id != self.network_id:
                raise YagnaError("POST", "/nodes", 404, "no such network")
            super().add_node(network_id, node_id, ip, scope=scope)

        def remove_node(self, network_id: str, node_id: str, *, scope: Scope) -> None:
            if network_id != self.network_id:
                raise YagnaError("DELETE", "/nodes", 404, "no such network")
            super().remove_node(network_id, node_id, scope=scope)

    api = Restarted()
    network = network_of(api, "a")
    with Scope() as scope:
        network.join("10.0.0.2", "one", object(), scope)
        api.nodes, api.network_id = {}, "after"
        network.join("10.0.0.2", "two", object(), scope)
        network.join("10.0.0.2", "three", object(), scope)
    assert api.nodes == {"10.0.0.2": "three"}
