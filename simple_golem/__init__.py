"""Run services on the Golem Network from plain, blocking Python."""

from ._version import __version__
from .cluster import Cluster
from .errors import CommandFailed, GolemError, ServiceFailed, ServiceStopped
from .golem import Golem
from .instance import Instance
from .model import vm
from .model.commands import Command, Deploy, Run, Start
from .model.constraints import constraint
from .model.cost import Cost
from .model.cost_report import CostReport
from .model.offer import Offer
from .model.output import OutputLine
from .model.payload import Payload
from .model.results import Result, Results
from .model.service import Service
from .model.states import ServiceState
from .model.strategy import Strategy
from .model.suspended import SuspendedInstance
from .model.terms import Terms
from .model.transfers import (
    Download,
    DownloadBytes,
    DownloadJson,
    Upload,
    UploadBytes,
    UploadFromUrl,
    UploadJson,
)

__all__ = [
    "Cluster",
    "Command",
    "CommandFailed",
    "Cost",
    "CostReport",
    "Deploy",
    "Download",
    "DownloadBytes",
    "DownloadJson",
    "Golem",
    "GolemError",
    "Instance",
    "Offer",
    "OutputLine",
    "Payload",
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
    "Terms",
    "Upload",
    "UploadBytes",
    "UploadFromUrl",
    "UploadJson",
    "__version__",
    "constraint",
    "vm",
]
