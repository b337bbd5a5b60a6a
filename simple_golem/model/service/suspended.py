"""What a later session needs to take up an instance that was suspended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SuspendedInstance:
    """An instance that was left alive on its provider, without anybody who looks after it.

    All of it is text, so that it can be kept in a file: `dataclasses.asdict(suspended)`, and
    `SuspendedInstance(**read)`.

    Attributes:
        name: the instance's.
        agreement_id, activity_id: what is kept alive.
        app_session_id: under which the daemon tells of its notes and invoices.
        allocation_id: the budget of the session that suspended it, kept for what it costs meanwhile.
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
