"""The invoices and debit notes of some agreements, as the daemon lists them.

The daemon can't be asked for single agreements. It never cuts a list that is asked for without a number: it
has all that the identity ever got, or all after a time, by the clocks of the providers.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from decimal import Decimal

from ...background.cancellation import Scope
from ...errors import GolemError
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat
from ...yagna.values import DebitNote, Invoice
from .account import Account

logger = logging.getLogger(__name__)

# A provider's clock may be wrong by so much.
_CLOCK_ERROR = timedelta(days=1)
# An invoice follows the last debit note of its agreement within this time.
_RECENT = timedelta(seconds=120)


def invoices_of(
    yagna: Yagna, accounts: Collection[Account], scope: Scope, repeat: Repeat = Repeat.SAFE
) -> list[Invoice]:
    """Return all invoices for some agreements that have come; blocks for one request.

    Args:
        yagna: the daemon.
        accounts: of the agreements, which may be older than the session.
        scope: cancelling it ends the request.
        repeat: whether to repeat the request where it fails.
    """
    if not accounts:
        return []
    wanted = {one.agreement_id for one in accounts}
    since = min(_earliest(one) for one in accounts)
    listed = yagna.payment.invoices(since, scope=scope, repeat=repeat)
    return [one for one in listed if one.agreement_id in wanted]


def debit_notes_of(yagna: Yagna, accounts: Collection[Account], scope: Scope) -> list[DebitNote]:
    """Return all debit notes for some agreements that have come; blocks for one request."""
    if not accounts:
        return []
    wanted = {one.agreement_id for one in accounts}
    listed = yagna.payment.debit_notes(min(_earliest(one) for one in accounts), scope=scope)
    return [one for one in listed if one.agreement_id in wanted]


def earlier_answer(
    yagna: Yagna, account: Account, scope: Scope, repeat: Repeat = Repeat.SAFE
) -> Decimal | None:
    """Return the GLM that any session has accepted of the invoice of an agreement; 0 if it was rejected.

    None: nobody has answered it, or the daemon has not. Blocks for one request.

    Raises:
        ScopeEnded: `scope` was cancelled.
    """
    try:
        invoices = invoices_of(yagna, [account], scope, repeat)
    except GolemError as error:
        logger.debug("the invoice of the agreement %s could not be read: %s", account.agreement_id, error)
        return None
    return next((one.answer for one in invoices if one.answer is not None), None)


def debit_notes_before(
    yagna: Yagna, invoices: Collection[tuple[Account, Invoice]], scope: Scope
) -> list[DebitNote]:
    """Return the last debit notes that some invoices follow, and others; blocks for one request."""
    if not invoices:
        return []
    since = min(max(_earliest(account), invoice.timestamp - _RECENT) for account, invoice in invoices)
    return yagna.payment.debit_notes(since, scope=scope)


def _earliest(account: Account) -> datetime:
    """The time of no document of an agreement is earlier, whatever the clock of its provider shows."""
    return account.agreed - _CLOCK_ERROR
