"""What a yagna daemon answers, as tests that run on the real one and on the fake one alike.

The classes here are taken over by `tests/network/test_contract.py` and `tests/unit/testing/test_contract.py`,
which say by a fixture `buyer` where the requests go.
"""

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("activities", "agreements", "buyer", "files", "market", "money"))
)
