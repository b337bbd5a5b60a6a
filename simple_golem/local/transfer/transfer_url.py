"""The URLs of a transfer, read as the real exe-unit reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_SCHEMES = ("container", "gftp", "http", "https")
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Unsupported(Exception):
    """A transfer that no exe-unit can make; the message is what a requestor is told."""


@dataclass(frozen=True, slots=True)
class TransferUrl:
    """One end of a transfer.

    Attributes:
        text: all of it.
        scheme: `container`, `gftp`, `http` or `https`.
        path: its path, with what was written as %20 and the like decoded.
    """

    text: str
    scheme: str
    path: str

    @classmethod
    def parse(cls, text: str) -> TransferUrl:
        """Read it; without a scheme it is a path of the container.

        Raises:
            Unsupported: it has another scheme, or is none.
        """
        whole = text if _HAS_SCHEME.match(text) else f"container:{text}"
        try:
            parts = urlsplit(whole)
        except ValueError as error:
            raise Unsupported(f"URL parse error: {error}") from error
        if parts.scheme not in _SCHEMES:
            raise Unsupported(f"Unsupported scheme: {parts.scheme}")
        # What comes after a ? or a # is no part of a path: whoever means them writes %3F and %23.
        path = unquote(parts.path)
        if parts.scheme == "container" and not path.startswith("/"):
            raise Unsupported(f"IO error: path not found in container: {path}")
        return cls(whole, parts.scheme, path)
