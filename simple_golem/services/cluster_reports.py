"""What is said of a cluster: what the market has answered, and which instances failed."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ServiceFailed
from .cluster_context import ClusterContext
from .instance import Instance


def market_report(context: ClusterContext) -> str:
    """Say how many offers were seen, and why providers were not taken."""
    subnet, summary = context.session.settings.subnet_tag, context.demand.offers.summary()
    report = f"{summary.seen} offer{'' if summary.seen == 1 else 's'} seen in the subnet {subnet!r}"
    if not summary.seen:
        question = "is that the right subnet, and does the payload ask for what anybody has?"
        return f"{report}: {question}"
    report += f", {summary.occupied} busy"
    rejected = "".join(f", {number} rejected because: {why}" for why, number in summary.rejections)
    return report + rejected


def service_failed(instances: Sequence[Instance], what: str) -> ServiceFailed:
    """Return an error that names each of the instances that failed; the cause of the first one is chained."""
    for one in instances:
        one.failure_told = True
    causes = [(one, one.failure) for one in instances if one.failure is not None]
    lines = "".join(
        f"\n  {one.name}{f' on {one.provider_name}' if one.provider_name else ''}: "
        f"{type(cause).__name__}: {cause}"
        for one, cause in causes
    )
    error = ServiceFailed(what + lines)
    if causes:
        error.__cause__ = causes[0][1]
    return error
