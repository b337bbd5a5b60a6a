"""Draws histories of money at random, and replays them."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.soak.money.history import replay
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

_AGREEMENT = st.integers(0, 2)
_ARRIVES = st.sampled_from((1, 1, 1, 2, 0))
_SECONDS = st.one_of(st.sampled_from((0.0, 0.05, 1.0, 30.0, 600.0)), st.floats(0, 10_000))
_CLAIM = st.sampled_from((1.0, 1.0, 0.0, 0.5, 1.01, 2.0, 1000.0))
_FACTOR = st.sampled_from((1.0, 1.0, 1.0, 0.3, 0.0, 1.0001, 1.5, 1000.0))
_AMOUNT = st.one_of(
    st.sampled_from((Decimal("0.0001"), Decimal("0.1"), Decimal(1), Decimal(100))),
    st.decimals("0.000000000000000001", "100", places=18),
)

_NOTE = st.builds(
    SendNote,
    _AGREEMENT,
    invented=st.sampled_from((None, None, None, 0, 1, 2)),
    load=st.floats(0, 1),
    memory=st.floats(0, 8),
    claim=st.tuples(_CLAIM, _CLAIM),
    factor=_FACTOR,
    usage=st.sampled_from(("whole", "whole", "whole", "none", "short", "long")),
    arrives=_ARRIVES,
)
_HONEST_NOTE = st.builds(SendNote, _AGREEMENT, load=st.floats(0, 1), memory=st.floats(0, 8), arrives=_ARRIVES)
# What gains most where it is not noticed: all that fits into the time, for several activities at once.
_GREEDY_NOTE = st.builds(
    SendNote,
    _AGREEMENT,
    invented=st.sampled_from((None, 0, 1, 2)),
    load=st.just(1.0),
    claim=st.sampled_from(((1.0, 1.0), (0.001, 1.0), (1.0, 1.0))),
)
_INVOICE = st.builds(
    SendInvoice,
    _AGREEMENT,
    factor=_FACTOR,
    more=st.sampled_from((Decimal(0), Decimal(0), Decimal("1e-18"), Decimal("0.01"))),
    arrives=_ARRIVES,
    is_greedy=st.booleans(),
)
_STEP: st.SearchStrategy[Step] = st.one_of(
    st.builds(Wait, _SECONDS),
    st.builds(Create, _AGREEMENT, st.floats(0, 30)),
    _NOTE,
    _GREEDY_NOTE,
    _HONEST_NOTE,
    _INVOICE,
    st.builds(EndAgreement, _AGREEMENT),
    st.builds(Deliver, st.integers(0, 20)),
    st.just(LookForInvoices()),
    st.builds(TopUp, _AMOUNT),
)
_AGREE = st.builds(Agree, st.integers(0, len(OFFERS) - 1), st.sampled_from((1, 4, 64)))
# Most histories begin as a session does, so that there is something to ask for.
_BEGINNING = st.sampled_from(
    ((), (Create(0, 0.0),), (Create(0, 0.0), Wait(600.0)), (Create(0, 2.0), Create(1, 0.0), Wait(30.0)))
)
_HISTORY = st.tuples(
    st.lists(_AGREE, min_size=1, max_size=3), _BEGINNING, st.lists(_STEP, min_size=1, max_size=30)
)


def replay_at_random(number: int, of_seed: int) -> None:
    """Replay `number` random histories; the same seed draws the same ones.

    Raises:
        Broken: one of them, as short as possible, has something that must not be; hypothesis prints it.
    """

    @seed(of_seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(_AMOUNT, _HISTORY)
    def holds(budget: Decimal, history: tuple[list[Agree], tuple[Step, ...], list[Step]]) -> None:
        agreements, beginning, steps = history
        replay(budget, [*agreements, *beginning, *steps])

    holds()
