"""Run programs and services on the Golem Network from plain, blocking Python.

    from simple_golem import Golem

    with Golem(budget=1) as golem:
        machine = golem.rent()
        print(machine.shell("uname -a"))

What there is; `help(Golem)`, or `help(Golem.rent)`, says more:

    Golem                           a session: rents machines, runs services, makes pools and networks
    Service                         a class of yours derives from it: what runs on a provider, and when
    Cluster, Instance               what runs, and takes commands from your script
    Pool, PoolStats                 many items on few machines: an executor of `concurrent.futures`
    Run, Deploy, Start              commands
    Upload, Download, …             commands that send files and fetch them
    Result, Results, OutputLine     what commands have answered
    vm, Payload, constraint         what a provider must have
    Offer, Prices, Strategy, Terms  which providers, and at what price
    Explanation, Obstacle           why so few providers answer
    Cost, CostReport, CostEntry     what was spent
    Usage                           what an instance has used
    Network, HttpProxy, TcpProxy    connections to programs on providers
    ServiceState, SuspendedInstance states, and instances that a later script resumes
    GolemError, CommandFailed, …    errors; all are in `simple_golem.errors`

All events are in `simple_golem.events`, the local network in `simple_golem.local`, and a network in memory
for tests in `simple_golem.testing`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import CommandFailed, GolemError, ServiceFailed, ServiceStopped
from .golem import Golem
from .model.commands.commands import Command, Deploy, Run, Start
from .model.commands.output import OutputLine
from .model.commands.results import Result, Results
from .model.cost import Cost
from .model.offers.offer import Offer
from .model.offers.strategy import Strategy
from .model.offers.terms import Terms
from .model.payload import vm
from .model.payload.constraints import constraint
from .model.payload.payload import Payload
from .model.service.service import Service
from .model.service.states import ServiceState
from .model.service.suspended import SuspendedInstance

if TYPE_CHECKING:
    from .engine.network.network_handle import Network
    from .model.commands.transfers import (
        Download,
        DownloadBytes,
        DownloadJson,
        Upload,
        UploadBytes,
        UploadFromUrl,
        UploadJson,
    )
    from .model.cost_report import CostEntry, CostReport
    from .model.offers.explanation import Explanation, Obstacle
    from .model.offers.prices import Prices
    from .model.pool_stats import PoolStats
    from .model.usage import Usage
    from .services.cluster import Cluster
    from .services.instance import Instance
    from .services.pool.pool import Pool
    from .services.proxies.http_proxy import HttpProxy
    from .services.proxies.tcp_proxy import TcpProxy

__all__ = [
    "Cluster",
    "Command",
    "CommandFailed",
    "Cost",
    "CostEntry",
    "CostReport",
    "Deploy",
    "Download",
    "DownloadBytes",
    "DownloadJson",
    "Explanation",
    "Golem",
    "GolemError",
    "HttpProxy",
    "Instance",
    "Network",
    "Obstacle",
    "Offer",
    "OutputLine",
    "Payload",
    "Pool",
    "PoolStats",
    "Prices",
    "Result",
    "Results",
    "Run",
    "Service",
    "ServiceFailed",
    "ServiceState",
    "ServiceStopped",
    "Start",
    "Strategy",
    "SuspendedInstance",
    "TcpProxy",
    "Terms",
    "Upload",
    "UploadBytes",
    "UploadFromUrl",
    "UploadJson",
    "Usage",
    "__version__",
    "constraint",
    "vm",
]

# Loaded when a Golem needs them or when somebody names them.
_LOADED_WHEN_NAMED = {
    "Cluster": "services.cluster",
    "Instance": "services.instance",
    "Network": "engine.network.network_handle",
    "HttpProxy": "services.proxies.http_proxy",
    "TcpProxy": "services.proxies.tcp_proxy",
    "Pool": "services.pool.pool",
    "Upload": "model.commands.transfers",
    "UploadBytes": "model.commands.transfers",
    "UploadFromUrl": "model.commands.transfers",
    "UploadJson": "model.commands.transfers",
    "Download": "model.commands.transfers",
    "DownloadBytes": "model.commands.transfers",
    "DownloadJson": "model.commands.transfers",
    "CostReport": "model.cost_report",
    "CostEntry": "model.cost_report",
    "Prices": "model.offers.prices",
    "Explanation": "model.offers.explanation",
    "Obstacle": "model.offers.explanation",
    "PoolStats": "model.pool_stats",
    "Usage": "model.usage",
}


def __getattr__(name: str) -> Any:
    module = _LOADED_WHEN_NAMED.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LOADED_WHEN_NAMED})
