"""Golem: open a session with a daemon, run services in it, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

# Only the engine needs it, which is loaded when a Golem is opened. But it takes 0.1 seconds, and nobody
# expects them there.
import requests  # noqa: F401
import tenacity
from tenacity.stop import StopBaseT
from tenacity.wait import WaitBaseT

from .background.cancellation import checked_seconds
from .background.forks import Process, refused_in_children
from .background.not_async import not_async
from .engine.shutdown_times import STOP_GRACE_SECONDS
from .errors import BadInstanceCount, BadListener, BadPayload, BadSetting
from .model.base.from_yapapi import from_yapapi
from .model.cost import Cost
from .model.offers.offer import Offer
from .model.offers.strategy import Score, Strategy, require_strategy
from .model.offers.terms import Terms, require_terms
from .model.payload import vm
from .model.payload.payload import Payload, require_payload
from .model.service.service import Service
from .model.service.suspended import SuspendedInstance
from .model.settings import HEALTH_MISSES, HEALTH_SECONDS, Settings, parse_budget
from .services.lifecycle import Lifecycle

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .engine.event_dispatcher import Listener
    from .engine.network.network_handle import Network
    from .model.cost_report import CostReport
    from .model.events.event import Event
    from .model.offers.explanation import Explanation
    from .model.payload.repo_options import RepoOptions
    from .services.cluster import Cluster
    from .services.instance import Instance
    from .services.pool.pool import Pool


class _StopAfterAttempt(tenacity.stop_after_attempt):
    """Shown by `help` as a user would write it."""

    def __repr__(self) -> str:
        return f"tenacity.stop_after_attempt({self.max_attempt_number})"


class _WaitExponential(tenacity.wait_exponential):
    """Shown by `help` as a user would write it."""

    def __repr__(self) -> str:
        return f"tenacity.wait_exponential(max={self.max})"


DEFAULT_RESPAWN_STOP: StopBaseT = _StopAfterAttempt(3)
DEFAULT_RESPAWN_WAIT: WaitBaseT = _WaitExponential(max=30)

_NOT_NEEDED = {
    "owner_ip": "the requestor always has the first address of the network; the daemon sends from no other",
    "mask": "write it with the range of addresses, as in '192.168.0.0/24'",
    "gateway": "nothing is routed out of a private network, so it has no gateway",
}


@refused_in_children
@not_async
@from_yapapi("Golem")
class Golem:
    """An open session on the Golem Network; use it in a `with` statement.

    Args:
        budget: GLM that may be spent at most (a number; a str or Decimal is exact).
        app_key: key of the daemon's REST API; default `YAGNA_APPKEY`.
        api_url: URL of the daemon; default `YAGNA_API_URL`, else `http://127.0.0.1:7465`.
        subnet_tag: the subnet of the providers; default `YAGNA_SUBNET`, else `public`.
        payment_driver: default `YAGNA_PAYMENT_DRIVER`, else `erc20`.
        payment_network: default `YAGNA_PAYMENT_NETWORK`, else `hoodi`, a test network.
        strategy: which providers are accepted, and which of them come first; the cheapest by default. A
            function is called with each offer and returns its score, or None to refuse it.
        terms: what is agreed on debit notes and payments.
        stop_grace: seconds that a batch under way may take to end after a stop. A longer one is cut off, and
            `shutdown()` is skipped.
        raise_failures: whether leaving `with`, or `close`, raises `ServiceFailed` for instances that failed.
        health_interval: seconds without an answer of an activity after which its state is asked for; six
            times as many if there are more than 50 activities.
        health_misses: so many requests without an answer make an instance unresponsive; twice as many end it.
        progress: whether a progress bar shows clusters that start and files that are transferred, in a
            terminal (standard error) or a notebook.
        on_event: a listener that hears all events, from the first one on; see `on_event`.

    Raises:
        NoAppKey, UnknownNetwork, BadBudget, BadSetting, BadStrategy, BadTerms: at once; nothing is spent.

    Example:
        with Golem(budget=1) as golem:
            cluster = golem.run_service(MyService, num_instances=3)
            cluster.wait(60)
        print(golem.cost)
    """

    def __init__(
        self,
        budget: float | str | Decimal,
        *,
        app_key: str | None = None,
        api_url: str | None = None,
        subnet_tag: str | None = None,
        payment_driver: str | None = None,
        payment_network: str | None = None,
        strategy: Strategy | Score | None = None,
        terms: Terms | None = None,
        stop_grace: float = STOP_GRACE_SECONDS,
        raise_failures: bool = True,
        health_interval: float = HEALTH_SECONDS,
        health_misses: int = HEALTH_MISSES,
        progress: bool = True,
        on_event: Listener | None = None,
    ) -> None:
        self._budget = parse_budget(budget)
        self._settings = Settings.resolve(app_key, api_url, subnet_tag, payment_driver, payment_network)
        self._strategy = Strategy() if strategy is None else require_strategy(strategy)
        self._terms = Terms() if terms is None else require_terms(terms)
        interval = checked_seconds(health_interval, "health_interval", allow_none=False) or 0.0
        if interval == 0:
            raise BadSetting("health_interval is 0: give a number of seconds, more than 0")
        if isinstance(health_misses, bool) or not isinstance(health_misses, int) or health_misses < 1:
            raise BadSetting(f"health_misses is {health_misses!r}: give a whole number, 1 or more")
        self._lifecycle = Lifecycle(
            self._settings,
            self._budget,
            interval,
            health_misses,
            checked_seconds(stop_grace, "stop_grace", allow_none=False) or 0.0,
            raise_failures=raise_failures,
            show_progress=progress,
        )
        if on_event is not None:
            self.on_event(on_event)

    # --- open and close -------------------------------------------------------------------------------

    def open(self) -> Golem:
        """Connect to the daemon and allocate the budget; returns this Golem. A second call does nothing.

        Blocks for a few requests to the daemon: some milliseconds, and seconds where it asks a chain.

        Raises:
            NoDaemon: no daemon answers at the URL.
            BadAppKey: the daemon does not know the key.
            AllocationRefused: there are not enough funds, or the payment network does not answer.
            NotRunning: it was closed before.
        """
        self._lifecycle.open()
        return self

    def close(self, timeout: float | None = None) -> None:
        """Stop everything, pay what is owed, and release the rest; a second call does nothing.

        Blocks until that is done. If a method of a service calls it, it only asks all instances to stop.

        Args:
            timeout: seconds for all of it; the last 1.5 of them are kept for ending agreements. A daemon that
                does not answer may take 1.5 seconds more.

        Raises:
            ServiceFailed: an instance failed; this is raised once, and never with `raise_failures=False`.
        """
        failed = self._lifecycle.close(checked_seconds(timeout, "timeout"))
        if failed is not None:
            raise failed

    def __enter__(self) -> Golem:
        self._lifecycle.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = self._lifecycle.leave(error)
        if failed is not None:
            # Raised here, so that its traceback has one line of this package.
            raise failed

    # --- events ---------------------------------------------------------------------------------------

    def on_event(
        self, listener: Listener, *, only: type[Event] | tuple[type[Event], ...] | None = None
    ) -> Listener:
        """Call `listener(event)` for each event from now on; returns it, so this is a decorator, too.

        The events are those of `simple_golem.events`; `str(event)` is a line for a log. One thread calls the
        listeners, with one event after the other: a slow listener delays nothing else. Its errors are logged.

        Args:
            listener: is called with each event.
            only: the class of the events that it gets, or a tuple of classes, as for `isinstance`; None: all.

        Raises:
            BadListener: it can't be called, or `only` has something else than classes of events.

        Example:
            @golem.on_event
            def show(event):
                print(event)
        """
        # Only programs that listen need the events.
        from .model.events.event import Event

        if isinstance(listener, type) and issubclass(listener, Event):
            name = listener.__name__
            raise BadListener(f"{name} is a class of events: write golem.on_event(listener, only={name})")
        if not callable(listener):
            raise BadListener(f"{listener!r} can't be called: give a function that takes an event")
        classes = only if isinstance(only, tuple) else (only,)
        if only is not None and not all(isinstance(one, type) and issubclass(one, Event) for one in classes):
            raise BadListener(f"only is {only!r}: give a class of simple_golem.events, or a tuple of them")
        self._lifecycle.add_listener(listener if only is None else partial(_call_for, listener, only))
        return listener

    # --- running services -----------------------------------------------------------------------------

    def run_service(
        self,
        service_class: type[Service] = Service,
        *,
        name: str | None = None,
        num_instances: int | None = None,
        instance_params: Sequence[Mapping[str, Any]] | None = None,
        payload: Payload | None = None,
        expiration: datetime | timedelta | None = None,
        strategy: Strategy | Score | None = None,
        terms: Terms | None = None,
        start_timeout: float | None = None,
        network: bool | Network = False,
        network_addresses: Sequence[str] | None = None,
        respawn_unstarted_instances: bool = True,
        respawn_running: bool = False,
        respawn_stop: StopBaseT = DEFAULT_RESPAWN_STOP,
        respawn_wait: WaitBaseT = DEFAULT_RESPAWN_WAIT,
    ) -> Cluster:
        """Start instances of a service, and return their `Cluster`.

        Blocks for requests to the image registry and the daemon, but does not wait for providers.

        Args:
            service_class: a subclass of `Service`; by default `Service` itself, which only waits for commands
                from outside.
            name: of the cluster: `name="db"` calls the instances db-1, db-2 and so on. By default the name of
                the class. The numbers of clusters with the same name go on.
            num_instances: how many; by default as many as `instance_params` has, else 1.
            instance_params: keyword arguments of the constructor, a mapping for each instance.
            payload: what providers have to run; by default that of the class's `get_payload`.
            expiration: when the cluster ends by itself: an aware datetime, or a timedelta from now;
                by default 180 minutes from now.
            strategy, terms: by default those of the Golem.
            start_timeout: an instance that does not run after so many seconds has failed; None: no limit.
            network: True for the Golem's own private network, or one of `create_network`: instances reach
                each other by address and host name, and `instance.connect` and proxies reach them.
            network_addresses: the addresses of the instances in it; by default the next ones that are free.
            respawn_unstarted_instances: whether one that fails before it runs tries another provider.
            respawn_running: whether one that was running and lost its activity does so, too.
            respawn_stop, respawn_wait: tenacity's objects: how often, and after which pauses.

        Raises:
            BadService, BadInstanceCount, BadPayload, BadStrategy, BadTerms, BadRespawn, BadWaitTime,
                BadSetting, BadNetwork: the message names the argument.
            OutOfBudget: the budget is used up; call `top_up` first.
            UnknownImage, RegistryError: the image can't be found.
            NotRunning: the Golem is not open.
            Exception: any error of the service's constructor; nothing is spent then.
        """
        return self._lifecycle.require_open().run_service(
            service_class,
            num_instances,
            instance_params,
            payload,
            expiration,
            name=name,
            strategy=self._strategy if strategy is None else require_strategy(strategy),
            terms=self._terms if terms is None else require_terms(terms),
            respawn=(respawn_unstarted_instances, respawn_running, respawn_stop, respawn_wait),
            start_timeout=checked_seconds(start_timeout, "start_timeout"),
            network=network,
            network_addresses=network_addresses,
        )

    def create_network(self, ip: str = "192.168.0.0/24", **of_yapapi: object) -> Network:
        """Make a private network, for several networks or fixed addresses; blocks for two requests.

        For one network without fixed addresses `network=True` in `run_service` is enough. The first address
        is the requestor's own. The network ends with the Golem, or earlier: use it in a `with` statement.

        Args:
            ip: the range of addresses.

        Raises:
            BadNetwork: it is no range of IPv4 addresses, or has no room for an instance.
            NotRunning: the Golem is not open.

        Example:
            network = golem.create_network("10.1.0.0/24")
            golem.run_service(MyService, network=network, network_addresses=["10.1.0.5"])
        """
        for name in of_yapapi:
            reason = _NOT_NEEDED.get(name, "there is no such argument")
            raise TypeError(f"create_network() got {name!r}: {reason}")
        return self._lifecycle.require_open().create_network(ip)

    def rent(
        self,
        timeout: float | None = None,
        *,
        service_class: type[Service] = Service,
        service_params: Mapping[str, Any] | None = None,
        payload: Payload | None = None,
        name: str | None = None,
        network: bool | Network = False,
        expiration: datetime | timedelta | None = None,
        strategy: Strategy | Score | None = None,
        terms: Terms | None = None,
        respawn_unstarted_instances: bool = True,
        respawn_running: bool = False,
        respawn_stop: StopBaseT = DEFAULT_RESPAWN_STOP,
        respawn_wait: WaitBaseT = DEFAULT_RESPAWN_WAIT,
        **image: Unpack[RepoOptions],
    ) -> Instance:
        """Rent one machine, and return it once it is running: an `Instance`, which ends with the Golem.

        `with golem.rent() as machine:` ends it earlier. Several machines at once:
        `golem.run_service(Service, num_instances=2).wait_until_running()`.

        A machine that is lost raises an error in the call that needs it, such as `machine.shell(…)`. If the
        script catches that error, the end of the Golem does not raise `ServiceFailed` for it.

        Args:
            timeout: seconds to wait at most; None waits until the expiration.
            service_class: `Service` itself, or a subclass that prepares the machine in its `start()`.
            service_params: keyword arguments of its constructor.
            payload: what the provider has to run, instead of `image`.
            name, network, expiration, strategy, terms, respawn_unstarted_instances, respawn_running,
                respawn_stop, respawn_wait: as in `run_service`.
            image: the arguments of `vm.repo`, e.g. `golem.rent(image_tag="me/image:latest", min_mem_gib=2)`.

        Raises:
            WaitTimeout: it is not running in time; it is stopped.
            ServiceFailed: it has failed before it was running.
            BadPayload: arguments of `vm.repo` beside a payload, or wrong ones.
            Exception: those of `run_service`.

        Example:
            with Golem(budget=1) as golem:
                machine = golem.rent()
                print(machine.shell("uname -a"))
        """
        if image and payload is not None:
            raise BadPayload(f"payload is given, and {', '.join(image)} too: vm.repo(…) takes them all")
        try:
            wanted = vm.repo(**image) if image else payload
        except TypeError:
            from .model.payload.unknown_option import unknown_option

            if (unknown := unknown_option(image)) is None:
                raise
            raise unknown from None
        limit = checked_seconds(timeout, "timeout")
        cluster = self.run_service(
            service_class,
            instance_params=None if service_params is None else [service_params],
            payload=wanted,
            name=name,
            network=network,
            expiration=expiration,
            strategy=strategy,
            terms=terms,
            respawn_unstarted_instances=respawn_unstarted_instances,
            respawn_running=respawn_running,
            respawn_stop=respawn_stop,
            respawn_wait=respawn_wait,
        )
        return cluster._rented(limit)

    def pool(
        self,
        max_machines: int,
        *,
        service: type[Service] = Service,
        payload: Payload | None = None,
        name: str | None = None,
        network: bool | Network = False,
        attempts: int = 3,
        retry: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        item_timeout: float | None = None,
        idle_seconds: float = 60.0,
        strategy: Strategy | Score | None = None,
        terms: Terms | None = None,
    ) -> Pool:
        """Return a pool of machines for many items: a `concurrent.futures.Executor`.

        An item may be executed more than once, and is answered once: if the machine of an item is lost,
        another machine begins it anew, and the first outcome counts.

        Machines are rented by need: never more than items wait for, and none once nothing waits. A machine
        that is lost is replaced while there is work, and is no failure of the Golem. A pool does not expire.
        Blocks for the image registry only.

        Args:
            max_machines: how many machines at most.
            service: a class whose `start()` prepares each machine; the function finds it as
                `machine.service`. It must not have a `run()`.
            payload: what providers have to run; by default that of the class.
            name: in logs and in the names of the machines.
            network: the private network of the machines; as in `run_service`.
            attempts: how often an item is begun at most.
            retry: the exceptions after which an item is begun once more, as after `except`; by default
                `Pool.default_retry`: the machine was lost, took too long, or a command failed. After a failed
                command one other provider is tried, if one comes within 60 seconds. `()` makes the first
                failure final.
            item_timeout: seconds for one attempt; after that the machine is stopped, and the item goes
                elsewhere. No item is begun on a machine whose agreement ends within this time (600 seconds if
                it is None).
            idle_seconds: a machine without an item for so long is released.
            strategy, terms: by default those of the Golem.

        Raises:
            BadService: `service` is no class of a service, or has a `run()`.
            BadInstanceCount, BadSetting, BadWaitTime, BadPayload, BadStrategy, BadTerms: the message names
                the argument.
            OutOfBudget, UnknownImage, RegistryError, NotRunning: as of `run_service`.

        Example:
            def square(machine, n):
                return int(machine.shell(f"echo $(({n} * {n}))").stdout)

            with Golem(budget=1) as golem, golem.pool(3) as pool:
                print(list(pool.map(square, range(10))))
        """
        return self._lifecycle.require_open().pool(
            max_machines,
            service,
            payload,
            name,
            network=network,
            attempts=attempts,
            retry=retry,
            item_timeout=item_timeout,
            idle_seconds=idle_seconds,
            strategy=self._strategy if strategy is None else require_strategy(strategy),
            terms=self._terms if terms is None else require_terms(terms),
        )

    def resume_service(
        self,
        service_class: type[Service],
        suspended: Sequence[SuspendedInstance],
        *,
        instance_params: Sequence[Mapping[str, Any]] | None = None,
        payload: Payload | None = None,
        expiration: datetime | timedelta | None = None,
        respawn_running: bool = False,
    ) -> Cluster:
        """Resume instances that an earlier session has suspended; their activities go on.

        `run()` is called, but not `deploy()` and `start()`. This Golem's budget pays for them from now on,
        and that of the earlier session is released. Blocks as `run_service` does, and for some seconds more
        if another process is looking at the instances.

        Args:
            service_class: the class of the services.
            suspended: what `cluster.suspend()` or `instance.suspend()` has returned.
            instance_params: keyword arguments of the constructor, a mapping for each instance.
            payload: what new providers have to run, if any are needed; by default that of `get_payload`.
            expiration: when the cluster ends by itself; by default 180 minutes from now.
            respawn_running: whether an instance that has lost its activity tries another provider.

        Raises:
            BadInstanceCount: `suspended` is empty, or contains something else.
            NotRunning: one of them was resumed before, or the Golem is not open; all are left as they are.
        """
        kept = list(suspended)
        if not kept or not all(isinstance(one, SuspendedInstance) for one in kept):
            raise BadInstanceCount(f"suspended is {suspended!r}: give what cluster.suspend() returned")
        return self._lifecycle.require_open().run_service(
            service_class,
            len(kept),
            instance_params,
            payload,
            expiration,
            strategy=self._strategy,
            terms=self._terms,
            respawn=(respawn_running, respawn_running, DEFAULT_RESPAWN_STOP, DEFAULT_RESPAWN_WAIT),
            suspended=kept,
        )

    # --- money -------------------------------------------------------------------------------------------

    def top_up(self, amount: float | str | Decimal) -> Decimal:
        """Enlarge the budget; returns the new one. Blocks for one request to the daemon.

        Args:
            amount: GLM to be added.

        Raises:
            BadBudget: it is no positive amount.
            AllocationRefused: there are not enough funds; the budget stays as it is.
            NotRunning: the Golem is not open.
        """
        more = parse_budget(amount, "amount")
        return self._lifecycle.require_open().top_up(more)

    def offers(self, payload: Payload | None = None, timeout: float = 5.0) -> tuple[Offer, ...]:
        """Return the offers on the market, the best one first; makes no agreement and spends nothing.

        `print` shows them as a table.

        The Golem need not be open. Blocks until no new offer has come for a second, or for `timeout` seconds.

        Args:
            payload: what providers have to run; by default the default image.
            timeout: seconds at most.

        Raises:
            NoDaemon, BadAppKey: nobody answers, or does not know the key.

        Example:
            for offer in golem.offers(vm.repo(min_mem_gib=4)):
                print(offer.provider_name, offer.prices.per_hour)
        """
        # The engine is loaded when it is needed: see `Lifecycle.open`.
        from .engine.market.offer_preview import offers_on_market

        wanted = vm.repo() if payload is None else require_payload(payload)
        seconds = checked_seconds(timeout, "timeout", allow_none=False) or 0.0
        return offers_on_market(self._settings, wanted, seconds, self._strategy)

    def explain(self, payload: Payload | None = None) -> Explanation:
        """Say why so few providers answer: which condition keeps how many away; spends nothing.

        `print` shows a table, and the nearest demand that has answers. All offers that the daemon knows are
        read, in all subnets; no demand is published. The Golem need not be open. Blocks for a few requests to
        the daemon: less than a second, and half a minute if it does not answer.

        Args:
            payload: what providers have to run; by default the default image.

        Raises:
            NoDaemon, BadAppKey: nobody answers, or does not know the key.

        Example:
            print(golem.explain(vm.repo(min_mem_gib=64)))
        """
        # The engine is loaded when it is needed: see `Lifecycle.open`.
        from .engine.market.offer_preview import explanation_without_session

        wanted = vm.repo() if payload is None else require_payload(payload)
        return explanation_without_session(self._settings, wanted, self._strategy, self._terms)

    def __repr__(self) -> str:
        if self._lifecycle.opened is None:
            return "<Golem: not open>"
        count = len(self.instances)
        instances = f"{count} instance{'' if count == 1 else 's'}"
        return f"<Golem: {self._lifecycle.state}, {instances}, cost {self.cost}>"

    def _repr_html_(self) -> str:
        caption = repr(self)[1:-1]
        opened = self._lifecycle.opened
        return f"<p>{caption}</p>" if opened is None else opened.html_table(caption)

    # --- what stays readable after closing ------------------------------------------------------------

    @property
    def _made_in(self) -> Process:
        """The process that may use it, once it is open; in a child of that all calls raise `ForkedGolem`."""
        return self._lifecycle.made_in

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """All clusters of this Golem, in the order of their start."""
        opened = self._lifecycle.opened
        return opened.clusters if opened is not None else ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All instances of all clusters."""
        return self._lifecycle.instances

    @property
    def budget(self) -> Decimal:
        """GLM that may be spent, everything included that was topped up."""
        opened = self._lifecycle.opened
        return opened.session.money.budget.total if opened is not None else self._budget

    @property
    def cost(self) -> Cost:
        """What was spent so far: the accepted invoices, and the debit notes of agreements without one.

        `cost.accrued` is what has come up since, by the agreed prices: debit notes come every two minutes.
        """
        opened = self._lifecycle.opened
        if opened is not None:
            return opened.session.cost()
        settings = self._settings
        return Cost(Decimal(0), settings.currency, settings.payment_network, settings.is_test_money)

    @property
    def cost_report(self) -> CostReport:
        """What was spent, agreement by agreement: `print` shows a table, `to_json()` is for programs."""
        from .model.cost_report import CostReport

        opened = self._lifecycle.opened
        if opened is None:
            return CostReport((), self.cost)
        ledger = opened.session.money.ledger
        with ledger.lock:  # so that the total is the sum of the entries
            return CostReport(ledger.entries(), self.cost)


def _call_for(listener: Listener, only: type[Event] | tuple[type[Event], ...], event: Event) -> None:
    if isinstance(event, only):
        listener(event)
