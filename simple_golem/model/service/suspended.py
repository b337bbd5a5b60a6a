"""What a later session needs to resume a suspended instance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SuspendedInstance:
    """A suspended instance: alive on its provider, but managed by no session.

    All attributes are strings, so that it can be kept in a file: `dataclasses.asdict(suspended)`, and
    `SuspendedInstance(**read)`.

    Attributes:
        name: the name of the instance.
        agreement_id, activity_id: the agreement and the activity that stay alive.
        app_session_id: the daemon lists its debit notes and invoices under this id.
        allocation_id: the budget of the session that suspended it; it pays what the instance costs meanwhile.
        volume: the volume of its image that whole output is put into; empty if there is none.
        network_id, network_ip, ip: the daemon's id of its private network, its range of addresses, and the
            instance's address in it; all empty if it has none.
    """

    name: str
    agreement_id: str
    activity_id: str
    app_session_id: str
    allocation_id: str
    volume: str = ""
    network_id: str = ""
    network_ip: str = ""
    ip: str = ""
