"""Settings: argument, environment, default, in this order, and everything checked."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simple_golem.errors import BadBudget, BadSetting, NoAppKey, UnknownNetwork
from simple_golem.model.settings import HEALTH_MISSES, HEALTH_SECONDS, Settings, parse_budget

KEY = {"YAGNA_APPKEY": "k1"}


def test_an_app_key_is_all_that_is_needed() -> None:
    settings = Settings.resolve(environ=KEY)
    assert settings == Settings(
        app_key="k1",
        api_url="http://127.0.0.1:7465",
        market_url="http://127.0.0.1:7465/market-api/v1",
        activity_url="http://127.0.0.1:7465/activity-api/v1",
        payment_url="http://127.0.0.1:7465/payment-api/v1",
        subnet_tag="public",
        payment_driver="erc20",
        payment_network="hoodi",
        registry_url="https://registry.golem.network",
    )


def test_the_environment_beats_the_defaults() -> None:
    settings = Settings.resolve(
        environ={
            "YAGNA_APPKEY": "k2",
            "YAGNA_API_URL": "http://localhost:1234/",
            "YAGNA_MARKET_URL": "http://localhost:9/m",
            "YAGNA_SUBNET": "devnet-beta",
            "YAGNA_PAYMENT_DRIVER": "ERC20",
            "YAGNA_PAYMENT_NETWORK": "Polygon",
            "GOLEM_REGISTRY_URL": "http://127.0.0.1:5/",
        }
    )
    assert settings.app_key == "k2"
    assert settings.api_url == "http://localhost:1234"
    assert settings.market_url == "http://localhost:9/m"
    assert settings.activity_url == "http://localhost:1234/activity-api/v1"
    assert settings.subnet_tag == "devnet-beta"
    assert (settings.payment_driver, settings.payment_network) == ("erc20", "polygon")
    assert settings.registry_url == "http://127.0.0.1:5"


def test_arguments_beat_the_environment() -> None:
    environ = {
        "YAGNA_APPKEY": "k2",
        "YAGNA_API_URL": "rubbish",
        "YAGNA_SUBNET": "(",
        "YAGNA_PAYMENT_NETWORK": "rubbish",
        "YAGNA_PAYMENT_DRIVER": "rubbish",
    }
    settings = Settings.resolve("k3", "https://y.example:1", "s", "erc20", "mainnet", environ)
    assert (settings.app_key, settings.api_url, settings.subnet_tag) == ("k3", "https://y.example:1", "s")
    assert settings.payment_platform == "erc20-mainnet-glm"


def test_an_empty_variable_counts_as_unset() -> None:
    environ = {**KEY, "YAGNA_API_URL": "", "YAGNA_SUBNET": "  ", "YAGNA_PAYMENT_NETWORK": ""}
    assert Settings.resolve(environ=environ) == Settings.resolve(environ=KEY)


def test_the_network_decides_token_and_worth() -> None:
    test = Settings.resolve(payment_network="hoodi", environ=KEY)
    real = Settings.resolve(payment_network="polygon", environ=KEY)
    assert (test.payment_platform, test.currency, test.is_test_money) == ("erc20-hoodi-tglm", "tGLM", True)
    assert (real.payment_platform, real.currency, real.is_test_money) == ("erc20-polygon-glm", "GLM", False)


@pytest.mark.parametrize("environ", [{}, {"YAGNA_APPKEY": ""}, {"YAGNA_APPKEY": "\n"}])
def test_no_app_key_says_what_to_do(environ: dict[str, str]) -> None:
    with pytest.raises(NoAppKey) as caught:
        Settings.resolve(environ=environ)
    assert str(caught.value) == (
        "no app key: set YAGNA_APPKEY (`yagna app-key list` shows yours), "
        "or run `simple-golem local run SCRIPT` to try without one"
    )


def test_a_newline_around_the_app_key_is_no_part_of_it() -> None:
    assert Settings.resolve(environ={"YAGNA_APPKEY": " abc\n"}).app_key == "abc"


@pytest.mark.parametrize("key", ["a b", "a\r\nX-Evil: 1", "a\tb", "schlüssel"])
def test_an_app_key_that_would_break_the_header_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadSetting, match="YAGNA_APPKEY") as caught:
        Settings.resolve(environ={"YAGNA_APPKEY": key})
    assert key not in str(caught.value)


def test_the_app_key_is_not_in_the_repr() -> None:
    assert "sesame" not in repr(Settings.resolve("sesame", environ={}))


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:7465",
        "localhost",
        "ftp://x",
        "http://",
        "http://:80",
        "http://x:99999",
        "http://x:0",
        "http://x:port",
        "http://[::1",
        "http://a b",
        "http://x/\n",
        "http://user:pass@x",
        "http://x?a=1",
        "http://x#y",
        "http://x..y",
        "http://.",
        "http://" + "x" * 64,
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    for variable in ("YAGNA_API_URL", "YAGNA_MARKET_URL", "GOLEM_REGISTRY_URL"):
        with pytest.raises(BadSetting, match=variable):
            Settings.resolve(environ={**KEY, variable: url + "|" if url.endswith("\n") else url})


def test_an_unknown_network_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNetwork, match=r"payment_network: .*'rinkeby'.*hoodi.*polygon") as caught:
        Settings.resolve(payment_network="rinkeby", environ=KEY)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "arguments",
    [
        {"payment_driver": "zksync"},
        {"payment_driver": ""},
        {"subnet_tag": ""},
        {"subnet_tag": "a)(b"},
        {"subnet_tag": "a b"},
        {"subnet_tag": "*"},
        {"subnet_tag": 5},
        {"api_url": b"http://x"},
        {"app_key": 5},
    ],
    ids=repr,
)
def test_an_argument_that_can_not_work_is_named(arguments: dict[str, object]) -> None:
    with pytest.raises(BadSetting, match=next(iter(arguments))):
        Settings.resolve(environ=KEY, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (1, "1"),
        (0.1, "0.1"),
        (" 2.50 ", "2.5"),
        ("1e-18", "0.000000000000000001"),
        ("1.0000000000000000000000000", "1"),
        (Decimal("123456789012.123456789012345678"), "123456789012.123456789012345678"),
    ],
)
def test_a_budget_is_read_exactly(value: object, amount: str) -> None:
    assert parse_budget(value) == Decimal(amount)


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        0,
        -1,
        "",
        "much",
        "1,5",
        "1 GLM",
        float("nan"),
        float("inf"),
        Decimal("sNaN"),
        "-inf",
        "1e-19",
        "1.0000000000000000001",
        "1e999999",
        "1e-999999",
        10**100,
        b"1",
        [1],
    ],
    ids=repr,
)
def test_a_budget_that_is_no_positive_amount_is_refused(value: object) -> None:
    with pytest.raises(BadBudget, match="budget is"):
        parse_budget(value)


@pytest.mark.parametrize("gone", ["goerli", "Mumbai"])
def test_a_payment_network_that_was_shut_down_is_refused_with_those_that_exist(gone: str) -> None:
    with pytest.raises(UnknownNetwork) as caught:
        Settings.resolve(app_key="k", payment_network=gone, environ={})
    assert str(caught.value) == (
        f"payment_network: the payment network {gone!r} was shut down; "
        "with test money: amoy, holesky, hoodi, sepolia; with real money: mainnet, polygon"
    )


def test_a_silent_provider_is_told_after_fifteen_seconds() -> None:
    assert (HEALTH_SECONDS, HEALTH_MISSES) == (5.0, 3)
