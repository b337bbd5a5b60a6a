"""The forms of the market's ids, and the daemon's errors for other forms."""

from __future__ import annotations

import re

from ...request import FakeAnswer, Refused

_SUBSCRIPTION = re.compile(r"[0-9a-f]{32}-[0-9a-f]{64}")
_PROPOSAL = re.compile(r"[RP]-[0-9a-f]{64}")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")


def check_subscription(demand_id: str) -> None:
    """Raise `Refused` unless this could be the id of a demand."""
    if not _SUBSCRIPTION.fullmatch(demand_id):
        raise Refused(_bad_path(f"Subscription id [{demand_id}] has invalid format."))


def check_proposal(proposal_id: str) -> None:
    """Raise `Refused` unless this could be the id of a proposal, in a path."""
    if not _PROPOSAL.fullmatch(proposal_id):
        raise Refused(_bad_path(f"Id [{proposal_id}] has invalid format."))


def is_proposal(proposal_id: object) -> bool:
    """Whether this could be the id of a proposal."""
    return isinstance(proposal_id, str) and _PROPOSAL.fullmatch(proposal_id) is not None


def not_hexadecimal(agreement_id: str) -> str | None:
    """Return what is wrong with the id of an agreement; None if nothing is."""
    if _HEXADECIMAL.fullmatch(agreement_id):
        return None
    return f"Id [{agreement_id}] contains non hexadecimal characters."


def _bad_path(what: str) -> FakeAnswer:
    # JSON in its text, plain text in its type: so it is.
    answer = FakeAnswer.of_message(f"Path deserialize error: {what}", 400)
    return FakeAnswer(400, answer.body, "text/plain; charset=utf-8")
