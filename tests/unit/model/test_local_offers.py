"""Why a Golem's demands find no offer on a local network, by its environment."""

from __future__ import annotations

from typing import Any

import pytest

from simple_golem.model.local_offers import (
    NETWORKS_VARIABLE,
    SUBNETS_VARIABLE,
    how_to_offer_runtime,
    why_no_offers,
)
from simple_golem.model.settings import Settings

LOCAL = {
    "YAGNA_APPKEY": "key",
    "YAGNA_API_URL": "http://127.0.0.1:4567/",
    "YAGNA_SUBNET": "local",
    "YAGNA_PAYMENT_NETWORK": "hoodi",
    SUBNETS_VARIABLE: "local,mine",
    NETWORKS_VARIABLE: "hoodi,holesky",
}


def reasons(environ: dict[str, str], **arguments: Any) -> list[str]:
    return list(why_no_offers(Settings.resolve(environ=environ, **arguments), environ))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"subnet_tag": "mine"},
        {"payment_network": "holesky"},
        {"api_url": "http://1.2.3.4", "subnet_tag": "x"},
    ],
)
def test_what_is_offered_and_what_is_asked_of_another_daemon_has_no_reason(arguments: dict[str, str]) -> None:
    assert reasons(LOCAL, **arguments) == []


def test_without_a_local_network_there_is_no_reason() -> None:
    assert reasons({"YAGNA_APPKEY": "key"}, subnet_tag="x", payment_network="polygon") == []


def test_the_value_asked_for_those_offered_and_the_option_are_named() -> None:
    assert reasons(LOCAL, subnet_tag="x", payment_network="polygon") == [
        "the demand is in the subnet 'x'; the local providers offer in 'local' and 'mine'. "
        "To add it: simple-golem local run --subnet x",
        "the demand is paid on 'polygon'; the local providers are paid on 'hoodi' and 'holesky'. "
        "To add it: simple-golem local run --payment-network polygon",
    ]


def test_a_local_network_has_an_option_that_adds_a_runtime_and_another_one_has_not() -> None:
    here = Settings.resolve(environ=LOCAL)
    assert how_to_offer_runtime("roman", here, LOCAL) == "simple-golem local run --runtime roman=PROGRAM"
    public = {"YAGNA_APPKEY": "key", "YAGNA_API_URL": here.api_url}
    assert how_to_offer_runtime("roman", Settings.resolve(environ=public), public) == ""
