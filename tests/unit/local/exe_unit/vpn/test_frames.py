"""Ethernet frames: for whom they are."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from simple_golem.local.exe_unit.vpn.frames import target_of, who_has
from simple_golem.local.exe_unit.vpn.interface import mac_of

ETHERNET = bytes(12)
BROADCAST = b"\xff" * 6 + bytes(6)


def ipv4(head: bytes = ETHERNET, target: str = "192.168.0.7") -> bytes:
    return head + b"\x08\x00" + bytes(16) + IPv4Address(target).packed + bytes(20)


def test_a_question_for_a_neighbour_is_for_that_neighbour_and_tells_who_asks() -> None:
    own = IPv4Address("192.168.0.2")
    question = who_has(IPv4Address("192.168.0.3"), own, mac_of(own))
    assert target_of(question) == "192.168.0.3"
    assert question[:12] == b"\xff" * 6 + b"\x90\x13\xc0\xa8\x00\x02"
    assert question[28:32] == own.packed


@pytest.mark.parametrize(
    ("frame", "target"),
    [
        (ipv4(), "192.168.0.7"),
        (ipv4(BROADCAST, "192.168.0.255"), "255.255.255.255"),
        (ETHERNET + b"\x86\xdd" + bytes(40), None),
        (ETHERNET + b"\x08\x06" + bytes(20), None),
        (b"", None),
    ],
)
def test_a_frame_is_for_its_ip_address(frame: bytes, target: str | None) -> None:
    assert target_of(frame) == target
