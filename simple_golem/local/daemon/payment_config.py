"""The payment settings of a daemon that pays only on the chain of the local network."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ...yagna.client import Yagna
from ..chain.ledger import CHAIN_ID, TOKEN

CONFIG_NAME = "config-payments.toml"
# What was accepted is paid so often: nearly the shortest cycle that the daemon takes. It is the default, from
# which the daemon makes its cycles when it starts. A daemon that is told of another cycle right after it has
# read the one before goes on with that one, which is five minutes.
PAYMENT_ENVIRONMENT = {
    "PAYMENT_CYCLE_DEFAULT_INTERVAL": "6s",
    "PAYMENT_CYCLE_DEFAULT_EXTRA_PAY_TIME": "6s",
}
_PAYMENTS_NAME = "payment.db"
# The mode of an account for sending, as in the daemon's messages.
_SENDING = {"bits": 2}
_CLOSED_URL = "http://127.0.0.1:1"

# Payments are sent and checked at once. The daemon's default intervals suit chains that cost money.
_ENGINE = """\
[engine]
process-interval = 1
process-interval-after-send = 1
process-interval-after-error = 1
process-interval-after-no-gas-or-token-start = 2
process-interval-after-no-gas-or-token-max = 10
process-interval-after-no-gas-or-token-increase = 1.5
report-alive-interval = 1
gather-interval = 1
gather-at-start = true
automatic-recover = false
ignore-deadlines = false
"""
# Without a multi-payment contract each payment is a plain transfer. Without a wrapper contract the daemon
# sends its requests one by one.
_CHAIN = """
[chain.{name}]
chain-name = "{name}"
chain-id = {id}
currency-symbol = "tETH"
priority-fee = 0.000001
max-fee-per-gas = 20.0
transaction-timeout = 100
token = {{ address = "{token}", symbol = "{symbol}" }}
confirmation-blocks = 0
external-source-check-interval = 300

[[chain.{name}.rpc-endpoints]]
names = "{name}"
endpoints = "{url}"
priority = 0
max-timeout-ms = 5000
verify-interval-secs = 1
allowed-head-behind-secs = 120
"""


@dataclass(frozen=True, slots=True)
class _Network:
    name: str
    chain_id: int
    token: str
    symbol: str = "tGLM"


# The daemon knows only the networks of its file, and needs all of them.
_NETWORKS = (
    _Network("hoodi", CHAIN_ID, TOKEN),
    _Network("mainnet", 1, "0x7DD9c5Cba05E151C895FDe1CF355C9A1D5DA6429", "GLM"),
    _Network("goerli", 5, "0x33af15c79d64b85ba14aaffaa4577949104b22e8"),
    _Network("holesky", 17000, "0x8888888815bf4DB87e57B609A50f938311EEd068"),
    _Network("mumbai", 80001, "0x2036807B0B3aaf5b1858EE822D0e111fDdac7018"),
    _Network("polygon", 137, "0x0B220b82F3eA3B7F6d9A1D8ab58930C064A2b5Bf", "GLM"),
    _Network("amoy", 80002, "0x2b60e60d3fb0b36a7ccb388f9e71570da4c4594f"),
    _Network("sepolia", 11155111, "0x167b15ada84c63427c6c813B915a42eFC72E7175"),
)


def chain_ids(networks: Iterable[str]) -> Mapping[str, int]:
    """The ids of the chains of payment networks, in their order."""
    known = {one.name: one.chain_id for one in _NETWORKS}
    return {name: known[name] for name in networks}


def platform_of(network: str) -> str:
    """The payment platform of a network, in the daemon's spelling."""
    symbol = next(one.symbol for one in _NETWORKS if one.name == network)
    return f"erc20-{network}-{symbol.lower()}"


def payment_config(urls: Mapping[str, str]) -> str:
    """Return the payment configuration of a daemon.

    Args:
        urls: the URLs of the local chains, by network. Other networks can't be reached.
    """
    return _ENGINE + "".join(
        _CHAIN.format(
            name=one.name,
            id=one.chain_id,
            # A local chain has its token at one address.
            token=TOKEN if one.name in urls else one.token,
            symbol=one.symbol,
            url=urls.get(one.name, _CLOSED_URL),
        )
        for one in _NETWORKS
    )


def write_payment_config(daemon_folder: Path, urls: Mapping[str, str]) -> None:
    """Write the configuration to the folder of a daemon, which reads it when it starts, and not before."""
    data = daemon_folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / CONFIG_NAME).write_text(payment_config(urls))
    if (data / _PAYMENTS_NAME).exists():
        # The cycles that the daemon of the template has made have its defaults.
        with closing(sqlite3.connect(data / _PAYMENTS_NAME)) as payments, payments:
            payments.execute("DELETE FROM pay_batch_cycle")


def prepare_to_pay(daemon: Yagna, node_id: str, networks: Iterable[str]) -> None:
    """Make a daemon that has just started pay for `node_id`, also the debts from before.

    After a start the daemon pays for nobody until an allocation is made, or until this message, which
    `yagna payment init` sends too.
    """
    for network in networks:
        account = {"address": node_id, "network": network, "token": None, "mode": _SENDING}
        daemon.bridge.call("local/driver/erc20/Init", account)
