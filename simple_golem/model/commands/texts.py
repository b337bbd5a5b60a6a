"""Arguments of commands as text that any runtime can take."""

from __future__ import annotations

from decimal import Decimal
from pathlib import PurePath

from ...errors import BadCommand


def text_of(value: object, what: str) -> str:
    """Return an argument as plain text.

    Args:
        value: text, a number or a path.
        what: its name, for the message.

    Raises:
        BadCommand: it is anything else, or can't be handed to a program.
    """
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, PurePath):
        text = value.as_posix()
    elif isinstance(value, int) and not isinstance(value, bool):
        text = int.__repr__(value)  # also for enums, whose str() differs between versions of Python
    elif isinstance(value, float):
        text = float.__repr__(value)
    elif isinstance(value, Decimal):
        text = format(value, "f")
    else:
        raise BadCommand(f"{what} is {short(value)}: only text, numbers and paths can be given{_hint(value)}")
    if "\0" in text:
        raise BadCommand(f"{what} is {short(text)}: a NUL character can't be handed to a program")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadCommand(f"{what} is {short(text)}: this is no Unicode text and can't be sent") from error
    return text


def short(value: object, limit: int = 200) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _hint(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"; several are written one by one, or with a star: *{short(value, 60)}"
    if isinstance(value, (bytes, bytearray)):
        return "; decode bytes first"
    if isinstance(value, bool):
        return "; write the word it should be, e.g. 'true'"
    return ""
