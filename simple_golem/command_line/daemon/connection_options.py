"""The options that say which daemon, subnet and payment network a command uses."""

from __future__ import annotations

import argparse

from ...engine.payment.journal_record import JournalOwner
from ...errors import BadSetting
from ...model.settings import Settings
from ...yagna.client import Yagna


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of a command."""
    parser.add_argument("--subnet", help="the subnet (default: YAGNA_SUBNET, or else public)")
    parser.add_argument(
        "--network", help="the payment network (default: YAGNA_PAYMENT_NETWORK, or else hoodi)"
    )
    parser.add_argument(
        "--api-url", help="the daemon's URL (default: YAGNA_API_URL, or else http://127.0.0.1:7465)"
    )


def settings_of(options: argparse.Namespace, app_key: str | None = None) -> Settings:
    """Return the settings of the options and of the environment.

    Args:
        options: the options.
        app_key: the app key; None: that of the environment.

    Raises:
        NoAppKey, UnknownNetwork, BadSetting: what is missing or wrong.
    """
    return Settings.resolve(
        app_key, api_url=options.api_url, subnet_tag=options.subnet, payment_network=options.network
    )


def client_of(settings: Settings) -> Yagna:
    """Return a client for the daemon of the settings; close it at the end."""
    return Yagna(
        settings.api_url,
        settings.app_key,
        market_url=settings.market_url,
        activity_url=settings.activity_url,
        payment_url=settings.payment_url,
    )


def cleanup_command(owner: JournalOwner) -> str:
    """Return the command that ends and pays what a session of `owner` has left.

    It has the options that its environment, which is that of this process, doesn't say.
    """
    try:
        usual = Settings.resolve("unused")
    except BadSetting:
        network = api_url = None
    else:
        network, api_url = usual.payment_network, usual.api_url
    return (
        "simple-golem cleanup"
        + ("" if owner.payment_network == network else f" --network {owner.payment_network}")
        + ("" if owner.api_url == api_url else f" --api-url {owner.api_url}")
    )
