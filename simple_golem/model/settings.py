"""Where the daemon is, and how to pay: from arguments, else from the environment, else the defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

from ..errors import BadBudget, BadSetting, GolemError, NoAppKey, UnknownNetwork
from .cost import plain

TEST_NETWORKS = ("amoy", "holesky", "hoodi", "sepolia")
REAL_NETWORKS = ("mainnet", "polygon")
# Test networks that were shut down; the daemon still knows their names.
_GONE_NETWORKS = ("goerli", "mumbai", "rinkeby", "ropsten")

DEFAULT_API_URL = "http://127.0.0.1:7465"
DEFAULT_SUBNET = "public"
DEFAULT_DRIVER = "erc20"
DEFAULT_NETWORK = "hoodi"
DEFAULT_REGISTRY_URL = "https://registry.golem.network"
# Set for the user's own yagna, beside `YAGNA_API_URL`. With them a script would not use another one.
OTHER_DAEMON_VARIABLES = (
    "YAGNA_MARKET_URL",
    "YAGNA_ACTIVITY_URL",
    "YAGNA_PAYMENT_URL",
    "YAGNA_NET_URL",
    "YAGNA_PAYMENT_DRIVER",
)
# How often an activity that answers nothing else is asked for its state, and how many times without an answer
# make its instance unresponsive.
HEALTH_SECONDS = 5.0
HEALTH_MISSES = 3

_MOST_DECIMALS = 18
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a Golem needs to know before it opens. `app_key` is a secret and not shown."""

    app_key: str = field(repr=False)
    api_url: str
    market_url: str
    activity_url: str
    payment_url: str
    subnet_tag: str
    payment_driver: str
    payment_network: str
    registry_url: str

    @classmethod
    def resolve(
        cls,
        app_key: str | None = None,
        api_url: str | None = None,
        subnet_tag: str | None = None,
        payment_driver: str | None = None,
        payment_network: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Settings:
        """Combine arguments, environment and defaults, and check them.

        Args:
            app_key: key of the daemon's REST API; else `YAGNA_APPKEY`.
            api_url: URL of the daemon; else `YAGNA_API_URL`.
            subnet_tag: the part of the market in which providers are found; else `YAGNA_SUBNET`.
            payment_driver: only erc20 is known; else `YAGNA_PAYMENT_DRIVER`.
            payment_network: the blockchain of the payments; else `YAGNA_PAYMENT_NETWORK`.
            environ: the environment; an empty variable counts as unset.

        Raises:
            NoAppKey, UnknownNetwork, BadSetting: what is missing or wrong, and where it was set.
        """
        key = _app_key(*_pick("app_key", app_key, "YAGNA_APPKEY", environ, ""))
        base = _url(*_pick("api_url", api_url, "YAGNA_API_URL", environ, DEFAULT_API_URL))
        return cls(
            app_key=key,
            api_url=base,
            market_url=_url(*_pick("", None, "YAGNA_MARKET_URL", environ, f"{base}/market-api/v1")),
            activity_url=_url(*_pick("", None, "YAGNA_ACTIVITY_URL", environ, f"{base}/activity-api/v1")),
            payment_url=_url(*_pick("", None, "YAGNA_PAYMENT_URL", environ, f"{base}/payment-api/v1")),
            subnet_tag=_subnet(*_pick("subnet_tag", subnet_tag, "YAGNA_SUBNET", environ, DEFAULT_SUBNET)),
            payment_driver=_driver(
                *_pick("payment_driver", payment_driver, "YAGNA_PAYMENT_DRIVER", environ, DEFAULT_DRIVER)
            ),
            payment_network=_network(
                *_pick("payment_network", payment_network, "YAGNA_PAYMENT_NETWORK", environ, DEFAULT_NETWORK)
            ),
            registry_url=_url(*_pick("", None, "GOLEM_REGISTRY_URL", environ, DEFAULT_REGISTRY_URL)),
        )

    @property
    def is_test_money(self) -> bool:
        """Whether the network has test money, which is worth nothing."""
        return is_test_network(self.payment_network)

    @property
    def currency(self) -> str:
        """The token's name: `tGLM` is test money, `GLM` is real."""
        return currency_of(self.payment_network)

    @property
    def payment_platform(self) -> str:
        """Driver, network and token in the daemon's spelling, e.g. `erc20-hoodi-tglm`."""
        return f"{self.payment_driver}-{self.payment_network}-{self.currency.lower()}"


def is_test_network(network: str) -> bool:
    """Whether a payment network has test money, which is worth nothing."""
    return network in TEST_NETWORKS


def currency_of(network: str) -> str:
    """Return the name of a payment network's token: `tGLM` is test money, `GLM` is real."""
    return "tGLM" if is_test_network(network) else "GLM"


def network_of(platform: str) -> str:
    """Return the network of a payment platform, such as hoodi in `erc20-hoodi-tglm`."""
    return platform.partition("-")[2].partition("-")[0]


def parse_budget(value: object, name: str = "budget") -> Decimal:
    """Read an amount of GLM exactly; a float is read as Python prints it.

    Raises:
        BadBudget: it is not a positive number, or has too many digits for GLM.
    """
    return parse_amount(value, name, BadBudget)


def parse_amount(value: object, name: str, error: type[GolemError], *, zero: bool = False) -> Decimal:
    """Read an amount of GLM that was given for `name`, or raise an `error` that names it.

    Args:
        value: a number, or the text of one; a float is read as Python prints it.
        name: the name of the argument.
        error: the class of the error.
        zero: whether it may be 0.
    """
    kind = "an amount of GLM, 0 or more" if zero else "a positive amount of GLM"
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise error(f"{name} is {value!r}: give {kind}, e.g. {name}=1 or {name}='0.5'")
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value).strip())
    except InvalidOperation as cause:
        raise error(
            f"{name} is {value!r}: that is not a number; write e.g. {name}=1 or {name}='0.5'"
        ) from cause
    if not amount.is_finite() or amount < 0 or (amount == 0 and not zero):
        raise error(f"{name} is {value!r}: it must be {kind}, e.g. {name}=1")
    if amount and not -_MOST_DECIMALS <= amount.adjusted() < _MOST_DIGITS:
        too = "little" if amount.adjusted() < 0 else "much"
        raise error(f"{name} is {value!r}: that is too {too} to be an amount of GLM; write e.g. {name}=1")
    if len(plain(amount).partition(".")[2]) > _MOST_DECIMALS:
        raise error(f"{name} is {value!r}: GLM has {_MOST_DECIMALS} decimals at most")
    return Decimal(plain(amount))


def _pick(
    name: str, argument: object, variable: str, environ: Mapping[str, str], default: str
) -> tuple[str, str]:
    """Return the value that counts, and where it came from."""
    if argument is not None:
        if not isinstance(argument, str):
            raise BadSetting(f"{name} must be text, not {type(argument).__name__}")
        return argument.strip(), name
    from_environment = environ.get(variable, "").strip()
    return (from_environment, variable) if from_environment else (default, name or variable)


def _app_key(key: str, source: str) -> str:
    if not key:
        raise NoAppKey(
            "no app key: set YAGNA_APPKEY (`yagna app-key list` shows yours), "
            "or run `simple-golem local run SCRIPT` to try without one"
        )
    # The key becomes an HTTP header. It is a secret, so it isn't shown.
    if not re.fullmatch(r"[!-~]+", key):
        raise BadSetting(
            f"{source}: the app key contains spaces or other characters that no key has; copy it again"
        )
    return key


def _url(url: str, source: str) -> str:
    try:
        parts = urlsplit(url)
        # Names that have no encoding, as with two dots side by side, are an error of the library for HTTP.
        host = (parts.hostname or "").encode("idna")
        usable = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", url):
        raise BadSetting(f"{source}: {url!r} is not a URL such as {DEFAULT_API_URL}")
    if parts.username is not None or parts.query or parts.fragment:
        raise BadSetting(
            f"{source}: the URL may have no user name, query or fragment, only e.g. {DEFAULT_API_URL}"
        )
    return url.rstrip("/")


def _subnet(tag: str, source: str) -> str:
    # The tag becomes part of a constraint, where other characters have a meaning.
    if not re.fullmatch(r"[\w.:@+-]+", tag):
        raise BadSetting(
            f"{source}: {tag!r} is not a subnet: use letters, digits and .:@+-_ only, e.g. 'public'"
        )
    return tag


def _driver(driver: str, source: str) -> str:
    if driver.lower() != DEFAULT_DRIVER:
        raise BadSetting(f"{source}: the payment driver {driver!r} is not known; only 'erc20' is")
    return DEFAULT_DRIVER


def _network(network: str, source: str) -> str:
    if network.lower() not in TEST_NETWORKS + REAL_NETWORKS:
        what = "was shut down" if network.lower() in _GONE_NETWORKS else "is not known"
        raise UnknownNetwork(
            f"{source}: the payment network {network!r} {what}; "
            f"with test money: {', '.join(TEST_NETWORKS)}; with real money: {', '.join(REAL_NETWORKS)}"
        )
    return network.lower()
