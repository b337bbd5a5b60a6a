"""The addresses of a private network: given out, checked and given back."""

from __future__ import annotations

import re
from typing import Any

import pytest

from simple_golem.engine.network.addresses import Addresses
from simple_golem.engine.network.network import host_name_of
from simple_golem.errors import BadNetwork


def test_the_first_address_is_the_requestors_and_the_others_go_to_instances_in_their_order() -> None:
    addresses = Addresses("10.1.0.0/29")
    assert addresses.own == "10.1.0.1"
    assert addresses.take(2) == ["10.1.0.2", "10.1.0.3"]
    assert addresses.take(1, ["10.1.0.5"]) == ["10.1.0.5"]
    assert addresses.take(2) == ["10.1.0.4", "10.1.0.6"]
    addresses.release("10.1.0.3")
    assert addresses.take(1) == ["10.1.0.3"]


def test_a_full_network_says_how_to_get_a_larger_one_and_gives_none() -> None:
    addresses = Addresses("10.1.0.0/29")
    with pytest.raises(BadNetwork, match=r"5 free addresses, and 6 instances.*golem\.create_network"):
        addresses.take(6)
    assert len(addresses.take(5)) == 5


@pytest.mark.parametrize(
    ("ip", "reason"),
    [
        ("192.168.0.0/33", "give a range such as '192.168.0.0/24'"),
        ("192.168.0.5/24", "host bits"),
        ("nonsense", "give a range"),
        ("192.168.0.0/31", "no room for an instance"),
        ("fd00::/64", "give a range"),
        (None, "give a range"),
    ],
)
def test_what_is_no_range_of_addresses_is_refused(ip: Any, reason: str) -> None:
    with pytest.raises(BadNetwork, match=re.escape(reason)):
        Addresses(ip)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (["10.1.0.1"], "the address of the requestor"),
        (["10.1.0.2"], "taken by another instance"),
        (["10.1.0.0"], "no address of an instance in 10.1.0.0/29"),
        (["10.1.0.7"], "no address of an instance"),
        (["10.2.0.3"], "no address of an instance"),
        (["web"], "no IPv4 address"),
        (["10.1.0.3", "10.1.0.4"], "give a list of 1"),
        ("10.1.0.3", "give a list of 1"),
    ],
)
def test_a_wanted_address_that_can_not_be_given_is_refused(wanted: Any, reason: str) -> None:
    addresses = Addresses("10.1.0.0/29")
    addresses.take(1)
    with pytest.raises(BadNetwork, match=reason):
        addresses.take(1, wanted)


def test_an_address_can_be_wanted_once_and_then_none_is_taken() -> None:
    addresses = Addresses("10.1.0.0/29")
    with pytest.raises(BadNetwork, match="each address can be given once"):
        addresses.take(2, ["10.1.0.3", "10.1.0.3"])
    assert addresses.take(1, ["10.1.0.3"]) == ["10.1.0.3"]


@pytest.mark.parametrize(
    ("name", "host_name"),
    [("WebService-1", "webservice-1"), ("my_web.2 ü", "my-web-2--"), ("A" * 70, "a" * 63)],
)
def test_a_host_name_has_letters_digits_and_dashes_only(name: str, host_name: str) -> None:
    assert host_name_of(name) == host_name
