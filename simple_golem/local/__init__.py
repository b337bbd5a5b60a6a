"""The local Golem network: `LocalGolem` starts it, habits say how its providers behave."""

from .control.as_real import AsReal
from .control.chain_control import ChainControl
from .control.habits import Answer, FailingCommands, Price, ProviderHabits
from .control.messages import DaemonAddress, LocalProvider
from .control.provider_control import ProviderControl
from .control.strikes import Strike
from .local_golem import LocalGolem

__all__ = [
    "Answer",
    "AsReal",
    "ChainControl",
    "DaemonAddress",
    "FailingCommands",
    "LocalGolem",
    "LocalProvider",
    "Price",
    "ProviderControl",
    "ProviderHabits",
    "Strike",
]
