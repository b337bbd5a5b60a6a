"""Which provider an instance asks for an agreement."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ...background.cancellation import Scope
from ...yagna.values import Proposal
from .demand import Demand
from .offer_book import OfferBook, Pause
from .providers import Providers


class Chooser:
    """Takes the best provider for each instance; one object for each Golem, used by any thread.

    Args:
        providers: those of the Golem.
    """

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._lock = threading.Lock()
        # One entry for each instance that waits for a provider.
        self._waiting_at: list[OfferBook] = []

    def choose(self, demand: Demand, scope: Scope) -> Proposal:
        """Block until a free provider has answered `demand`, and take the best one.

        Args:
            demand: the demand of the instance's cluster.
            scope: cancelling it ends the search.

        Returns:
            The answer of the provider, which is occupied until `release`.

        Raises:
            ScopeEnded: `scope` was cancelled.
            OutOfBudget: none of those that have offered can be paid from what is left of the budget.
        """
        book = demand.offers
        with self._waiting(book, scope):
            while True:
                # Read first: a change from here on ends the wait at once.
                version = book.version
                scope.check()
                demand.counter_best_offers()
                choice = book.take_best()
                if not isinstance(choice, Pause):
                    break
                book.wait_for_change(version, choice.seconds)
        # Others may have relied on this provider, or on the GLM that it needs.
        self._wake_all()
        return choice

    @contextmanager
    def _waiting(self, book: OfferBook, scope: Scope) -> Iterator[None]:
        with self._lock:
            self._waiting_at.append(book)
        forget = scope.on_cancel(book.wake)
        try:
            with book.buying():
                yield
        finally:
            forget()
            with self._lock:
                self._waiting_at.remove(book)

    def occupy(self, provider_id: str) -> None:
        """Note that a provider has an agreement with this Golem already."""
        self._providers.occupy(provider_id)

    def release(self, provider_id: str, *, failed: bool) -> None:
        """Note that a provider has no agreement with this Golem any more, so that it can be taken again.

        Args:
            provider_id: the provider.
            failed: True lowers its rank from now on.
        """
        self._providers.release(provider_id, failed=failed)
        self._wake_all()

    def topped_up(self) -> None:
        """Look again: with a larger budget, providers can be paid that were too expensive."""
        self._wake_all()

    def _wake_all(self) -> None:
        with self._lock:
            books = set(self._waiting_at)
        for book in books:
            book.wake()
