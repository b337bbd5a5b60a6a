"""Commands that bring files to a provider and back, as values."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any
from urllib.parse import quote, urlsplit

from ...errors import BadCommand
from ..base.frozen import freeze
from .commands import Command, Transfer
from .file_commands import DownloadCommand, FileCommand, shown

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_WHERE = "give an absolute path, such as '/golem/work/data.txt'"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Upload(FileCommand):
    """Copies a file or a whole folder of this machine to the provider.

    Args:
        local: the file, or the folder; relative to the current folder of the script.
        remote: the absolute path it gets there, of which missing folders are made; of a folder, where its
            contents go. It has to lie in one of the volumes of the image, mostly `/golem/input`,
            `/golem/work` and `/golem/output`.
    """

    local: str
    remote: str

    def __init__(self, local: str | PurePath, remote: str | PurePath) -> None:
        _set(self, local=_local_path(local, "Upload.local"), remote=_remote_path(remote, "Upload.remote"))


@dataclass(frozen=True, slots=True, init=False, repr=False)
class UploadBytes(FileCommand):
    """Makes a file on the provider's side of bytes.

    Args:
        data: what is in the file.
        remote: its absolute path.
    """

    data: bytes
    remote: str

    def __init__(self, data: bytes | bytearray | memoryview, remote: str | PurePath) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise BadCommand(
                f"UploadBytes.data is {type(data).__name__}: give bytes, e.g. text.encode(); "
                "a file of this machine is sent by Upload('its/path', …)"
            )
        _set(self, data=bytes(data), remote=_file_path(remote, "UploadBytes.remote"))

    def __repr__(self) -> str:
        # Its content may be long, and is no text.
        return f"UploadBytes({len(self.data)} bytes, {self.remote!r})"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class UploadJson(FileCommand):
    """Makes a JSON file on the provider's side of a value.

    Args:
        value: what json can write: dicts with text as keys, lists, text, numbers, True, False, None.
        remote: the file's absolute path.
    """

    value: Any
    remote: str

    def __init__(self, value: Any, remote: str | PurePath) -> None:
        try:
            frozen = freeze(value)
        except TypeError as error:
            raise BadCommand(f"UploadJson.value: {error}") from error
        _set(self, value=frozen, remote=_file_path(remote, "UploadJson.remote"))

    @property
    def data(self) -> bytes:
        """The content of the file."""
        return json.dumps(self.value).encode()


@dataclass(frozen=True, slots=True, init=False)
class UploadFromUrl(Command):
    """Has the provider fetch a file from the web.

    What is there under this name is removed first, by `/bin/sh`, which the image must have. A provider does
    not look at the status of the server's answer, so the page of a 404 may become the file: `size` or
    `sha256` find that out.

    Args:
        url: an `http://` or `https://` URL.
        remote: the absolute path the file gets there.
        size: how many bytes it has.
        sha256: its SHA-256 hash, 64 hexadecimal digits. If one of both differs, the file is removed and the
            command fails.
    """

    url: str
    remote: str
    size: int | None
    sha256: str | None

    def __init__(
        self, url: str, remote: str | PurePath, *, size: int | None = None, sha256: str | None = None
    ) -> None:
        _set(
            self,
            url=_web_url(url),
            remote=_file_path(remote, "UploadFromUrl.remote"),
            size=_size(size),
            sha256=_hash(sha256),
        )

    @property
    def is_checked(self) -> bool:
        """Whether the file is compared with its size or hash."""
        return self.size is not None or self.sha256 is not None

    def to_exe_script(self) -> dict[str, Any]:
        return Transfer(self.url, container_url(self.remote)).to_exe_script()

    def __reduce__(self) -> tuple[partial[UploadFromUrl], tuple[str, str]]:
        return partial(type(self), size=self.size, sha256=self.sha256), (self.url, self.remote)

    def __repr__(self) -> str:
        given = {"size": self.size, "sha256": self.sha256}
        options = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
        return f"UploadFromUrl({self.url!r}, {self.remote!r}{options})"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Download(DownloadCommand):
    """Copies a file or a whole folder of the provider to this machine.

    The file has its name here once it is complete, and replaces one that was there.

    Args:
        remote: the absolute path there; one that ends with `/` is a folder.
        local: the path it gets here, or, of a folder, where its contents go.
    """

    remote: str
    local: str

    def __init__(self, remote: str | PurePath, local: str | PurePath) -> None:
        _set(self, remote=_remote_path(remote, "Download.remote"), local=_local_path(local, "Download.local"))

    @property
    def is_folder(self) -> bool:
        return self.remote.endswith("/")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class DownloadBytes(DownloadCommand):
    """Brings a file of the provider into memory: `execute(DownloadBytes("/golem/output/x")).data`.

    Args:
        remote: the file's absolute path.
    """

    remote: str

    def __init__(self, remote: str | PurePath) -> None:
        _set(self, remote=_file_path(remote, "DownloadBytes.remote"))


@dataclass(frozen=True, slots=True, init=False, repr=False)
class DownloadJson(DownloadCommand):
    """Brings the value of a JSON file of the provider: `execute(DownloadJson("/golem/output/x.json")).json`.

    Args:
        remote: the file's absolute path.
    """

    remote: str

    def __init__(self, remote: str | PurePath) -> None:
        _set(self, remote=_file_path(remote, "DownloadJson.remote"))


def container_url(path: str) -> str:
    """The URL of a path on the provider's side; whatever a name can hold is percent-encoded."""
    return "container:" + quote(path, safe="/")


def _set(command: Command, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(command, name, value)


def _local_path(path: object, what: str) -> str:
    if isinstance(path, PurePath):
        return str(path)
    if not isinstance(path, str):
        raise BadCommand(f"{what} is {shown(path)}: give the path of a file of this machine")
    if not path or "\0" in path:
        raise BadCommand(f"{what} is {path!r}: no file can have this name")
    return path


def _web_url(url: object) -> str:
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise BadCommand(f"UploadFromUrl.url is {url!r}: give a URL that begins with http:// or https://")
    if any(sign.isspace() or not sign.isprintable() for sign in url):
        raise BadCommand(f"UploadFromUrl.url is {url!r}: no URL has such signs; a space is written %20")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise BadCommand(f"UploadFromUrl.url is {url!r}: {error}") from error
    if not named:
        raise BadCommand(f"UploadFromUrl.url is {url!r}: it names no host, as https://example.org/file does")
    return str.__str__(url)


def _size(size: object) -> int | None:
    if size is None or (isinstance(size, int) and not isinstance(size, bool) and size >= 0):
        return size
    raise BadCommand(f"UploadFromUrl.size is {shown(size)}: give the number of bytes of the file")


def _hash(sha256: object) -> str | None:
    if sha256 is None:
        return None
    if isinstance(sha256, str) and _SHA256.fullmatch(sha256):
        return sha256.lower()
    raise BadCommand(
        f"UploadFromUrl.sha256 is {shown(sha256)}: give 64 hexadecimal digits, as sha256sum prints them"
    )


def _file_path(path: object, what: str) -> str:
    checked = _remote_path(path, what)
    if checked.endswith("/"):
        raise BadCommand(f"{what} is {checked!r}, which is a folder: name the file in it")
    return checked


def _remote_path(path: object, what: str) -> str:
    text = path.as_posix() if isinstance(path, PurePath) else path
    if not isinstance(text, str):
        raise BadCommand(f"{what} is {shown(path)}: {_WHERE}")
    if not text.startswith("/"):
        raise BadCommand(f"{what} is {text!r}: {_WHERE}")
    parts = text[1:].removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in text:
        raise BadCommand(f"{what} is {text!r}: write it out, without '.', '..' and '//'")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadCommand(f"{what} is {text!r}: this is no Unicode text and can't be sent") from error
    return str.__str__(text)
