"""Run services on the Golem Network from plain, blocking Python."""

from ._version import __version__
from .cluster import Cluster
from .errors import CommandFailed, GolemError, ServiceFailed, ServiceStopped
from .golem import Golem
from .instance import Instance
from .model import vm
from .model.commands import Run
from .model.payload import Payload
from .model.results import Result, Results
from .model.service import Service
from .model.states import ServiceState
from .model.strategy import Strategy
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
    "CommandFailed",
    "Download",
    "DownloadBytes",
    "DownloadJson",
    "Golem",
    "GolemError",
    "Instance",
    "Payload",
    "Result",
    "Results",
    "Run",
    "Service",
    "ServiceFailed",
    "ServiceState",
    "ServiceStopped",
    "Strategy",
    "Terms",
    "Upload",
    "UploadBytes",
    "UploadFromUrl",
    "UploadJson",
    "__version__",
    "vm",
]
