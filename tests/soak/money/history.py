"""Makes the steps of a history happen, and says after each what must not be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import singledispatchmethod
from typing import Any

from simple_golem.background.cancellation import Scope
from simple_golem.engine.payment.account import Account, total
from simple_golem.engine.payment.budget import Budget
from simple_golem.engine.payment.budget_watch import BudgetWatch
from simple_golem.engine.payment.expected_invoices import ExpectedInvoices
from simple_golem.engine.payment.ledger import Ledger
from simple_golem.engine.payment.payments import Payments
from simple_golem.engine.payment.session_journals import SessionJournals
from simple_golem.model.cost import Cost
from simple_golem.model.cost_report import CostReport
from simple_golem.model.events.documents import DebitNoteRefused, InvoiceRefused
from simple_golem.model.events.event import Event
from simple_golem.model.offers.offer import Offer
from simple_golem.model.offers.prices import COEFFICIENTS, CPU, DURATION, EXACT, USAGE_VECTOR
from simple_golem.yagna.values import DebitNote, Invoice, PaymentEvent
from tests.helpers.written_answers.sample_offers import PLATFORM, offered
from tests.soak.money.bank import Bank
from tests.soak.money.hand_time import HandTime, moved_by
from tests.soak.money.steps import (
    OFFERS,
    Agree,
    Create,
    Deliver,
    EndAgreement,
    LookForInvoices,
    SendInvoice,
    SendNote,
    Step,
    TopUp,
    Wait,
)

# A virtual machine itself may use two more, and both sides' clocks and the rounding of binary numbers differ
# a little: as `Account` documents it.
EXTRA_THREADS = 2
SECONDS_MARGIN, FACTOR_MARGIN = Decimal(5), Decimal("1.02")
ROUNDING = Decimal("1.000002")


class Broken(AssertionError):
    """Something in a history that must not be."""


@dataclass
class Deal:
    """One agreement, as its provider and an observer see it.

    Attributes:
        began: when its activity was created; None before that.
        ended: when the agreement ended.
        first_invented: when the first note for an activity that does not exist came before the real one.
        cheats: whether its provider has asked for too much, or for what the library can't check.
        stated: the highest charge by the usage that its notes state, with what this side can't measure.
    """

    name: str
    offer: int
    threads: int
    agreed: float
    began: float | None = None
    known_at: float | None = None
    ended: float | None = None
    counted_until: float = 0.0
    cpu: float = 0.0
    memory: float = 0.0
    charged: float = 0.0
    cheats: bool = False
    first_invented: float | None = None
    invoiced: bool = False

    @property
    def is_known(self) -> bool:
        return self.known_at is not None

    @property
    def prices(self) -> tuple[float, ...]:
        return OFFERS[self.offer][1]

    @property
    def counters(self) -> tuple[str, ...]:
        return OFFERS[self.offer][0]

    @property
    def is_measurable(self) -> bool:
        """Whether only time and processor time cost something."""
        pairs = zip(self.counters, self.prices[:-1], strict=True)
        return all(counter in (DURATION, CPU) or not price for counter, price in pairs)

    def price_of(self, usage: Sequence[float]) -> float:
        return self.prices[-1] + sum(one * price for one, price in zip(usage, self.prices, strict=False))

    def most(self, seconds: float) -> Decimal:
        """The price of one activity that keeps all threads busy for some seconds."""
        rates = dict(zip(self.counters, self.prices[:-1], strict=True))
        threads = self.threads + EXTRA_THREADS
        rate = Decimal(str(rates.get(DURATION, 0.0))) + Decimal(str(rates.get(CPU, 0.0))) * threads
        longest = Decimal(str(seconds)) * FACTOR_MARGIN + SECONDS_MARGIN
        return (Decimal(str(self.prices[-1])) + longest * rate) * ROUNDING + Decimal("1e-11")


class _AtOnce:
    """Does the work of payment workers on the thread that posts it."""

    def post(self, work: Callable[..., object], *args: Any) -> None:
        work(*args)


@dataclass
class History:
    """The payment code of one session, and what has happened.

    Attributes:
        budget_given: GLM, with all top-ups.
        late: the notes that were sent, as events, in order.
    """

    budget_given: Decimal
    deals: list[Deal] = field(default_factory=list)
    late: list[PaymentEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = HandTime()
        self.bank = Bank(self.clock)
        self.events: list[Event] = []
        bank: Any = self.bank
        workers: Any = _AtOnce()
        self.ledger = Ledger(SessionJournals())
        self.budget = Budget(bank, PLATFORM, self.ledger, self.events.append)
        watch = BudgetWatch(self.budget, self.ledger, self.clock, self.events.append, lambda: None)
        self.watch = watch
        expected = ExpectedInvoices(self.ledger, 0.0)
        self.expected = expected
        self.payments = Payments(
            bank,
            self.budget,
            watch,
            self.ledger,
            expected,
            workers,
            Scope(),
            self.events.append,
            lambda agreement, error: None,
        )
        self._fair_documents: set[str] = set()
        self._numbers = 0
        self._told = 0

    # --- steps ------------------------------------------------------------------------------------------

    @singledispatchmethod
    def take(self, step: Step) -> None:
        """Have one step happen; one that is not possible now changes nothing."""
        raise TypeError(f"no step: {step!r}")

    @take.register
    def _(self, step: Wait) -> None:
        self.clock.advance(step.seconds)

    @take.register
    def _(self, step: Agree) -> None:
        counters, prices = OFFERS[step.offer]
        properties = {
            "golem.inf.cpu.threads": step.threads,
            USAGE_VECTOR: list(counters),
            COEFFICIENTS: list(prices),
        }
        name = f"a{len(self.deals)}"
        self.deals.append(Deal(name, step.offer, step.threads, self.clock.monotonic()))
        offer = Offer.of("0xprov", offered(properties))
        self.ledger.add_agreement(Account.made(name, offer, "Hello", f"Hello-{name}", self.clock.now()))

    @take.register
    def _(self, step: Create) -> None:
        deal = self._deal(step.agreement)
        if deal is None or deal.ended is not None or deal.is_known:
            return
        now = self.clock.monotonic()
        asked = max(deal.agreed, now - step.asked_ago)
        began = self._exists(deal, asked)
        deal.known_at = now
        self.ledger.activity_created(deal.name, f"{deal.name}-real", min(asked, began))
        self.expected.expect(deal.name, "prov")
        self.watch.check_soon()

    @take.register
    def _(self, step: EndAgreement) -> None:
        deal = self._deal(step.agreement)
        if deal is not None and deal.ended is None:
            deal.ended = self.clock.monotonic()
            self.ledger.agreement_ended(deal.name, certain=True)

    @take.register
    def _(self, step: SendNote) -> None:
        deal = self._deal(step.agreement)
        if deal is None:
            return
        usage = self._usage(deal, step)
        if step.invented is None:
            self._exists(deal, self.clock.monotonic())
            activity = f"{deal.name}-real"
        else:
            activity = f"{deal.name}-invented-{step.invented}"
            if not deal.is_known and deal.first_invented is None:
                deal.first_invented = self.clock.monotonic()
        amount = deal.price_of(usage) * step.factor
        name = self._new_name("note")
        if step.is_honest:
            deal.charged = max(deal.charged, amount)
            if not deal.cheats:
                self._fair_documents.add(name)
        elif step.factor > 1.0 or max(step.claim) > 1.0 or step.invented is not None:
            deal.cheats = True
        told = {"whole": usage, "none": None, "short": usage[:-1], "long": [*usage, 1.0]}[step.usage]
        self.bank.notes[name] = DebitNote(
            name, deal.name, activity, "0xprov", Decimal(repr(amount)), "RECEIVED", self.clock.now(),
            None, None if told is None else tuple(told),
        )  # fmt: skip
        self.late.append(PaymentEvent("DebitNoteReceivedEvent", name, self.clock.now()))
        for _ in range(step.arrives):
            self.payments.debit_note_event(self.late[-1])

    @take.register
    def _(self, step: Deliver) -> None:
        if self.late:
            self.payments.debit_note_event(self.late[step.note % len(self.late)])

    @take.register
    def _(self, step: SendInvoice) -> None:
        deal = self._deal(step.agreement)
        # The daemon takes one invoice for each agreement, and none for an activity that it does not know.
        if deal is None or deal.began is None or not deal.is_known or deal.invoiced:
            return
        deal.invoiced = True
        usage = self._usage(deal, SendNote(step.agreement))
        deal.charged = max(deal.charged, deal.price_of(usage))
        # The daemon does not take one below what was accepted by notes.
        asked = EXACT.add(Decimal(repr(deal.charged * step.factor)), step.more)
        if step.is_greedy:
            asked = self._most_without_objection(deal)
        amount = max(asked, self.bank.of_agreement[deal.name])
        name = self._new_name("invoice")
        if step.is_honest and not deal.cheats:
            self._fair_documents.add(name)
        self.bank.invoice_documents[name] = Invoice(
            name, deal.name, "0xprov", amount, "RECEIVED", self.clock.now(), PLATFORM
        )
        for _ in range(step.arrives):
            self.payments.invoice_event(PaymentEvent("InvoiceReceivedEvent", name, self.clock.now()))

    @take.register
    def _(self, step: LookForInvoices) -> None:
        self.payments._fetch_expected_invoices()

    @take.register
    def _(self, step: TopUp) -> None:
        self.budget_given = EXACT.add(self.budget_given, step.amount)
        self.budget.top_up(step.amount)
        self.watch.topped_up()
        self.payments.topped_up()

    # --- the provider's side ----------------------------------------------------------------------------

    def _deal(self, number: int) -> Deal | None:
        return self.deals[number % len(self.deals)] if self.deals else None

    def _new_name(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}-{self._numbers}"

    def _exists(self, deal: Deal, since: float) -> float:
        if deal.began is None:
            deal.began = deal.counted_until = since
        return deal.began

    def _usage(self, deal: Deal, step: SendNote) -> list[float]:
        """The usage of the activity until now, and what its provider makes of it."""
        now = self.clock.monotonic() if deal.ended is None else deal.ended
        if deal.began is not None:
            passed = max(0.0, now - deal.counted_until)
            deal.cpu += passed * step.load * (deal.threads + 1)
            deal.counted_until = max(deal.counted_until, now)
            deal.memory = max(deal.memory, step.memory)
        seconds = 0.0 if deal.began is None else max(0.0, now - deal.began)
        measured = {DURATION: seconds * step.claim[0], CPU: deal.cpu * step.claim[1]}
        return [measured.get(counter, deal.memory) for counter in deal.counters]

    def _most_without_objection(self, deal: Deal) -> Decimal:
        """What a provider could find out that knows this library, within a millionth."""
        account = self.ledger.find(deal.name)
        assert account is not None
        least, most = Decimal(0), Decimal(50)
        while most - least > least * Decimal("1e-6") + Decimal("1e-9"):
            middle = (least + most) / 2
            if self.ledger.objection_to_invoice(account, middle) is None:
                least = middle
            else:
                most = middle
        return least

    # --- what must always be ----------------------------------------------------------------------------

    def check(self) -> None:
        """Raises: Broken: something is that must not be."""
        report = CostReport(
            tuple(account.entry() for account in self.ledger.accounts()),
            Cost(self.ledger.cost(), "tGLM", "hoodi", True),
        )
        if report.total.amount != self.bank.spent:
            raise Broken(f"the report says {report.total.amount}, accepted were {self.bank.spent}")
        if total(entry.amount for entry in report.entries) != report.total.amount:
            raise Broken("the entries of the report are not its sum")
        if self.bank.spent > self.budget_given or self.bank.total != self.budget_given:
            raise Broken(f"{self.bank.spent} of {self.bank.total} spent, where {self.budget_given} was given")
        if any(times > 1 for times in self.bank.accepts.values()):
            raise Broken(f"something was accepted twice: {self.bank.accepts}")
        for deal in self.deals:
            self._check_bound(deal)
        self._check_refusals()

    def _check_bound(self, deal: Deal) -> None:
        if not deal.is_measurable:
            return  # the other usage can't be measured from here
        until = self.clock.monotonic() if deal.ended is None else deal.ended
        most = deal.most(until - deal.agreed)
        if deal.first_invented is not None:
            # Until the answer to the request for the real one, either may be it.
            known_at = until if deal.known_at is None else deal.known_at
            most += deal.most(known_at - deal.agreed)
        accepted = self.bank.of_agreement[deal.name]
        if accepted > most:
            raise Broken(f"{accepted} was accepted for {deal}, where {most} is the most")

    def _check_refusals(self) -> None:
        for event in self.events[self._told :]:
            if isinstance(event, (DebitNoteRefused, InvoiceRefused)):
                self._check_refusal(event)
        self._told = len(self.events)

    def _check_refusal(self, event: DebitNoteRefused | InvoiceRefused) -> None:
        deal = next(deal for deal in self.deals if deal.name == event.agreement_id)
        fair = self._fair_documents & {*self.bank.notes, *self.bank.invoice_documents}
        same = [
            name
            for name in fair
            if (self.bank.notes.get(name) or self.bank.invoice_documents[name]).amount == event.amount
            and (self.bank.notes.get(name) or self.bank.invoice_documents[name]).agreement_id == deal.name
        ]
        if same and not deal.cheats:
            raise Broken(f"{same} of an honest provider was refused: {event.reason}")


def replay(budget: Decimal, steps: Sequence[Step]) -> History:
    """Have all steps of a history happen, with a check after each; returns how it has ended.

    Raises:
        Broken: something is that must not be.
    """
    history = History(budget)
    with moved_by(history.clock):
        history.budget.allocate(budget)
        for step in steps:
            history.take(step)
            history.check()
        history.clock.advance(60)
        history.payments._fetch_expected_invoices()
        history.check()
    assert math.isfinite(history.clock.monotonic())
    return history
