"""A provider that is lost while `shutdown()` runs: the loss is the failure, not what follows from it."""

from __future__ import annotations

import threading

from simple_golem import Golem, Service
from simple_golem.errors import ActivityLost
from simple_golem.testing import FakeYagna

SECONDS = 20


class Parting(Service):
    """Waits in its `shutdown()`."""

    def __init__(self) -> None:
        self.in_shutdown = threading.Event()

    def shutdown(self) -> None:
        self.in_shutdown.set()
        self.wait(600)


class Clumsy(Parting):
    """Has a mistake of its own there, too."""

    def shutdown(self) -> None:
        try:
            super().shutdown()
        finally:
            raise LookupError("a mistake of ours")


def lost_in_shutdown(losing: FakeYagna, cls: type[Parting]) -> BaseException | None:
    """What the failure of an instance is whose provider is lost in `shutdown()`."""
    with Golem(budget=1, raise_failures=False) as golem:
        cluster = golem.run_service(cls)
        (instance,) = cluster.wait_until_running(SECONDS)
        cluster.stop(wait=False)
        service = instance.service
        assert isinstance(service, cls)
        assert service.in_shutdown.wait(SECONDS)
        (provider,) = (one for one in losing.providers if one.agreements)
        provider.terminate_agreement("no more")
        assert cluster.wait(SECONDS)
        assert [state.value for state, _ in instance.history][-2:] == ["stopping", "terminated"]
        return instance.failure


def test_the_loss_is_the_failure(losing: FakeYagna) -> None:
    failure = lost_in_shutdown(losing, Parting)
    assert type(failure) is ActivityLost
    assert "no more" in str(failure)


def test_a_mistake_of_the_user_is_reported_all_the_same(losing: FakeYagna) -> None:
    assert isinstance(lost_in_shutdown(losing, Clumsy), LookupError)
