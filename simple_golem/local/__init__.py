"""The local Golem network: `LocalGolem` starts it, habits say how its providers behave."""

from .local_golem import LocalGolem
from .provider.habits import Answer, FailingCommands, Price, ProviderHabits
from .supervisor.chain_control import ChainControl
from .supervisor.messages import DaemonAddress, LocalProvider
from .supervisor.provider_control import ProviderControl

__all__ = [
    "Answer",
    "ChainControl",
    "DaemonAddress",
    "FailingCommands",
    "LocalGolem",
    "LocalProvider",
    "Price",
    "ProviderControl",
    "ProviderHabits",
]
