"""Which provider an instance asks for an agreement."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ...background.cancellation import Scope
from ...yagna.values import Proposal
from .demand import Demand
from .offer_book import OfferBook, Pause
from .providers import Conduct, Providers


class Chooser:
    """Takes the best provider for each instance; one object for each Golem, used by any thread.

    Args:
        providers: those of the Golem.
    """

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._lock = threading.Lock()
        # One entry for each instance that waits for a provider.
        self._books: list[OfferBook] = []

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
            BadStrategy: the user's functions have failed, and no offer could be rated.
        """
        book = demand.offers
        with self._listed(book), book.queued() as changed:
            forget = scope.on_cancel(changed.set)
            try:
                while True:
                    # Cleared first: it is set again by all that happens from here on.
                    changed.clear()
                    scope.check()
                    demand.counter_best_offers()
                    choice = book.take_best(changed)
                    if not isinstance(choice, Pause):
                        break
                    seconds = [choice.seconds, demand.renew_if_needed() if choice.is_first else None]
                    changed.wait(min((one for one in seconds if one is not None), default=None))
            finally:
                forget()
        # Other clusters may have relied on this provider, or on the GLM that it needs.
        self.look_again()
        return choice

    @contextmanager
    def _listed(self, book: OfferBook) -> Iterator[None]:
        """Tell the book about changes outside of it, as long as this is open."""
        with self._lock:
            self._books.append(book)
        try:
            yield
        finally:
            with self._lock:
                self._books.remove(book)

    def occupy(self, provider_id: str) -> None:
        """Note that a provider has an agreement with this Golem already."""
        self._providers.occupy(provider_id)

    def release(self, provider_id: str, conduct: Conduct) -> None:
        """Note that a provider has no agreement with this Golem any more, so that it can be taken again.

        Args:
            provider_id: the provider.
            conduct: how it has behaved.
        """
        self._providers.release(provider_id, conduct)
        self.look_again()

    def look_again(self) -> None:
        """Have all instances look again: something has changed that decides which providers can be taken."""
        with self._lock:
            books = set(self._books)
        for book in books:
            book.look_again()
