"""Whether an activity lives."""

from __future__ import annotations

from enum import Enum


class Vitality(Enum):
    """What the provider's daemon says of an activity."""

    ALIVE = "it lives"
    UNRESPONSIVE = "its exe-unit does not report any more"
    SILENT = "the provider does not answer"
    GONE = "it has ended, or is about to end"
    UNKNOWN = "the requestor's own daemon does not answer"
