"""The URLs of a transfer, parsed as the real exe-unit parses them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_SCHEMES = ("container", "gftp", "http", "https")
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Unsupported(Exception):
    """No exe-unit can carry out this transfer; the requestor gets the message."""


@dataclass(frozen=True, slots=True)
class TransferUrl:
    """One end of a transfer.

    Attributes:
        text: the whole URL.
        scheme: `container`, `gftp`, `http` or `https`.
        path: the path of the URL, with escapes such as `%20` decoded.
    """

    text: str
    scheme: str
    path: str

    @classmethod
    def parse(cls, text: str) -> TransferUrl:
        """Parse a URL; a text without a scheme is a path in the container.

        Raises:
            Unsupported: the text is not a URL, or has another scheme.
        """
        whole = text if _HAS_SCHEME.match(text) else f"container:{text}"
        try:
            parts = urlsplit(whole)
        except ValueError as error:
            raise Unsupported(f"URL parse error: {error}") from error
        if parts.scheme not in _SCHEMES:
            raise Unsupported(f"Unsupported scheme: {parts.scheme}")
        # A path with ? or # in it is written with %3F or %23; what follows a plain ? or # is not used.
        path = unquote(parts.path)
        if parts.scheme == "container" and not path.startswith("/"):
            raise Unsupported(f"IO error: path not found in container: {path}")
        return cls(whole, parts.scheme, path)
