"""One daemon and all its APIs."""

from __future__ import annotations

from requests.adapters import BaseAdapter

from .absence import Absence
from .api.activity import ActivityApi
from .api.bridge import BridgeApi
from .api.gsb import GsbApi
from .api.identity import IdentityApi
from .api.market import MarketApi
from .api.network import NetworkApi
from .api.payment import PaymentApi
from .api.provider import ProviderApi
from .api.status import StatusApi
from .transport.http import Http


class Yagna:
    """A yagna daemon, used with one app key; any number of threads may share it.

    Args:
        api_url: where its REST API listens, such as `http://127.0.0.1:7465`.
        app_key: the key, which also says for which identity the calls act.
        market_url, activity_url, payment_url: whole URLs of APIs that live elsewhere.
        adapter: carries the requests; the network unless a test hands in another one.

    Attributes:
        clock: converts times. All times that are sent and that come are those of the daemon's clock.
        absence: is told by whoever reads events whether the daemon answers.
    """

    def __init__(
        self,
        api_url: str,
        app_key: str,
        *,
        market_url: str | None = None,
        activity_url: str | None = None,
        payment_url: str | None = None,
        adapter: BaseAdapter | None = None,
    ) -> None:
        self.absence = Absence()
        self.http = Http(api_url, app_key, adapter)
        self.clock = self.http.clock
        self.identity = IdentityApi(self.http)
        self.status = StatusApi(self.http)
        self.market = MarketApi(self.http, market_url or "/market-api/v1")
        self.activity = ActivityApi(self.http, activity_url or "/activity-api/v1")
        self.payment = PaymentApi(self.http, payment_url or "/payment-api/v1")
        self.provider = ProviderApi(self.http)
        self.bridge = BridgeApi(self.http)
        self.gsb = GsbApi(self.http, app_key)
        self.network = NetworkApi(self.http, app_key)

    def close(self) -> None:
        """Close the idle connections; a request under way is not interrupted."""
        self.http.close()
