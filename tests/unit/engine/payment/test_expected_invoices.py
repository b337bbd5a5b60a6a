"""The wait for invoices at the end of a session."""

from __future__ import annotations

import threading
import time

from simple_golem.engine.payment.expected_invoices import ExpectedInvoices
from simple_golem.engine.payment.ledger import Ledger
from simple_golem.engine.payment.session_journals import SessionJournals

MANY = 300


def expecting(count: int) -> ExpectedInvoices:
    expected = ExpectedInvoices(Ledger(SessionJournals()), 0.0)
    for number in range(count):
        expected.expect(f"a{number}", f"provider {number}")
    return expected


def test_invoices_that_come_one_after_the_other_do_not_have_all_of_them_listed_each_time() -> None:
    expected, looks = expecting(MANY), 0

    def look() -> None:
        nonlocal looks
        looks += 1

    def answer_all() -> None:
        for number in range(MANY):
            expected.answered(f"a{number}")
            time.sleep(0.001)

    answering = threading.Thread(target=answer_all)
    answering.start()
    expected.wait(time.monotonic() + 60, look)
    answering.join()
    # One after each pause, and these become longer.
    assert looks < MANY / 10


def test_the_wait_ends_with_the_last_invoice_and_when_it_is_shortened() -> None:
    expected = expecting(1)
    threading.Timer(0.2, expected.answered, ["a0"]).start()
    began = time.monotonic()
    expected.wait(began + 60, lambda: None)
    assert time.monotonic() - began < 10

    expected = expecting(1)
    threading.Timer(0.2, lambda: expected.shorten(time.monotonic() + 0.1)).start()
    began = time.monotonic()
    expected.wait(began + 60, lambda: None)
    assert time.monotonic() - began < 10
