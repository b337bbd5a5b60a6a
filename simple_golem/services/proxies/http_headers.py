"""The headers that an HTTP proxy passes on, in both directions."""

from __future__ import annotations

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

# They are about one connection, and not about what is passed on.
_OF_ONE_CONNECTION = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"),
    *(b"te", b"trailer", b"upgrade", b"expect"),
}
# A message without them would have another end, or go to another site.
_NEVER_DROPPED = {b"host", b"content-length", b"transfer-encoding"}
_FORWARDED_FOR = b"x-forwarded-for"


def passed_on(headers: Iterable[tuple[bytes, bytes]], *, upgrades: bool = False) -> Headers:
    """Return the headers without those that are about one connection.

    Args:
        headers: those that have come.
        upgrades: whether both sides change to another protocol, such as WebSocket: these headers stay, then.
    """
    given = list(headers)
    dropped = _OF_ONE_CONNECTION | (set(values_of(given, b"connection")) - _NEVER_DROPPED)
    kept = [(name, value) for name, value in given if name not in dropped]
    if upgrades:
        kept += [(b"connection", b"upgrade"), *((name, value) for name, value in given if name == b"upgrade")]
    return kept


def wants_upgrade(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request asks for another protocol."""
    given = list(headers)
    return b"upgrade" in values_of(given, b"connection") and any(name == b"upgrade" for name, _ in given)


def with_client(headers: Headers, client: str) -> Headers:
    """Return the headers with the address of the client, after those of proxies before this one."""
    before = [value for name, value in headers if name == _FORWARDED_FOR]
    others = [(name, value) for name, value in headers if name != _FORWARDED_FOR]
    return [*others, (_FORWARDED_FOR, b", ".join([*before, client.encode()]))]


def with_host(headers: Headers, host: str) -> Headers:
    """Return the headers with a host, if they have none: HTTP/1.0 asks for none, and HTTP/1.1 does."""
    return headers if any(name == b"host" for name, _ in headers) else [(b"host", host.encode()), *headers]


def values_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the values of a header that is a list, in lower case."""
    found = [value for one, value in headers if one == name]
    return [part.strip().lower() for value in found for part in value.split(b",")]
