"""What the providers of a local network offer, and why some demands find no offer there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from .settings import Settings

# A local network sets these in the environment of scripts; the values are separated by commas.
SUBNETS_VARIABLE = "SIMPLE_GOLEM_LOCAL_SUBNETS"
NETWORKS_VARIABLE = "SIMPLE_GOLEM_LOCAL_PAYMENT_NETWORKS"
# Why its machine can have no private networks; not set where it can.
NO_VPN_VARIABLE = "SIMPLE_GOLEM_LOCAL_NO_VPN"


def subnet_not_offered(asked: str, offered: Iterable[str]) -> str:
    """Say that local providers offer in other subnets."""
    return (
        f"the demand is in the subnet {asked!r}; the local providers offer in {_listed(offered)}. "
        f"To add it: simple-golem local run --subnet {asked}"
    )


def network_not_offered(asked: str, offered: Iterable[str]) -> str:
    """Say that local providers are paid on other networks."""
    return (
        f"the demand is paid on {asked!r}; the local providers are paid on {_listed(offered)}. "
        f"To add it: simple-golem local run --payment-network {asked}"
    )


def why_no_offers(settings: Settings, environ: Mapping[str, str] = os.environ) -> Sequence[str]:
    """Return why the providers of a local network can't answer any demand of a Golem.

    Args:
        settings: the settings of the Golem.
        environ: the environment, in which a local network says what it offers.
    """
    if not _is_local(settings, environ):
        return ()
    subnets, networks = (_values(environ, name) for name in (SUBNETS_VARIABLE, NETWORKS_VARIABLE))
    reasons = []
    if subnets and settings.subnet_tag not in subnets:
        reasons.append(subnet_not_offered(settings.subnet_tag, subnets))
    if networks and settings.payment_network not in networks:
        reasons.append(network_not_offered(settings.payment_network, networks))
    return reasons


def how_to_offer_runtime(name: str, settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Return the option by which local providers offer a runtime; `""` where the network is not local."""
    if not (_is_local(settings, environ) and _values(environ, SUBNETS_VARIABLE)):
        return ""
    return f"simple-golem local run --runtime {name}=PROGRAM"


def why_no_private_networks(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """Return why the providers of a local network offer no private networks; `""` if they do."""
    return environ.get(NO_VPN_VARIABLE, "") if _is_local(settings, environ) else ""


def _is_local(settings: Settings, environ: Mapping[str, str]) -> bool:
    return environ.get("YAGNA_API_URL", "").strip().rstrip("/") == settings.api_url


def _values(environ: Mapping[str, str], variable: str) -> list[str]:
    return [value for value in environ.get(variable, "").split(",") if value]


def _listed(offered: Iterable[str]) -> str:
    return " and ".join(map(repr, offered))
