"""Where an image can be downloaded, according to Golem's image registry."""

from __future__ import annotations

import ipaddress
import logging
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity
from requests.utils import get_environ_proxies, select_proxy

from ...errors import BadPayload, RegistryError, UnknownImage
from ...model.base.printable import printable
from ...model.payload.payload import ImageLocation, ImageRequest

logger = logging.getLogger(__name__)
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_ATTEMPTS = 3


def locate(image: ImageRequest, registry_url: str) -> ImageLocation:
    """Return where an image can be downloaded; asks the registry (`GET /v1/image/info`) if need be.

    Blocks for 45 seconds at most.

    Args:
        image: its tag, or its hash. With hash and URL the registry is not asked.
        registry_url: the address of the registry.

    Raises:
        UnknownImage: the registry does not have the image.
        RegistryError: the registry does not answer, or its answer makes no sense.
    """
    if image.url is not None and image.hash is not None:
        return ImageLocation(hash=image.hash, url=image.url)
    query = {"hash": image.hash} if image.hash is not None else {"tag": image.tag}
    answer = _ask(registry_url.rstrip("/") + "/v1/image/info", {**query, "count": "true"})
    (what,) = query.values()
    if answer.status_code == 404:
        message = _message_of(answer) or ": check the spelling of its tag or hash"
        raise UnknownImage(f"the registry at {registry_url} does not know {what}{message}")
    try:
        answer.raise_for_status()
        info = _json_of(answer)
        location = ImageLocation(hash=info["sha3"], url=info.get("https") or info["http"])
    except (requests.exceptions.RequestException, ValueError, KeyError, TypeError, BadPayload) as error:
        raise RegistryError(
            f"the registry at {registry_url}{_through_proxy(registry_url)} answered {answer.status_code} "
            f"when asked for {what}{_message_of(answer)}"
        ) from error
    logger.debug("image %s is %s at %s", what, location.hash, location.url)
    return location


def _is_temporary(answer: requests.Response) -> bool:
    return answer.status_code >= 500


def _last_answer(state: tenacity.RetryCallState) -> requests.Response:
    assert state.outcome is not None
    answer: requests.Response = state.outcome.result()
    return answer


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(RegistryError) | tenacity.retry_if_result(_is_temporary),
    stop=tenacity.stop_after_attempt(_ATTEMPTS),
    wait=tenacity.wait_exponential(multiplier=0.2, max=2.0),
    retry_error_callback=_last_answer,
)
def _ask(url: str, params: dict[str, Any]) -> requests.Response:
    try:
        with requests.Session() as session:
            session.trust_env = not _is_on_this_machine(url)
            return session.get(url, params=params, timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS))
    except requests.exceptions.RequestException as error:
        proxy = _through_proxy(url)
        check = "check that the proxy lets it through" if proxy else "check the network"
        raise RegistryError(
            f"the image registry at {url}{proxy} does not answer: {check}, "
            f"or set GOLEM_REGISTRY_URL ({_why(error)})"
        ) from error


def _why(error: requests.exceptions.RequestException) -> object:
    """What an error of `requests` comes down to, without its pools and retries."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "the name of its host is not found: no DNS, or no connection to the internet"
        cause = cause.__cause__ or cause.__context__
    return getattr(next(iter(error.args), None), "reason", None) or error


def _is_on_this_machine(url: str) -> bool:
    """Whether a URL leads to loopback, which no proxy of the environment can reach."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _through_proxy(url: str) -> str:
    """The proxy of the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) on the way to a URL, for a message."""
    if _is_on_this_machine(url):
        return ""
    proxy = select_proxy(url, get_environ_proxies(url))
    if proxy is None:
        return ""
    # A proxy's user and password must not appear in a message.
    host_and_port = proxy.rpartition("//")[2].rpartition("@")[2].rstrip("/")
    return f" (through the proxy {host_and_port})"


def _message_of(answer: requests.Response) -> str:
    """Return the error message of an answer, after a colon; an empty text if there is none."""
    try:
        body = _json_of(answer)
    except ValueError:
        return ""
    message = body.get("message") or body.get("detail") if isinstance(body, dict) else None
    return f": {printable(message)}" if message else ""


def _json_of(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except RecursionError as error:
        raise ValueError("the answer has too many nested brackets") from error
