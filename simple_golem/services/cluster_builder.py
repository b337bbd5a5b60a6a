"""Checks the arguments of `run_service` and `resume_service`, and makes a cluster of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from ..engine.market.demand import Demand
from ..engine.market.demand_properties import demand_constraints, demand_properties
from ..engine.market.image_registry import locate
from ..engine.market.listing import Listing
from ..engine.market.proposal_rules import ProposalRules
from ..engine.network.network_handle import Network
from ..engine.session import Session
from ..errors import BadNetwork, BadSetting, BadWaitTime
from ..model.offers.strategy import Strategy
from ..model.offers.terms import Terms
from ..model.payload.payload import Payload, require_payload
from ..model.service.respawn import Respawn
from ..model.service.service import Service, made_for
from ..model.service.service_class import check_service_class, payload_of, service_factories
from ..model.service.suspended import SuspendedInstance
from .cluster import Cluster
from .cluster_context import ClusterContext, InstanceNumbers, Occupation
from .instance_lives import Member

if TYPE_CHECKING:
    from ..engine.network.network import PrivateNetwork

_LONGEST_EXPIRATION = timedelta(days=3652)
_DEFAULT_EXPIRATION = timedelta(minutes=180)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ClusterBuilder:
    """The checked arguments of a cluster; nothing is spent yet.

    Attributes:
        name: of the cluster and its instances; that of the class by default.
        occupation: what the instances do, in place of the `run` of their class.
        is_avoided: says of the id of a provider whether the cluster must not take it; it must not block.
    """

    name: str
    service_class: type[Service]
    members: Sequence[Member]
    payload: Payload
    expiration: datetime
    strategy: Strategy
    terms: Terms
    respawn: Respawn
    start_timeout: float | None
    network: bool | Network
    network_addresses: Sequence[str] | None
    adopted: Sequence[SuspendedInstance]
    occupation: Occupation | None = None
    is_avoided: Callable[[str], bool] | None = None

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
        name: str | None = None,
        strategy: Strategy,
        terms: Terms,
        respawn: Respawn,
        start_timeout: float | None = None,
        network: bool | Network = False,
        network_addresses: Sequence[str] | None = None,
        adopted: Sequence[SuspendedInstance] = (),
    ) -> ClusterBuilder:
        """Check the arguments, look the image up, and make the user's objects; blocks for the image registry.

        Args:
            registry_url: where images are looked up.
            service_class, num_instances, instance_params, payload, expiration, name, start_timeout, network,
                network_addresses: as the user gave them to `run_service`.
            strategy, terms, respawn: checked already.
            adopted: the suspended instances that go on, for `resume_service`.

        Raises:
            BadService, BadInstanceCount, BadPayload, BadWaitTime, BadSetting, BadNetwork: an argument makes
                no sense.
            UnknownImage, RegistryError: the image could not be looked up.
            Exception: whatever the constructor of the service raises.
        """
        checked = check_service_class(service_class)
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise BadSetting(f"name is {name!r}: give a text, such as 'db' for instances db-1, db-2, …")
        factories = service_factories(checked, num_instances, instance_params)
        wanted = require_payload(payload if payload is not None else payload_of(checked))
        ends = expiration_of(expiration)
        _check_network(network, network_addresses)
        if network is not False or any(one.network_ip for one in adopted):
            wanted = wanted.with_capability("vpn")
        if wanted.image is not None:
            wanted = wanted.with_image(locate(wanted.image, registry_url))
        factories = [partial(made_for, wanted, make) for make in factories]
        members = [(make(), make) for make in factories]
        return cls(
            name or checked.__name__,
            checked,
            members,
            wanted,
            ends,
            strategy,
            terms,
            respawn,
            start_timeout,
            network,
            network_addresses,
            adopted,
        )

    def cluster(self, session: Session, stop_grace: float, numbers: InstanceNumbers) -> Cluster:
        """Return the cluster; nothing is published yet. Blocks for two requests to the daemon.

        Args:
            session: what the cluster belongs to.
            stop_grace: seconds that a batch may take to end when the cluster is stopped.
            numbers: those of the instances of all clusters.

        Raises:
            AllocationRefused: the budget can't be kept until the expiration.
            BadNetwork: the instances can't have their addresses.
        """
        budget = session.money.budget
        budget.cover(self.expiration)
        decorations = budget.decorations()
        settings = session.settings
        rules = ProposalRules(
            self.strategy,
            self.terms,
            settings.payment_platform,
            session.providers.is_banned,
        )
        make_demand = partial(
            Demand,
            session.yagna,
            session.counter_workers,
            demand_properties(
                self.payload,
                decorations,
                settings,
                session.yagna.clock.to_daemon(self.expiration),
                session.app_session_id,
            ),
            demand_constraints(self.payload, decorations, settings),
            rules,
            session.providers if self.is_avoided is None else session.providers.without(self.is_avoided),
            budget,
            self.name,
            session.emit,
        )
        listing = Listing(make_demand, session.demands.publish)
        context = ClusterContext(
            session,
            listing,
            self.respawn,
            stop_grace,
            self.start_timeout,
            self.payload,
            self.name,
            numbers,
            self._network(session),
            self.occupation,
        )
        return Cluster(
            context, self.service_class, self.members, self.expiration, self.adopted, self.network_addresses
        )

    def _network(self, session: Session) -> PrivateNetwork | None:
        """The network of the cluster, made if need be; blocks for requests then."""
        if isinstance(self.network, Network):
            return self.network._when_open()
        if self.network:
            return session.networks.default()
        with_network = [one for one in self.adopted if one.network_ip]
        return session.networks.of_suspended(with_network[0]) if with_network else None


def _check_network(network: object, addresses: Sequence[str] | None) -> None:
    if not isinstance(network, (bool, Network)):
        raise BadNetwork(
            f"network is {network!r}: give True for the Golem's own network, or what "
            "golem.create_network(…) returned"
        )
    if addresses is not None and network is False:
        raise BadNetwork("network_addresses are addresses in a network: give network=golem.create_network(…)")


def expiration_of(value: datetime | timedelta | None) -> datetime:
    """Return when a cluster ends (UTC).

    Args:
        value: a moment, a time from now, or None for 180 minutes from now.

    Raises:
        BadWaitTime: it is something else, is past, or is more than ten years away.
    """
    now = datetime.now(timezone.utc)
    if value is None:
        return now + _DEFAULT_EXPIRATION
    if isinstance(value, timedelta):
        try:
            moment = now + value
        except OverflowError as error:
            raise BadWaitTime(f"expiration is {value!r}, which no calendar reaches") from error
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise BadWaitTime(
                f"expiration is {value!r}, which has no time zone: write datetime.now(timezone.utc) + …, "
                "or give a timedelta"
            )
        try:
            moment = value.astimezone(timezone.utc)
        except OverflowError as error:
            raise BadWaitTime(f"expiration is {value!r}, which no calendar reaches") from error
    else:
        raise BadWaitTime(f"expiration is {value!r}: give a timedelta from now, or an aware datetime")
    if moment <= now:
        raise BadWaitTime(f"expiration is {value!r}, which is past: give a moment to come")
    if moment - now > _LONGEST_EXPIRATION:
        raise BadWaitTime(f"expiration is {value!r}, which no provider accepts: give 10 years at most")
    return moment
