"""Where an image can be downloaded: asked of Golem's registry, with an HTTP session of its own."""

from __future__ import annotations

import logging
from typing import Any

import requests
import tenacity

from ...errors import BadPayload, RegistryError, UnknownImage
from ...model.payload.payload import ImageLocation, ImageRequest

logger = logging.getLogger(__name__)
_TIMEOUT = (5.0, 10.0)


def locate(image: ImageRequest, registry_url: str) -> ImageLocation:
    """Ask the registry (`GET /v1/image/info`) where `image` is; blocks for half a minute at most.

    Raises:
        UnknownImage: the registry does not have it.
        RegistryError: the registry does not answer, or not with what a registry answers.
    """
    if image.url is not None and image.hash is not None:
        return ImageLocation(hash=image.hash, url=image.url)
    asked = {"hash": image.hash} if image.hash is not None else {"tag": image.tag}
    answer = _ask(registry_url.rstrip("/") + "/v1/image/info", {**asked, "count": "true"})
    (what,) = asked.values()
    if answer.status_code == 404:
        words = _own_words(answer) or ": it is not there; check the spelling of its tag or hash"
        raise UnknownImage(f"the registry at {registry_url} does not know {what}{words}")
    try:
        answer.raise_for_status()
        info = answer.json()
        location = ImageLocation(hash=info["sha3"], url=info.get("https") or info["http"])
    except (requests.exceptions.RequestException, KeyError, TypeError, BadPayload) as error:
        raise RegistryError(
            f"the registry at {registry_url} answered {answer.status_code} when asked for {what}"
            f"{_own_words(answer)}"
        ) from error
    logger.debug("image %s is %s at %s", what, location.hash, location.url)
    return location


def _is_passing(answer: requests.Response) -> bool:
    return answer.status_code >= 500


def _last_answer(state: tenacity.RetryCallState) -> requests.Response:
    assert state.outcome is not None
    answer: requests.Response = state.outcome.result()
    return answer


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(RegistryError) | tenacity.retry_if_result(_is_passing),
    stop=tenacity.stop_after_attempt(3),
    wait=tenacity.wait_exponential(multiplier=0.2, max=2.0),
    retry_error_callback=_last_answer,
)
def _ask(url: str, params: dict[str, Any]) -> requests.Response:
    try:
        with requests.Session() as session:
            return session.get(url, params=params, timeout=_TIMEOUT)
    except requests.exceptions.RequestException as error:
        raise RegistryError(
            f"the image registry at {url} does not answer: check the network, "
            f"or set GOLEM_REGISTRY_URL ({error})"
        ) from error


def _own_words(answer: requests.Response) -> str:
    try:
        body = answer.json()
    except requests.exceptions.JSONDecodeError:
        return ""
    message = body.get("message") or body.get("detail") if isinstance(body, dict) else None
    return f": {message}" if message else ""
