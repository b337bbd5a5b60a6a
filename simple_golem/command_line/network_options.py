"""The options of the commands that start a local network, and the network that they describe."""

from __future__ import annotations

import argparse
import os

from ..errors import BadSetting
from ..local.control.as_real import AsReal
from ..local.control.habits import ProviderHabits
from ..local.control.messages import DEFAULT_PAYMENT_NETWORKS
from ..local.control.runtime_options import runtimes_of
from ..local.images.image_store import ImageStore
from ..local.local_golem import (
    DEFAULT_FUNDS,
    DEFAULT_PROVIDERS,
    DEFAULT_SUBNET,
    MOST_PROVIDERS,
    LocalGolem,
    checked_web_server,
)
from ..model.settings import OTHER_DAEMON_VARIABLES
from .habit_options import HABITS_HELP, spelled_habits
from .help_format import HelpFormat


def add_network_options(parser: argparse.ArgumentParser, example: str) -> None:
    """Add the options that say what a network consists of, and an example and all habits to the help."""
    parser.epilog, parser.formatter_class = f"example: {parser.prog} {example}\n\n{HABITS_HELP}", HelpFormat
    parser.add_argument(
        "--providers",
        type=int,
        default=DEFAULT_PROVIDERS,
        metavar="N",
        help=f"the number of providers, 1 to {MOST_PROVIDERS} (default: {DEFAULT_PROVIDERS})",
    )
    parser.add_argument(
        "--subnet",
        action="append",
        default=[],
        help=f"the subnet of the offers; may be repeated (default: {DEFAULT_SUBNET})",
    )
    parser.add_argument(
        "--payment-network",
        action="append",
        default=[],
        metavar="NETWORK",
        help="another network on which the providers are paid, besides "
        f"{' and '.join(DEFAULT_PAYMENT_NETWORKS)}; may be repeated",
    )
    add_image_option(parser)
    parser.add_argument(
        "--runtime",
        action="append",
        default=[],
        metavar="NAME=PROGRAM",
        help="a runtime of your own: a program that is called as providers call a runtime; may be repeated",
    )
    parser.add_argument(
        "--habit",
        action="append",
        default=[],
        metavar="PROVIDER=HABIT",
        help="how a provider behaves, such as --habit prov-2=dies-after:5; may be repeated. The habits are "
        "listed below",
    )
    parser.add_argument(
        "--web-server",
        action="append",
        default=[],
        metavar="URL",
        help="let the providers reach a web server of this machine, such as http://127.0.0.1:8000",
    )
    parser.add_argument(
        "--funds",
        metavar="GLM",
        help=f"the requestor's funds on the chain (default: {DEFAULT_FUNDS})",
    )


def add_image_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names additional images."""
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="TAG_OR_HASH=PATH",
        help="an additional image: a .gvmi, an archive of docker save or OCI, a root file system as .tar or "
        "folder, or a folder or .tar whose files are copied to an activity's /golem; may be repeated",
    )


def add_chain_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that shows the payments."""
    parser.add_argument(
        "--chain",
        action="store_true",
        help="wait for the payments of the invoices after the script, and show them",
    )


def add_fortune_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the time and the misfortune of a real network."""
    parser.add_argument(
        "--as-real",
        action="store_true",
        help="add the time and the misfortune of a real network: offers that come late, downloads, boots, "
        "slow answers, providers that now and then reject or vanish",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=None,
        metavar="N",
        help="which misfortune it is, with --as-real (default: 1)",
    )
    parser.add_argument(
        "--pace",
        type=float,
        default=None,
        metavar="P",
        help="by what the times of --as-real are multiplied; 1 is the pace of a real network (default: 1)",
    )


def network_of(options: argparse.Namespace) -> LocalGolem:
    """Return the network that the options describe; it is not started.

    Raises:
        GolemError: an option is not valid.
    """
    as_real = AsReal(
        1 if options.seed is None else options.seed, 1.0 if options.pace is None else options.pace
    )
    if not options.as_real and (options.seed, options.pace) != (None, None):
        raise BadSetting("--seed and --pace need --as-real")
    return described_network(options, as_real if options.as_real else None)


def described_network(options: argparse.Namespace, as_real: AsReal | None) -> LocalGolem:
    """Return the network that the options describe, with so much time and misfortune; it is not started."""
    ImageStore.with_options(options.image)
    for url in options.web_server:
        checked_web_server(url)
    images = dict(option.split("=", 1) for option in options.image)
    subnets = options.subnet or [DEFAULT_SUBNET]
    return LocalGolem(
        _providers(options),
        subnets,
        images,
        chain=True,
        funds=options.funds,
        payment_networks=options.payment_network,
        as_real=as_real,
        runtimes=runtimes_of(options.runtime),
    )


def _providers(options: argparse.Namespace) -> int | list[ProviderHabits]:
    """The number of providers, or the habits of each. `LocalGolem` checks the number."""
    if not options.habit or not 1 <= options.providers <= MOST_PROVIDERS:
        return int(options.providers)
    return spelled_habits(options.habit, options.providers)


def script_environment(network: LocalGolem) -> dict[str, str]:
    """The environment of a script that is to use the network."""
    environment = {name: value for name, value in os.environ.items() if name not in OTHER_DAEMON_VARIABLES}
    return environment | network.environment
