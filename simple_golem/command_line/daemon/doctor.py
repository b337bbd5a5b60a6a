"""`simple-golem doctor`: whether all is there that a script needs, and what to do if not."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from ...background.threads import WorkerPool
from ...engine.cleanup.user_sessions import UserSession, sessions_of_user
from ...engine.market.image_registry import locate
from ...engine.payment.journal import UNREADABLE_STEP, unreadable_journals
from ...errors import BadAppKey, BadSetting, DaemonError, NoAppKey, NoDaemon, RegistryError, UnknownImage
from ...model.base.printable import printable
from ...model.cost import rounded
from ...model.payload.payload import ImageRequest
from ...model.settings import Settings
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat
from ...yagna.values import Funds
from ..help_format import HelpFormat
from .connection_options import add_connection_options, cleanup_command, client_of, settings_of
from .marks import Marks

# The first yagna that knows hoodi, the default payment network.
_OLDEST_YAGNA = (0, 17, 2)
_INSTALL = "curl -sSf https://join.golem.network/as-requestor | bash -"
_IMAGE = ImageRequest(tag="golem/alpine:latest")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
# What is always looked at, unless something before is missing; funds are those on a network.
_CHECKS = ("yagna", "app key", "clock", "network", "funds", "image registry", "earlier sessions")
_FUNDS_WORKERS = 8
_JOIN_SECONDS = 0.1
_DESCRIPTION = (
    "Check whether all is there that a script needs: a yagna daemon that is new enough, the app key, "
    "connections to the Golem network, funds and gas, the same time on both clocks, the image registry, and "
    "nothing that earlier scripts have left. Each line says what to do if something is missing. Nothing is "
    "changed. The exit status is 0 if all is well, and 1 if not. It takes up to a minute where something "
    "does not answer."
)
_EXAMPLE = """examples:
  simple-golem doctor                      before the first script on a public network
  simple-golem doctor --network polygon    the same for real money
  simple-golem doctor --json && python script.py
"""


def add_doctor_command(commands: Any) -> None:
    """Add the command to the parser of the tool."""
    doctor = commands.add_parser(
        "doctor",
        help="check daemon, key, network, funds and clock, and say what to do",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=HelpFormat,
    )
    doctor.add_argument("--json", action="store_true", help="print JSON, for programs")
    add_connection_options(doctor)
    doctor.set_defaults(command=examine)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the result.

    Attributes:
        check: what was looked at.
        ok: whether it is well.
        says: what was found.
        next: what to do, most often a command; empty if there is nothing to do.
    """

    check: str
    ok: bool
    says: str
    next: str = ""


def examine(options: argparse.Namespace) -> int:
    """Print what is well and what is not; returns 0 if all is well, else 1."""
    found: list[Finding] = []
    marks = Marks()
    for finding in _findings(options):
        found.append(finding)
        if not options.json:
            marks.write(finding.check, finding.ok, finding.says, finding.next)
    bad = sum(not one.ok for one in found)
    if options.json:
        print(json.dumps({"ok": not bad, "checks": [asdict(one) for one in found]}, indent=2))
    else:
        skipped = [one for one in _CHECKS if not any(each.check.startswith(one) for each in found)]
        not_checked = f"; not checked: {', '.join(skipped)}" if skipped else ""
        print(
            "all is well"
            if not bad
            else f"{bad} of {len(found)} {'is' if bad == 1 else 'are'} not well{not_checked}"
        )
    return 1 if bad else 0


def _findings(options: argparse.Namespace) -> Iterator[Finding]:
    key: Finding | None = None
    try:
        # First without the key: a wrong setting is an error also where the key is missing.
        settings = settings_of(options, app_key="none")
        settings = settings_of(options)
    except NoAppKey:
        key = Finding("app key", False, "YAGNA_APPKEY is not set", _new_key())
    except BadSetting as error:
        yield Finding("settings", False, str(error), "correct it, and run simple-golem doctor again")
        return
    yagna = client_of(settings)
    node_id: str | None = None
    try:
        daemon, answers = _daemon(yagna, settings)
        yield daemon
        if answers and key is None:
            key, node_id = _key(yagna)
        if key is not None:
            yield key
        if answers:
            yield _clock(yagna)
        if node_id is not None:
            yield _network(yagna)
            yield from _money(yagna, settings, node_id)
    finally:
        yagna.close()
    yield from _registry(settings, os.environ)
    yield from _earlier_sessions(settings, node_id)


def _key(yagna: Yagna) -> tuple[Finding, str | None]:
    """Return what is to be said of the app key, and the identity that it belongs to."""
    try:
        me = yagna.identity.me(repeat=Repeat.NEVER)
    except BadAppKey:
        return Finding("app key", False, "the daemon does not know this YAGNA_APPKEY", _new_key()), None
    except DaemonError as error:
        return Finding("app key", False, str(error), "yagna app-key list"), None
    return Finding("app key", True, f"of the identity {me.node_id} ({printable(me.name, 40)})"), me.node_id


def _new_key() -> str:
    return "yagna app-key list  (or: yagna app-key create my-key), then: export YAGNA_APPKEY=…"


# --- the daemon -------------------------------------------------------------------------------------------


def _daemon(yagna: Yagna, settings: Settings) -> tuple[Finding, bool]:
    """Return what is to be said of the daemon, and whether it answers."""
    url = settings.api_url
    try:
        version = yagna.status.version()
    except NoDaemon:
        return Finding("yagna", False, f"no yagna answers at {url}", _start_of_daemon(url)), False
    except DaemonError as error:
        text = f"what answers at {url} is no yagna ({printable(error, 200)})"
        return Finding("yagna", False, text, "set YAGNA_API_URL to where yagna listens"), False
    current = printable(version.current, 40)
    numbers = _numbers(current)
    if numbers is not None and numbers < _OLDEST_YAGNA:
        oldest = ".".join(map(str, _OLDEST_YAGNA))
        text = f"version {current} at {url} is too old: {oldest} or later is needed"
        return Finding("yagna", False, text, f"{_INSTALL}, then: yagna service run"), True
    newer = f" (there is a newer one: {printable(version.newer, 40)})" if version.newer else ""
    return Finding("yagna", True, f"version {current} at {url}{newer}"), True


def _start_of_daemon(url: str) -> str:
    start = "yagna service run"
    if urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
        return f"{start}  on that machine, or set YAGNA_API_URL to where yagna listens"
    if shutil.which("yagna") is None:
        return f"{_INSTALL}, then: {start}"
    return f"{start}  (in a terminal of its own), or set YAGNA_API_URL to where yagna listens"


def _numbers(version: str) -> tuple[int, ...] | None:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return None if found is None else tuple(map(int, found.groups()))


def _clock(yagna: Yagna) -> Finding:
    if not yagna.clock.is_measured:
        return Finding("clock", True, "the daemon does not tell its time")
    if yagna.clock.ahead:
        return Finding(
            "clock", False, str(yagna.clock), "sudo timedatectl set-ntp true  (on the machine that is wrong)"
        )
    return Finding("clock", True, "shows the same time as the daemon's")


def _network(yagna: Yagna) -> Finding:
    try:
        count = yagna.status.connections()
    except DaemonError as error:
        return Finding("network", False, str(error), "yagna net status")
    if count is None:
        return Finding("network", True, "a central network, as the local one is")
    if count == 0:
        return Finding(
            "network",
            False,
            "no other node is connected: the relay is not reached",
            "yagna net status  (yagna needs outgoing UDP; see its log)",
        )
    return Finding("network", True, f"{count} connection{'' if count == 1 else 's'} to other nodes")


# --- the money --------------------------------------------------------------------------------------------


def _money(yagna: Yagna, settings: Settings, node_id: str) -> Iterator[Finding]:
    chosen = settings.payment_network
    name = f"funds on {chosen}"
    try:
        networks = yagna.status.payment_networks()
    except DaemonError as error:
        yield Finding(name, False, str(error), f"yagna payment status --network {chosen}")
        return
    if chosen not in networks:
        text = f"this yagna does not know {chosen}, only {', '.join(sorted(networks))}"
        yield Finding(name, False, text, "--network or YAGNA_PAYMENT_NETWORK names another one")
        return
    workers = WorkerPool("golem-doctor", _FUNDS_WORKERS)
    try:
        asked = {one: workers.submit(yagna.status.funds, node_id, one) for one in networks}
        yield _funds(name, asked.pop(chosen), chosen, node_id)
        elsewhere = [text for one, answer in asked.items() if (text := _funds_elsewhere(one, answer))]
        if elsewhere:
            yield Finding("other funds", True, ", ".join(elsewhere))
    finally:
        workers.close(_JOIN_SECONDS)


def _funds(name: str, answer: Future[Funds], network: str, node_id: str) -> Finding:
    try:
        funds = answer.result()
    except DaemonError as error:
        return Finding(name, False, _no_chain(error), f"yagna payment driver rpc --network {network}")
    text = f"{rounded(funds.amount)} {funds.token}"
    if funds.gas is not None:
        text += f", and {rounded(funds.gas)} {printable(funds.gas_token, 20)} for gas"
    fund = f"yagna payment fund --network {network}"
    if funds.amount <= 0:
        return Finding(name, False, text, fund)
    if funds.gas is not None and funds.gas <= 0:
        is_test = funds.token.startswith("t")
        step = fund if is_test else f"send some {funds.gas_token} to {node_id}"
        return Finding(name, False, f"{text}: without gas nothing can be paid", step)
    if funds.amount <= funds.reserved:
        step = "simple-golem cleanup  (or: yagna payment release-allocations)"
        return Finding(name, False, f"{text}, but all of it is in allocations", step)
    reserved = f"; {rounded(funds.reserved)} {funds.token} is in allocations" if funds.reserved else ""
    return Finding(name, True, text + reserved)


def _funds_elsewhere(network: str, answer: Future[Funds]) -> str:
    """Return the funds on a network that is not the chosen one, in words; it may have none."""
    error = answer.exception()
    if error is not None:
        return ""
    funds = answer.result()
    return f"{rounded(funds.amount)} {funds.token} on {network}" if funds.amount > Decimal(0) else ""


def _no_chain(error: DaemonError) -> str:
    return f"the daemon could not ask the chain: {printable(getattr(error, 'detail', error), 160)}"


# --- beside the daemon ------------------------------------------------------------------------------------


def _registry(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    proxies = [name for name in _PROXIES if environ.get(name) or environ.get(name.lower())]
    if proxies:
        text = f"{' and '.join(proxies)} of the environment: for the image registry only, never for yagna"
        yield Finding("proxy", True, text)
    try:
        locate(_IMAGE, settings.registry_url)
    except UnknownImage:
        pass  # it has answered
    except RegistryError as error:
        step = "check the proxy and NO_PROXY" if proxies else "check the connection to the internet"
        yield Finding("image registry", False, printable(error, 300), step)
        return
    yield Finding("image registry", True, f"answers at {settings.registry_url}")


def _earlier_sessions(settings: Settings, node_id: str | None) -> Iterator[Finding]:
    sessions = [
        one
        for one in sessions_of_user()
        if one.record.owner.api_url == settings.api_url and node_id in (None, one.record.owner.node_id)
    ]
    left = [one for one in sessions if one.is_left]
    running = sum(one.is_alive for one in sessions)
    suspended = sum(len(one.record.suspended) for one in sessions if not one.is_alive)
    others = [
        f"{running} running" if running else "",
        f"{suspended} suspended instances" if suspended else "",
    ]
    also = ", ".join(one for one in others if one)
    if unreadable := unreadable_journals():
        yield Finding("earlier sessions", False, unreadable, UNREADABLE_STEP)
        return
    if not left:
        yield Finding("earlier sessions", True, "nothing is left" + (f" ({also})" if also else ""))
        return
    text = f"{len(left)} ended without cleaning up, and left {_what_is_left(left)}"
    steps = dict.fromkeys(cleanup_command(one.record.owner) for one in left)
    yield Finding("earlier sessions", False, text, "; ".join(steps))


def _what_is_left(left: Sequence[UserSession]) -> str:
    counts: Counter[str] = Counter()
    for session in left:
        counts.update(session.to_clean_up)
    return ", ".join(f"{what}: {count}" for what, count in counts.items() if count)
