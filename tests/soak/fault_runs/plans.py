"""Which requests of a run are hit."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence

from tests.faults.plan import Fault, endpoint_of


class RunPlan:
    """Hits one request of a run, or a share of all of them, until `stop`.

    The seed decides for the first, second, … request to each endpoint: in what order the threads of a run ask
    different endpoints makes no difference.

    Attributes:
        done: what was hit by what, in order.
    """

    def __init__(
        self,
        seed: int,
        *,
        only: tuple[str, int] | None = None,
        share: float = 0.0,
        faults: Sequence[Fault] = tuple(Fault),
    ) -> None:
        """Args: only: the endpoint whose nth request, from 1, is hit, and no other; None: `share` decides."""
        self.done: list[tuple[str, Fault]] = []
        self._seed = seed
        self._only = only
        self._share = share
        self._faults = faults
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._is_over = False

    def fault(self, method: str, path: str) -> Fault | None:
        endpoint = endpoint_of(method, path)
        with self._lock:
            self._seen[endpoint] += 1
            here = endpoint, self._seen[endpoint]
            of_random = random.Random(f"{self._seed} {here}")
            is_hit = of_random.random() < self._share if self._only is None else here == self._only
            if self._is_over or not is_hit:
                return None
            fault = of_random.choice(self._faults)
            self.done.append((endpoint, fault))
            return fault

    def stop(self) -> None:
        """Hit nothing from now on."""
        with self._lock:
            self._is_over = True
