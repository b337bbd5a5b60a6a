"""Where an image is: what the registry is asked, and what becomes of its answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
import requests
import responses
from responses import matchers

from simple_golem.engine.market.image_registry import locate
from simple_golem.errors import RegistryError, UnknownImage
from simple_golem.model.payload.payload import ImageLocation, ImageRequest
from tests.helpers.loopback import Behaviour, Loopback, answer, hang_up

URL = "https://registry.test"
INFO = f"{URL}/v1/image/info"
HASH = "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488"
FOUND = {"sha3": HASH, "https": "https://there.test/image.gvmi", "http": "http://there.test/image.gvmi"}


def test_a_tag_is_looked_up(daemon: responses.RequestsMock) -> None:
    query = matchers.query_param_matcher({"tag": "golem/alpine:latest", "count": "true"})
    daemon.get(INFO, json=FOUND, match=[query])
    assert locate(ImageRequest(tag="golem/alpine:latest"), f"{URL}/") == ImageLocation(
        HASH, "https://there.test/image.gvmi"
    )


def test_a_hash_is_looked_up(daemon: responses.RequestsMock) -> None:
    query = matchers.query_param_matcher({"hash": HASH, "count": "true"})
    daemon.get(INFO, json={"sha3": HASH, "http": "http://there.test/image.gvmi"}, match=[query])
    assert locate(ImageRequest(hash=HASH), URL) == ImageLocation(HASH, "http://there.test/image.gvmi")


def test_an_image_with_hash_and_url_is_asked_of_nobody(daemon: responses.RequestsMock) -> None:
    image = ImageRequest(hash=HASH, url="http://mine.test/image.gvmi")
    assert locate(image, URL) == ImageLocation(HASH, "http://mine.test/image.gvmi")
    assert len(daemon.calls) == 0


def test_an_image_nobody_has_is_told_in_the_registrys_words(daemon: responses.RequestsMock) -> None:
    daemon.get(INFO, status=404, json={"message": "there are golem/alpine:latest and golem/simple:1"})
    with pytest.raises(UnknownImage) as caught:
        locate(ImageRequest(tag="golem/nothing:1"), URL)
    assert isinstance(caught.value, LookupError)
    for words in ("golem/nothing:1", URL, "there are golem/alpine:latest and golem/simple:1"):
        assert words in str(caught.value)
    assert len(daemon.calls) == 1


def test_an_image_nobody_has_is_unknown_without_any_words(daemon: responses.RequestsMock) -> None:
    daemon.get(INFO, status=404, body="<html>not here</html>")
    with pytest.raises(UnknownImage, match="golem/nothing:1"):
        locate(ImageRequest(tag="golem/nothing:1"), URL)


@pytest.mark.parametrize(
    "nonsense",
    [
        "<html>a hotel's log-in page</html>",
        "[]",
        "null",
        "42",
        '"text"',
        "{}",
        "[" * 100_000,
        '{"sha3": "8b11"}',
        f'{{"sha3": "{HASH}"}}',
        f'{{"sha3": "{HASH}", "https": 5}}',
        f'{{"sha3": "{HASH}", "https": "ftp://there.test/image"}}',
        '{"sha3": null, "http": "http://there.test/image"}',
        '{"sha3": "no hash", "http": "http://there.test/image"}',
    ],
)
def test_an_unreadable_answer_is_the_registrys_error(daemon: responses.RequestsMock, nonsense: str) -> None:
    daemon.get(INFO, body=nonsense)
    with pytest.raises(RegistryError, match=r"golem/alpine:latest") as caught:
        locate(ImageRequest(tag="golem/alpine:latest"), URL)
    assert URL in str(caught.value)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_status_that_is_none_of_success_is_the_registrys_error(
    daemon: responses.RequestsMock, status: int
) -> None:
    daemon.get(INFO, status=status, json={"message": "go away"})
    with pytest.raises(RegistryError, match=f"{status}.*go away"):
        locate(ImageRequest(tag="golem/alpine:latest"), URL)


def test_words_of_a_registry_do_not_disturb_a_terminal(daemon: responses.RequestsMock) -> None:
    daemon.get(INFO, status=404, json={"message": "\x1b[31mred" + "x" * 100_000})
    with pytest.raises(UnknownImage) as caught:
        locate(ImageRequest(tag="golem/alpine:latest"), URL)
    assert "[31mred" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_a_registry_may_answer_at_the_second_request(daemon: responses.RequestsMock) -> None:
    daemon.get(INFO, body=requests.exceptions.ConnectionError("reset"))
    daemon.get(INFO, json=FOUND)
    assert locate(ImageRequest(tag="golem/alpine:latest"), URL).hash == HASH
    assert len(daemon.calls) == 2


def test_a_registry_that_is_not_there_is_told_of_with_what_to_do() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # without listening: connections are refused
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(RegistryError, match="GOLEM_REGISTRY_URL") as caught:
            locate(ImageRequest(tag="golem/alpine:latest"), url)
    assert url in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "Max retries" not in str(caught.value)
    assert time.monotonic() - began < 5


def test_a_name_that_is_not_found_is_told_in_a_few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_dns(*arguments: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_dns)
    with pytest.raises(RegistryError) as caught:
        locate(ImageRequest(tag="golem/alpine:latest"), URL)
    assert str(caught.value).endswith(
        "(the name of its host is not found: no DNS, or no connection to the internet)"
    )


# --- a company's proxy ------------------------------------------------------------------------------

PROXY_VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the proxy of the environment."""
    for name in (*PROXY_VARIABLES, "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def set_proxy(url: str) -> None:
        for name in PROXY_VARIABLES:
            monkeypatch.setenv(name, url)

    return set_proxy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_registry_on_this_machine_is_asked_without_the_proxy(
    behind: Callable[[str], None], host: str
) -> None:
    with Loopback(answer(500)) as proxy, Loopback(answer(200, FOUND)) as registry:
        behind(proxy.url)
        url = registry.url.replace("127.0.0.1", host)
        assert locate(ImageRequest(tag="golem/alpine:latest"), url).hash == HASH
    assert proxy.received == []


def test_a_registry_elsewhere_is_asked_through_the_proxy(behind: Callable[[str], None]) -> None:
    with Loopback(answer(200, FOUND)) as proxy:
        behind(proxy.url)
        assert locate(ImageRequest(tag="golem/alpine:latest"), "http://registry.test").hash == HASH
    assert [request.target.partition("?")[0] for request in proxy.received] == [
        "http://registry.test/v1/image/info"
    ]


@pytest.mark.parametrize("behaviour", [answer(403, {"message": "not allowed"}), hang_up], ids=["403", "none"])
def test_an_error_behind_a_proxy_names_the_proxy_without_its_password(
    behind: Callable[[str], None], behaviour: Behaviour
) -> None:
    with Loopback(behaviour) as proxy:
        behind(proxy.url.replace("http://", "http://me:secret@"))
        with pytest.raises(RegistryError) as caught:
            locate(ImageRequest(tag="golem/alpine:latest"), "http://registry.test")
        port = proxy.url.rpartition(":")[2]
    assert f"through the proxy 127.0.0.1:{port}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_error_names_no_proxy_that_is_not_used(
    behind: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    behind("http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "registry.test")
    with pytest.raises(RegistryError) as caught:
        locate(ImageRequest(tag="golem/alpine:latest"), "http://registry.test:1")
    assert "proxy" not in str(caught.value)
