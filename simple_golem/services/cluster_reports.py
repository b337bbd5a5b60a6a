"""What is said of a cluster: what the market has answered, and which instances failed."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.life.user_traceback import first_line, place_of
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
    rejected = "".join(
        f", {number} rejected because: {why or 'no reason given'}" for why, number in summary.rejections
    )
    return report + rejected


def service_failed(instances: Sequence[Instance], what: str) -> ServiceFailed:
    """Return an error that names each of the instances that failed, in a line."""
    for one in instances:
        one.failure_told = True
    failed = [(one, one.failure) for one in instances if one.failure is not None]
    lines = "".join(f"\n  {_line_about(one, failure)}" for one, failure in failed)
    if not lines and instances:
        lines = f" {instances[0].record.stop_scope.reason or 'they were stopped'}"
    error = ServiceFailed(f"{what}:{lines}", [failure for _, failure in failed])
    for one, failure in failed:
        if failure is one.record.waited_in_vain:
            error.__cause__ = failure  # nobody has reported it
            break
    return error


def _line_about(instance: Instance, failure: BaseException) -> str:
    if failure is instance.record.waited_in_vain:
        return f"{instance.name} has never run"
    where = f" on {instance.provider_name}" if instance.provider_name else ""
    place = place_of(failure)
    return f"{instance.name}{where}{f', {place}' if place else ''}: {first_line(failure)}"
