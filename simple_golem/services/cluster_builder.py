"""What `run_service` and `resume_service` were asked for: checked, and made a cluster."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ..engine.market.demand import Demand, Listing, demand_constraints, demand_properties
from ..engine.market.image_registry import locate
from ..engine.market.proposal_rules import ProposalRules
from ..engine.session import Session
from ..model.offers.strategy import Strategy
from ..model.offers.terms import Terms
from ..model.payload.payload import Payload, require_payload
from ..model.service.service import Service, made_for
from ..model.service.service_class import check_service_class, payload_of
from ..model.service.suspended import SuspendedInstance
from .cluster import Cluster, expiration_of, makers_of
from .instance import ClusterContext, Member, Respawn


@dataclass(frozen=True, slots=True)
class ClusterBuilder:
    """A cluster to be: everything is checked, nothing is spent."""

    service_class: type[Service]
    members: Sequence[Member]
    payload: Payload
    expiration: datetime
    strategy: Strategy
    terms: Terms
    respawn: Respawn
    start_timeout: float | None
    adopted: Sequence[SuspendedInstance]

    @classmethod
    def checked(
        cls,
        registry_url: str,
        service_class: type[Service],
        num_instances: int | None,
        instance_params: Sequence[Mapping[str, Any]] | None,
        payload: Payload | None,
        expiration: datetime | timedelta | None,
        *,
        strategy: Strategy,
        terms: Terms,
        respawn: Respawn,
        start_timeout: float | None = None,
        adopted: Sequence[SuspendedInstance] = (),
    ) -> ClusterBuilder:
        """Check what a user gave, look the image up, and make the user's objects on the caller's thread."""
        checked = check_service_class(service_class)
        makers = makers_of(checked, num_instances, instance_params)
        wanted = require_payload(payload if payload is not None else payload_of(checked))
        ends = expiration_of(expiration)
        if wanted.image is not None:
            wanted = wanted.with_image(locate(wanted.image, registry_url))
        makers = [partial(made_for, wanted, make) for make in makers]
        members = [(make(), make) for make in makers]
        return cls(checked, members, wanted, ends, strategy, terms, respawn, start_timeout, adopted)

    def cluster(self, session: Session, stop_grace: float) -> Cluster:
        """The cluster, with nothing on the market yet; asks the daemon how to pay."""
        session.budget.cover(self.expiration)
        decorations = session.budget.decorations()
        settings = session.settings
        rules = ProposalRules(
            self.strategy,
            self.terms,
            settings.payment_platform,
            session.chooser.is_banned,
            session.chooser.is_free,
            session.budget,
        )
        make_demand = partial(
            Demand,
            session.yagna,
            session.counter_workers,
            session.chooser.changed,
            demand_properties(self.payload, decorations, settings, self.expiration, session.app_session_id),
            demand_constraints(self.payload, decorations, settings),
            rules,
            self.service_class.__name__,
            session.emit,
        )
        listing = Listing(make_demand, session.add_demand)
        context = ClusterContext(
            session,
            listing,
            threading.Condition(),
            self.respawn,
            stop_grace,
            self.start_timeout,
            self.payload,
        )
        return Cluster(context, self.service_class, self.members, self.expiration, self.adopted)
