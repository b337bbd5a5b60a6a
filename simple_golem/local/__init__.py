"""The local Golem network: `LocalGolem` starts it, habits say how its providers behave."""

from .chain_direction import ChainDirection
from .direction import ProviderDirection
from .habits import Answer, FailingCommands, Price, ProviderHabits
from .network import LocalGolem
from .wire import DaemonAddress, LocalProvider

__all__ = [
    "Answer",
    "ChainDirection",
    "DaemonAddress",
    "FailingCommands",
    "LocalGolem",
    "LocalProvider",
    "Price",
    "ProviderDirection",
    "ProviderHabits",
]
