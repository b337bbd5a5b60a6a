"""An offer book: which answer is the best, which offer is countered next, and what was rejected."""

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest

from simple_golem.engine.market.offer_book import OfferBook, Pause
from simple_golem.engine.market.providers import Providers
from simple_golem.errors import OutOfBudget
from simple_golem.model.offers.strategy import ExceededLimit
from simple_golem.yagna.values import Proposal
from tests.helpers.written_answers.sample_offers import Purse, rated
from tests.unit.conftest import eventually

AT_ONCE = 5.0


class Book(OfferBook):
    """A book with what a test looks at beside it."""

    def __init__(self, budget: str = "1", collect_seconds: float = 1.0) -> None:
        self.purse = Purse(budget)
        self.providers = Providers()
        self.reported: list[str] = []
        super().__init__(collect_seconds, self.providers, self.purse, self.reported.append)

    def look(self) -> Proposal | Pause:
        """Look as the first of the queue, or as the only one."""
        with self.queued() as alone:
            return self.take_best(self._queue[0] if self._queue else alone)


@pytest.fixture
def book() -> Book:
    return Book()


def names(*lists: list) -> list[str]:
    return [one.provider_id for some in lists for one in some]


def taken(book: Book) -> str:
    chosen = book.look()
    assert isinstance(chosen, Proposal)
    return chosen.issuer_id


# the best answer


def test_the_best_answer_is_taken_and_its_glm_are_reserved(book: Book) -> None:
    for provider, worth in (("p1", 1.0), ("p2", 3.0), ("p3", 2.0)):
        book.add_draft(rated(provider, worth, needs="0.3"))
    assert [taken(book) for _ in range(3)] == ["p2", "p3", "p1"]
    assert book.drafts() == {}
    assert len(book.purse.reserved) == book.summary().occupied == 3


def test_the_best_that_can_be_paid_is_taken(book: Book) -> None:
    book.add_draft(rated("dear", 9.0, needs="1.5"))
    book.add_draft(rated("cheap", 1.0, needs="0.5"))
    assert taken(book) == "cheap"
    assert list(book.drafts()) == ["dear"]


def test_a_provider_that_another_cluster_takes_at_the_same_time_is_passed_over(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = book.providers.ranks

    def ranks_then_taken(worths: dict[str, float]) -> dict[str, tuple[float, float]]:
        seen = ranks(worths)
        book.providers.occupy("p1")
        return seen

    monkeypatch.setattr(book.providers, "ranks", ranks_then_taken)
    book.add_draft(rated("p1", 9.0))
    book.add_draft(rated("p2", 1.0))
    assert taken(book) == "p2"
    assert list(book.purse.reserved) == ["p2"]


def test_glm_that_another_cluster_reserves_at_the_same_time_are_not_reserved_twice(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = book.purse.left

    def left_then_reserved() -> Decimal:
        seen = left()
        book.purse.reserved["another"] = Decimal("0.9")
        return seen

    monkeypatch.setattr(book.purse, "left", left_then_reserved)
    book.add_draft(rated("p1", needs="0.5"))
    with pytest.raises(OutOfBudget):
        book.look()
    assert list(book.purse.reserved) == ["another"]
    assert list(book.drafts()) == ["p1"]
    assert book.summary().occupied == 0


def test_without_an_answer_there_is_no_limit_to_the_pause(book: Book) -> None:
    assert book.look() == Pause(None)


def test_the_pause_is_short_while_offers_are_left(book: Book) -> None:
    book.add_offer(rated("p1"))
    assert book.look() == Pause(1.0)


def test_the_first_offers_are_collected_until_all_have_answered() -> None:
    book = Book(collect_seconds=10.0)
    for provider in ("p1", "p2"):
        book.offer_received(provider)
    with book.queued():
        assert names(*(book.add_offer(rated(provider)) for provider in ("p1", "p2"))) == ["p1", "p2"]
        book.countered("p2", "R-2a")
        for _ in range(2):
            pause = book.look()
            assert isinstance(pause, Pause)
            assert pause.seconds is not None
            assert pause.seconds > 0.3
            book.add_draft(rated("p1", worth=0.5))
        book.counter_rejected("R-2a", "busy")
        eventually(lambda: isinstance(book.look(), Proposal), AT_ONCE)


# the next to counter


def test_no_offer_is_countered_while_nobody_looks_for_a_provider(book: Book) -> None:
    assert book.add_offer(rated("p1")) == []
    assert book.next_to_counter() == []
    with book.queued():
        assert names(book.next_to_counter()) == ["p1"]
        assert book.next_to_counter() == []


def test_the_best_offers_are_countered_and_others_only_when_they_are_needed(book: Book) -> None:
    for number in (3, 6, 1, 5, 2, 4):
        book.add_offer(rated(f"p{number}", worth=10 - number))
    with book.queued():
        assert names(book.next_to_counter()) == ["p1", "p2", "p3", "p4"]
        book.countered("p2", "R-2a")
        assert book.next_to_counter() == []
        book.counter_rejected("R-2a", "busy")
        assert names(book.next_to_counter()) == ["p5"]
        with book.queued():
            assert names(book.next_to_counter()) == ["p6"]


def test_a_better_offer_is_countered_although_there_are_enough(book: Book) -> None:
    with book.queued():
        for number in range(4):
            assert len(book.add_offer(rated(f"p{number}"))) == 1
        assert book.add_offer(rated("worse", worth=0.5)) == []
        assert names(book.add_offer(rated("better", worth=2.0))) == ["better"]


def test_answers_of_occupied_providers_are_not_relied_on(book: Book) -> None:
    for number in range(4):
        book.add_draft(rated(f"p{number}", worth=9.0))
    book.add_offer(rated("q"))
    with book.queued():
        assert book.next_to_counter() == []
        book.providers.occupy("p0")
        assert names(book.next_to_counter()) == ["q"]


def test_the_newest_offer_and_the_newest_answer_of_a_provider_count(book: Book) -> None:
    for worth in (1.0, 2.0):
        book.add_offer(rated("p1", worth))
        book.add_draft(rated("p2", worth))
    with book.queued():
        assert [one.worth for one in book.next_to_counter()] == [2.0]
    assert [one.worth for one in book.drafts().values()] == [2.0]


def test_offers_that_can_not_be_paid_wait_for_a_top_up(book: Book) -> None:
    book.add_offer(rated("dear", worth=9.0, needs="1.5"))
    book.add_offer(rated("cheap"))
    with book.queued():
        assert names(book.next_to_counter()) == ["cheap"]
        book.purse.amount += 1
        assert names(book.next_to_counter()) == ["dear"]


# those that wait in the queue


def test_the_first_of_the_queue_is_told_of_each_change_and_the_others_wait(book: Book) -> None:
    def told() -> bool:
        was_set = first.is_set()
        first.clear()
        return was_set

    with book.queued() as first, book.queued() as second:
        assert not told()
        for change in (
            lambda: book.add_offer(rated("p1")),
            lambda: book.add_draft(rated("p1")),
            lambda: book.counter_rejected("R-2", "busy"),
            lambda: book.turned_down("p2", "no"),
            book.look_again,
        ):
            change()
            assert told()
        assert not second.is_set()
        assert book.take_best(second) == Pause(None, is_first=False)
        assert isinstance(book.take_best(first), Proposal)


def test_the_next_of_the_queue_is_told_when_the_first_leaves(book: Book) -> None:
    with book.queued() as third:
        pass
    assert not third.is_set()
    with contextlib.ExitStack() as first_leaves:
        first_leaves.enter_context(book.queued())
        with book.queued() as second:
            assert not second.is_set()
            first_leaves.close()
            assert second.is_set()
            book.add_draft(rated("p1"))
            assert isinstance(book.take_best(second), Proposal)


# rejections


def test_rejections_are_counted_by_their_reasons_and_reported(book: Book) -> None:
    for number, reason in enumerate(["busy", "busy", "late", "no", "no", "no"]):
        book.counter_rejected(f"R-{number}", reason)
    book.turned_down("p1", "late")
    assert book.rejections == {"no": 3, "busy": 2, "late": 2}
    assert book.summary().rejections == (("no", 3), ("busy", 2))
    assert book.reported == ["busy", "busy", "late", "no", "no", "no", "late"]


def test_price_limits_are_told_as_long_as_they_refuse_all_providers(book: Book) -> None:
    dear, dearer = (ExceededLimit("max_price_per_hour", Decimal(1), Decimal(price)) for price in (2, 3))
    assert book.summary().exceeded_limits == ()
    for provider, exceeded in (("p1", dearer), ("p2", dear)):
        book.proposal_received(provider)
        assert book.summary().exceeded_limits == ()
        book.turned_down(provider, "too dear", exceeded)
    assert book.summary().exceeded_limits == (dear,)
    book.proposal_received("p2")
    book.turned_down("p2", "on the list of blocked providers")  # it has lowered its price
    assert book.summary().exceeded_limits == ()
    book.turned_down("p2", "too dear", dear)
    assert book.summary().exceeded_limits == (dear,)
    book.add_offer(rated("p2"))
    assert book.summary().exceeded_limits == ()


def test_a_rejection_is_reported_when_the_lock_is_free() -> None:
    """A listener may be slow, and may ask the book itself."""
    seen: list[int] = []
    book = Book("0")
    book._on_rejection = lambda reason: seen.append(book.summary().seen)
    book.add_draft(rated("p1", needs="1"))
    book.turned_down("p2", "no")
    with pytest.raises(OutOfBudget):
        book.look()
    assert seen == [1, 1]


def test_a_provider_that_is_too_expensive_for_the_budget_is_a_rejection_once(book: Book) -> None:
    book.add_offer(rated("p1", needs="2"))
    with book.queued():
        for _ in range(3):
            assert book.next_to_counter() == []
    assert book.reported == ["Starting and ending would cost 2 GLM, and 1 GLM of the budget are left"]


# the end of the budget


def test_there_is_an_error_where_nobody_can_be_paid(book: Book) -> None:
    for provider, needs in (("p1", "3"), ("p2", "2")):
        book.add_offer(rated(provider, needs=needs))
    with pytest.raises(OutOfBudget, match=r"cost 2 GLM, and 1 GLM of the budget are left.* top it up"):
        book.look()


def test_the_error_does_not_wait_for_the_answers_of_providers_whose_prices_are_known() -> None:
    """Else, with slow providers, an instance would look on until those that run have used the budget up."""
    book = Book(collect_seconds=0)
    with book.queued():
        for provider in ("p1", "slow", "refuses"):
            book.offer_received(provider)
            assert names(book.add_offer(rated(provider, needs="0.6"))) == [provider]
        book.countered("refuses", "R-3a")
        book.counter_rejected("R-3a", "busy")
        book.add_draft(rated("p1", needs="0.6"))
        assert taken(book) == "p1"
        with pytest.raises(OutOfBudget, match=r"cost 0.6 GLM, and 0.4 GLM of the budget are left"):
            book.look()


def test_a_provider_whose_price_is_not_known_may_be_payable() -> None:
    book = Book(collect_seconds=0)
    book.add_draft(rated("p1", needs="2"))
    book.offer_received("unrated")
    assert book.look() == Pause(None)
    book.turned_down("unrated", "no")
    with pytest.raises(OutOfBudget):
        book.look()


def test_a_provider_that_was_turned_down_is_none_that_could_be_paid(book: Book) -> None:
    book.add_offer(rated("cheap", needs="0.1"))
    book.add_draft(rated("dear", needs="2"))
    assert book.look() == Pause(1.0)
    book.turned_down("cheap", "its answer has other terms")
    with pytest.raises(OutOfBudget, match="cost 2 GLM"):
        book.look()


def test_the_search_goes_on_after_all_offers_were_rejected() -> None:
    book = Book(collect_seconds=0)
    book.offer_received("p1")
    book.turned_down("p1", "no")
    assert book.look() == Pause(None)


def test_a_demand_that_is_published_again_begins_with_an_empty_book(book: Book) -> None:
    book.add_offer(rated("p1"))
    book.add_draft(rated("p2"))
    book.clear()
    with book.queued():
        assert book.next_to_counter() == []
    assert book.drafts() == {}
    assert book.summary().seen == 2


def test_there_is_hope_while_somebody_can_be_asked_or_is_expected_to_answer(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simple_golem.engine.market.awaited_answers.ANSWER_SECONDS", 0.0)
    assert not book.has_hope()
    book.offer_received("p1")
    assert book.has_hope()
    book.add_offer(rated("p1"))
    assert book.has_hope()
    with book.queued():
        assert book.next_to_counter() != []
    book.add_draft(rated("p1"))
    assert book.has_hope()
    book.providers.occupy("p1")
    assert not book.has_hope()
    book.add_offer(rated("p2", needs="100"))
    assert not book.has_hope()
