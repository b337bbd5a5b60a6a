"""Computation Payload Manifests (GAPs 4 and 5 of Golem) declare what a payload runs and connects to."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from ...errors import BadPayload
from ..base.frozen import FrozenDict, freeze
from ..base.wire_time import format_time, parse_time

PROTOCOLS = ("http", "https", "ws", "wss")
COMMANDS = ("run .*", "transfer .*")

_VERSION = "0.1.0"
_NEVER = datetime(2100, 1, 1, tzinfo=timezone.utc)
_SEMVER = re.compile(r"\d+\.\d+\.\d+([-+][\w.+-]+)?", re.ASCII)
_HASH = re.compile(r"sha3(-224)?:[0-9a-fA-F]{56}")


def made_manifest(
    *,
    outbound: Sequence[str] | bool = (),
    commands: Sequence[str] = COMMANDS,
    match: str = "regex",
    created_at: datetime | None = None,
    expires_at: datetime | None = None,
) -> FrozenDict:
    """Return a manifest without its image, which `with_image` adds.

    Args:
        outbound: the URLs that the payload may connect to; True allows all.
        commands: patterns of the commands that may be executed.
        match: how commands are compared with the patterns: `regex`, or `strict` for equal text.
        created_at: an aware datetime; None means now.
        expires_at: an aware datetime; None means the year 2100.

    Raises:
        BadPayload: an argument is not valid.
    """
    created = _moment("created_at", created_at, datetime.now(timezone.utc).replace(microsecond=0))
    made: dict[str, Any] = {
        "version": _VERSION,
        "createdAt": created,
        "expiresAt": _moment("expires_at", expires_at, _NEVER),
        "payload": [],
        "compManifest": {
            "version": _VERSION,
            "script": {"commands": _texts("commands", commands), "match": match},
        },
    }
    out = _outbound(outbound)
    if out is not None:
        made["compManifest"]["net"] = {"inet": {"out": out}}
    return checked_manifest(made)


def checked_manifest(value: object) -> FrozenDict:
    """Check a manifest, which need not have an image yet, and return it.

    Raises:
        BadPayload: it is not a valid manifest, or it has expired; the message names the part.
    """
    return _checked(_frozen(value), with_image=False)


def with_image(manifest: Mapping[str, Any], image_hash: str, url: str) -> FrozenDict:
    """Return the manifest with its image."""
    image = {"platform": {"arch": "x86_64", "os": "linux"}, "urls": [url], "hash": f"sha3:{image_hash}"}
    return _checked(freeze({**manifest, "payload": [image]}), with_image=True)


def read_manifest(given: str | bytes | Mapping[str, Any]) -> tuple[str, FrozenDict]:
    """Read a complete manifest, and return it in base64, for a demand, and as JSON values.

    Args:
        given: JSON (text, bytes or a dict), or JSON in base64, which is sent unchanged.

    Raises:
        BadPayload: it is not a valid manifest, or it has expired; the message names the part.
    """
    text, raw = _as_base64(given)
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise BadPayload(
            "the manifest is neither JSON nor JSON in base64; give its text, not the name of a file "
            f"({error})"
        ) from error
    return text, _checked(_frozen(value), with_image=True)


def allows(manifest: Mapping[str, Any], command: Mapping[str, Any]) -> bool:
    """Return whether a manifest allows a command of an ExeScript, by the rules of providers."""
    name, details = next(iter(command.items()))
    script = manifest.get("compManifest", {}).get("script")
    if script is None or name not in ("run", "transfer"):
        return True
    line = command_line(name, details)
    match = script.get("match", "strict")
    return any(_fits(line, name, pattern, match) for pattern in script["commands"])


def command_line(name: str, details: Mapping[str, Any]) -> str:
    """Return a command as the real exe-unit compares it: without arguments, it ends with a space."""
    if name == "transfer":
        return f"transfer {details.get('from')} {details.get('to')}"
    return f"run {details['entry_point']} {' '.join(details.get('args', ()))}"


def _fits(line: str, name: str, pattern: str, match: str) -> bool:
    if pattern.lstrip().startswith("{"):
        parts = json.loads(pattern).get(name)
        if not isinstance(parts, Mapping):
            return False
        match = parts.get("match", match)
        args = parts.get("args", "")
        words = f"{parts.get('from')} {parts.get('to')}" if name == "transfer" else args
        pattern = f"{name} {words if isinstance(words, str) else ' '.join(map(json.dumps, words))}"
    if not pattern.startswith(name):
        return False
    return line == pattern if match == "strict" else re.search(pattern, line) is not None


def base64_of(manifest: Mapping[str, Any]) -> str:
    """Return a manifest in base64, as a property of a demand."""
    return base64.b64encode(json.dumps(manifest, separators=(",", ":")).encode()).decode()


def asks_for_internet(manifest: Mapping[str, Any]) -> bool:
    """Return whether the payload needs access to the internet."""
    net = manifest.get("compManifest", {}).get("net") or {}
    return bool(net.get("inet"))


def as_base64(what: str, given: object) -> str:
    """Return a signature or certificate in base64: bytes and PEM text are encoded, base64 stays unchanged.

    Raises:
        BadPayload: it is empty, or text that is neither PEM nor base64.
    """
    if isinstance(given, str) and given.lstrip().startswith("-----BEGIN"):
        return base64.b64encode(given.encode()).decode()
    if isinstance(given, (bytes, bytearray)) and given:
        return as_base64(what, given.decode()) if _is_base64(given) else base64.b64encode(given).decode()
    if isinstance(given, str) and given.strip() and _decoded(given) is not None:
        return given
    raise BadPayload(f"{what} is {_short(given)}: give bytes, or bytes in base64")


def _as_base64(given: object) -> tuple[str, bytes]:
    if isinstance(given, Mapping):
        raw = json.dumps(_frozen(given), separators=(",", ":")).encode()
    elif isinstance(given, (str, bytes, bytearray)):
        raw = given.encode() if isinstance(given, str) else bytes(given)
        ready = None if raw.lstrip().startswith(b"{") else _decoded(raw)
        if ready is not None:
            return raw.decode(), ready
    else:
        raise BadPayload(f"the manifest is {_short(given)}: give it as JSON, as a dict, or as base64")
    return base64.b64encode(raw).decode(), raw


def _frozen(value: object) -> Any:
    try:
        return freeze(value)
    except TypeError as error:
        raise BadPayload(f"the manifest: {error}") from error


def _decoded(text: str | bytes) -> bytes | None:
    """Decode base64, which may contain line breaks; return None for anything else."""
    raw = text.encode() if isinstance(text, str) else bytes(text)
    try:
        return base64.b64decode(b"".join(raw.split()), validate=True)
    except ValueError:
        return None


def _is_base64(raw: bytes | bytearray) -> bool:
    return bool(raw.strip()) and _decoded(bytes(raw)) is not None


# --- what a manifest must have -----------------------------------------------------------------------


def _checked(value: Any, *, with_image: bool) -> FrozenDict:
    """Compare with the schema that Golem publishes; parts that it does not name are allowed."""
    manifest = _mapping("", value)
    for name in ("version", "createdAt", "expiresAt", "payload"):
        if name not in manifest:
            raise BadPayload(f"the manifest has no {name}")
    _version("version", manifest["version"])
    created, expires = (_time(name, manifest[name]) for name in ("createdAt", "expiresAt"))
    if expires <= created:
        raise BadPayload("the manifest's expiresAt is not after its createdAt")
    if expires <= datetime.now(timezone.utc):
        raise BadPayload(f"the manifest expired at {manifest['expiresAt']}: no provider accepts it any more")
    _check_images(manifest["payload"], with_image)
    if manifest.get("compManifest") is not None:
        _check_computation(_mapping("compManifest", manifest["compManifest"]))
    return manifest


def _check_images(payload: Any, with_image: bool) -> None:
    if not isinstance(payload, tuple) or (with_image and not payload):
        raise BadPayload(f"the manifest's payload is {_short(payload)}: give a list with its image")
    for number, item in enumerate(payload):
        where = f"payload[{number}]"
        image = _mapping(where, item)
        if not isinstance(image.get("hash"), str) or not _HASH.fullmatch(image["hash"]):
            raise BadPayload(
                f"the manifest's {where}.hash is {_short(image.get('hash'))}: "
                "give sha3: and 56 hexadecimal digits"
            )
        if not _texts(f"the manifest's {where}.urls", image.get("urls")):
            raise BadPayload(
                f"the manifest's {where}.urls are empty: providers download the image from there"
            )
        for url in image["urls"]:
            _check_url(f"the manifest's {where}.urls", url)
        if image.get("platform") is not None:
            for part in ("arch", "os"):
                if not isinstance(_mapping(f"{where}.platform", image["platform"]).get(part), str):
                    raise BadPayload(f"the manifest's {where}.platform has no {part}")


def _check_computation(computation: FrozenDict) -> None:
    _version("compManifest.version", computation.get("version"))
    if computation.get("script") is not None:
        script = _mapping("compManifest.script", computation["script"])
        match = script.get("match", "strict")
        if match not in ("strict", "regex"):
            raise BadPayload(f"the manifest's match is {_short(match)}: give 'regex' or 'strict'")
        for command in _texts("the manifest's commands", script.get("commands")):
            _check_command(command, match)
    if computation.get("net") is None:
        return
    inet = _mapping("compManifest.net", computation["net"]).get("inet")
    out = None if inet is None else _mapping("compManifest.net.inet", inet).get("out")
    if out is not None:
        _check_outbound(_mapping("compManifest.net.inet.out", out))


def _check_command(command: str, match: str) -> None:
    if command.lstrip().startswith("{"):
        try:
            json.loads(command)
        except ValueError as error:
            raise BadPayload(f"the manifest's command {command!r} is not valid JSON: {error}") from error
        return
    if not re.match(r"(run|transfer)\b", command):
        raise BadPayload(
            f"the manifest's command {command!r} must begin with run or transfer; "
            "other commands are always allowed"
        )
    if match == "regex":
        try:
            re.compile(command)
        except re.error as error:
            raise BadPayload(
                f"the manifest's command {command!r} is not a regular expression: {error}"
            ) from error


def _check_outbound(out: FrozenDict) -> None:
    for protocol in _texts("the manifest's protocols", out.get("protocols", PROTOCOLS)):
        if protocol not in PROTOCOLS:
            raise BadPayload(f"the manifest's protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}")
    urls = out.get("urls")
    for url in () if urls is None else _texts("the manifest's outbound URLs", urls):
        _check_url("outbound", url, PROTOCOLS)


def _outbound(outbound: object) -> dict[str, Any] | None:
    if outbound is True:
        return {"protocols": PROTOCOLS, "unrestricted": {"urls": True}}
    if outbound is False or outbound == ():
        return None
    urls = _texts("outbound", outbound)
    for url in urls:
        _check_url("outbound", url, PROTOCOLS)
    if not urls:
        return None
    used = {urlsplit(url).scheme for url in urls}
    return {"protocols": [name for name in PROTOCOLS if name in used], "urls": urls}


# --- the pieces ----------------------------------------------------------------------------------------


def _check_url(what: str, url: str, schemes: Sequence[str] = ("http", "https")) -> None:
    try:
        parts = urlsplit(url)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        port_is_one = False
    good = port_is_one and re.fullmatch(r"[!-~]+", url) and parts.scheme in schemes and parts.hostname
    if not good:
        raise BadPayload(f"{what}: {_short(url)} is not a URL such as {schemes[-1]}://api.example.com")


def _mapping(where: str, value: object) -> FrozenDict:
    if isinstance(value, FrozenDict):
        return value
    what = f"the manifest's {where}" if where else "the manifest"
    raise BadPayload(f"{what} is {_short(value)}: give a JSON object")


def _version(where: str, value: object) -> None:
    if not isinstance(value, str) or not _SEMVER.fullmatch(value):
        raise BadPayload(f"the manifest's {where} is {_short(value)}: give three numbers, e.g. '0.1.0'")


def _time(where: str, value: object) -> datetime:
    try:
        return parse_time(value if isinstance(value, str) else "")
    except ValueError:
        raise BadPayload(
            f"the manifest's {where} is {_short(value)}: give a time, e.g. '2030-01-01T00:00:00Z'"
        ) from None


def _moment(name: str, value: object, default: datetime) -> str:
    moment = default if value is None else value
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise BadPayload(
            f"{name} is {_short(value)}: give an aware datetime, e.g. datetime.now(timezone.utc)"
        )
    return format_time(moment)


def _texts(what: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise BadPayload(f"{what}: {_short(value)} is not a list of strings")
    return tuple(value)


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
