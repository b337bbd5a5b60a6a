"""Each measure of the table: which runs it takes, and what is read from them."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from simple_golem.local.sandbox.sandbox import Sandbox
from simple_golem.local.sandbox.sandbox_maker import SandboxMaker
from tests.helpers.hand_made_images import shell_root

from .books import Books
from .imports import EVERYTHING, import_milliseconds, installed_package
from .subject import (
    FLOOR,
    SIMPLE_GOLEM,
    THE_FLOOR,
    THE_LIBRARY,
    YAPAPI,
    Report,
    Subject,
    SubjectFailed,
)
from .table import Goal, Row

logger = logging.getLogger(__name__)

BATCHES = 20
_PROVIDERS = 20
_ROUND_TRIPS = 300
_IMPORT_ROUNDS = 21
_EVERYTHING = "everything"
_IMAGE = "me/large:1"
_FILE_BYTES = 100_000
_ACTIVITIES = 5
_WORK_SCRIPTS = {FLOOR: "work_floor.py", SIMPLE_GOLEM: "work_pool.py", YAPAPI: "work_yapapi.py"}
_SAME_AS_FLOOR = Goal(1.1, FLOOR)

GROWING = ("first", "done", "closed", "cpu", "memory_mib")

Rounds = Mapping[str, Sequence[Report]]
Growth = Mapping[int, Mapping[str, Mapping[str, float]]]


def interleaved(
    subjects: Sequence[Subject], rounds: int, instances: int, batches: int, providers: int
) -> Rounds:
    """Have the subjects do the work one after the other, round after round, each round on a new network.

    A round in which anything fails counts for nobody, and is made up for by another one.

    Raises:
        SubjectFailed: too many have.
    """
    reports: dict[str, list[Report]] = {subject.name: [] for subject in subjects}
    spare = max(1, rounds // 2)
    while len(reports[SIMPLE_GOLEM]) < rounds:
        try:
            with LocalGolem(providers=providers) as network:
                of_round = one_round(network, subjects, instances, batches)
        except SubjectFailed as error:
            logger.warning("this round does not count: %s", error)
            spare -= 1
            if spare < 0:
                raise
            continue
        for name, report in of_round.items():
            reports[name].append(report)
    return reports


def one_round(
    network: LocalGolem, subjects: Sequence[Subject], instances: int, batches: int
) -> dict[str, Report]:
    """Have the subjects do the work one after the other; each is held to its books."""
    books = Books(network)
    reports = {}
    for subject in subjects:
        report = reports[subject.name] = subject.run(network.environment, instances, batches)
        # A pool releases a machine that comes too late for an item before it has an activity.
        books.check(report.get("machines", instances))
        times = ", ".join(f"{key} {report[key]:.2f} s" for key in ("first", "done", "closed", "cpu"))
        logger.info("%3d x %d by %-12s %s", instances, batches, subject.name, times)
    return reports


def lives(subjects: Sequence[Subject], rounds: int) -> list[Row]:
    """One instance, and as many as there are providers, from nothing to everything released."""
    rows = []
    for instances in (1, _PROVIDERS):
        reports = interleaved(subjects, rounds, instances, BATCHES, _PROVIDERS)
        rows += rows_of_lives(reports, instances)
    return rows


def rows_of_lives(reports: Rounds, instances: int) -> list[Row]:
    quick = Goal(0.45 if instances > 1 else 0.75, YAPAPI)
    peer = Goal(0.75, YAPAPI)
    what = f"{instances} instance{'s' if instances > 1 else ''}"
    rows = [
        Row.of(f"{what}: last first result", "s", _each(reports, "first"), _SAME_AS_FLOOR, quick),
        Row.of(f"{what}: all {BATCHES} batches of all", "s", _each(reports, "done"), _SAME_AS_FLOOR, peer),
        Row.of(f"{what}: closed, invoices accepted", "s", _each(reports, "closed"), _SAME_AS_FLOOR, peer),
    ]
    goals = (Goal(1.2, FLOOR), Goal(0.7, YAPAPI)) if instances > 1 else ()
    return [
        *rows,
        Row.of(f"{what}: CPU", "s", _each(reports, "cpu"), *goals),
        Row.of(f"{what}: CPU, imports included", "s", _each(reports, "cpu_of_process"), *goals),
    ]


def round_trips(subjects: Sequence[Subject], rounds: int) -> list[Row]:
    """Many batches of one instance, one after the other."""
    reports = interleaved(subjects, rounds, 1, _ROUND_TRIPS, 1)
    return [
        Row.of("one batch, round trip, p50", "ms", _trips(reports, 50), Goal(1.05, FLOOR)),
        Row.of("one batch, round trip, p95", "ms", _trips(reports, 95), Goal(1.2, FLOOR)),
    ]


def work(subjects: Sequence[Subject], rounds: int, items: int) -> list[Row]:
    """Many items of one short command on as many machines as there are providers."""
    by_queue = [replace(one, script=_WORK_SCRIPTS[one.name]) for one in subjects]
    reports = interleaved(by_queue, rounds, _PROVIDERS, items, _PROVIDERS)
    peer = Goal(1.0, YAPAPI)
    what = f"{items} items, {_PROVIDERS} machines"
    return [
        Row.of(f"{what}: all are done", "s", _each(reports, "done"), _SAME_AS_FLOOR, peer),
        Row.of(f"{what}: closed, invoices accepted", "s", _each(reports, "closed"), _SAME_AS_FLOOR, peer),
        Row.of(f"{what}: CPU", "s", _each(reports, "cpu"), Goal(1.2, FLOOR), peer),
    ]


def _each(reports: Rounds, key: str) -> dict[str, list[float]]:
    return {name: [report[key] for report in of_one] for name, of_one in reports.items()}


def _trips(reports: Rounds, percent: int) -> dict[str, list[float]]:
    return {
        name: [1000 * quantiles(report["round_trips"], n=100)[percent - 1] for report in of_one]
        for name, of_one in reports.items()
    }


def idle(instances: int, seconds: float) -> list[Row]:
    """Instances that are running, with nothing to do."""
    with LocalGolem(providers=instances) as network:
        books = Books(network)
        report = Subject(SIMPLE_GOLEM, "idle.py").run(network.environment, instances, seconds)
        books.check(instances)
    what = f"{instances} idle instances, {seconds:g} s"

    def row(measure: str, unit: str, key: str, *goals: Goal) -> Row:
        return Row(f"{what}: {measure}", unit, {SIMPLE_GOLEM: report[key]}, goals)

    return [
        row("CPU of one core", "%", "cpu_percent", Goal(2.0)),
        row("threads beside one each", "", "threads_above_instances", Goal(10)),
        row("memory of each", "MB", "memory_mib_per_instance", Goal(0.25)),
    ]


def notice(rounds: int) -> list[Row]:
    """How soon a failure is known."""
    subject = Subject(SIMPLE_GOLEM, "notice.py")
    whats: Mapping[str, ProviderHabits] = {
        "a command failed in mid batch: known after": ProviderHabits(),
        "a deploy failed: known after": ProviderHabits(deploy_error="no space left", command_delay=1.0),
    }
    rows = []
    for what, habits in whats.items():
        with LocalGolem(providers=[habits]) as network:
            delays = [1000 * subject.run(network.environment)["delay"] for _ in range(rounds)]
        rows.append(Row.of(what, "ms", {SIMPLE_GOLEM: delays}, Goal(100)))
    return rows


def transfers(rounds: int, size: int) -> list[Row]:
    """A file into an instance and out of it, beside what the daemon's bus lets through at most."""
    subjects = (Subject(FLOOR, "bare_transfer.py"), Subject(SIMPLE_GOLEM, "transfer.py"))
    reports: dict[str, list[Report]] = {subject.name: [] for subject in subjects}
    for _ in range(rounds):
        with LocalGolem(providers=1) as network:
            books = Books(network)
            for subject in subjects:
                reports[subject.name].append(subject.run(network.environment, size))
                books.check(1)
    what, goal = f"{size / 1e6:g} MB", Goal(0.8, FLOOR, at_least=True)
    return [
        Row.of(f"upload of {what} (floor: the bus's limit)", "MB/s", _each(reports, "up"), goal),
        Row.of(f"download of {what} (floor: the bus's limit)", "MB/s", _each(reports, "down"), goal),
        Row.of(f"both of {what}: memory more than before", "MB", _each(reports, "memory_mib"), Goal(8.0)),
    ]


def images(rounds: int, size: int) -> list[Row]:
    """A network, and an activity with a large image that is unpacked already."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "image")
        shell_root(root)
        for number in range(size // _FILE_BYTES):
            (root / f"file-{number}").write_bytes(os.urandom(_FILE_BYTES))
        LocalGolem(images={_IMAGE: root}).start().stop()
        up, ready = [], []
        for _ in range(rounds):
            began = time.monotonic()
            with LocalGolem(images={_IMAGE: root}) as local:
                up.append(time.monotonic() - began)
                books = Books(local)
                report = Subject(SIMPLE_GOLEM, "images.py").run(local.environment, _IMAGE, _ACTIVITIES)
                books.check(_ACTIVITIES)
            ready += [1000 * seconds for seconds in report["ready"]]
        read_only = [1000 * _read_only_seconds(root) for _ in range(rounds)]
    what = f"image of {size / 1e6:g} MB"
    return [
        Row.of("local network: up", "s", {SIMPLE_GOLEM: up}, Goal(1.5)),
        Row.of(f"{what}: deploy and start", "ms", {SIMPLE_GOLEM: ready}, Goal(150)),
        Row.of(f"{what}: its root without overlay", "ms", {SIMPLE_GOLEM: read_only}, Goal(300)),
    ]


def _read_only_seconds(root: Path) -> float:
    """How long a root takes, and its first command, where no writable layer can be laid over it."""
    maker = SandboxMaker()
    try:
        # The maker of a network is there before its first activity.
        Sandbox(maker=maker).close()
        began = time.monotonic()
        with Sandbox([root], overlay=False, maker=maker) as sandbox:
            sandbox.popen(["/bin/sh", "-c", "true"]).wait(lambda data: None, lambda data: None)
            return time.monotonic() - began
    finally:
        maker.close()


def network(rounds: int, size: int) -> list[Row]:
    """Connections to an instance, beside bare loops over `websockets`, which may mix up what they send."""
    subject = Subject(SIMPLE_GOLEM, "connections.py")
    reports = []
    for _ in range(rounds):
        with LocalGolem(providers=1) as local:
            books = Books(local)
            reports.append(subject.run(local.environment, size))
            books.check(1)
    what, speed = f"{size / 1e6:g} MB", Goal(0.8, FLOOR, at_least=True)

    def row(measure: str, unit: str, key: str, *goals: Goal, of: str = "own") -> Row:
        values = {SIMPLE_GOLEM: [float(value) for report in reports for value in report[of][key]]}
        if key in reports[0]["bare"]:
            values[FLOOR] = [float(value) for report in reports for value in report["bare"][key]]
        return Row.of(measure, unit, values, *goals)

    broken = float(
        sum(not whole for report in reports for of in ("own", "proxy") for whole in report[of]["whole"])
    )
    return [
        row("connection to an instance", "ms", "connect", Goal(1.3, FLOOR)),
        row("request and reply over it, p50", "ms", "p50", Goal(1.2, FLOOR)),
        row("request and reply over it, p95", "ms", "p95", Goal(1.2, FLOOR)),
        row(f"{what} from an instance, connect()", "MB/s", "down", speed),
        row(f"{what} from an instance, TcpProxy", "MB/s", "down", speed, of="proxy"),
        row(f"{what} to an instance, connect()", "MB/s", "up", speed),
        row(f"{what} to an instance, TcpProxy", "MB/s", "up", speed, of="proxy"),
        Row("those to an instance that did not arrive whole", "", {SIMPLE_GOLEM: broken}, (Goal(0),)),
        row(f"{what} both ways: memory more than before", "MB", "memory_mib", Goal(32.0)),
        row("200 connections at once through a TcpProxy", "s", "at_once", of="proxy"),
        row("threads left by a TcpProxy", "", "threads", Goal(0), of="proxy"),
        row("processor time of an idle TcpProxy", "%", "idle", Goal(0.5), of="proxy"),
    ]


def imports(subjects: Sequence[Subject], rounds: int = _IMPORT_ROUNDS) -> list[Row]:
    """What an import of the installed package costs, in processor time, beyond a bare interpreter."""
    with installed_package() as python:
        programs = {
            FLOOR: (python, "import requests, tenacity"),
            SIMPLE_GOLEM: (python, "import simple_golem"),
            _EVERYTHING: (python, EVERYTHING),
        }
        programs |= {peer.name: (peer.python, "import yapapi") for peer in subjects if peer.name == YAPAPI}
        took = import_milliseconds(programs, python, rounds)
    everything = took.pop(_EVERYTHING)
    return [
        Row.of("import (floor: requests, tenacity)", "ms", took, Goal(1.3, FLOOR), Goal(0.5, YAPAPI)),
        Row.of("import, and what an open Golem loads", "ms", {**took, SIMPLE_GOLEM: everything}),
    ]


def growth(subjects: Sequence[Subject], counts: Sequence[int], rounds: int) -> Growth:
    """The work of `lives` by more and more instances, each on a network with a provider for each."""
    result = {}
    for count in counts:
        try:
            reports = interleaved(subjects, rounds, count, BATCHES, count)
        except SubjectFailed:
            logger.warning("this machine has no room for %d instances and their providers", count)
            break
        result[count] = {
            name: {key: median(report[key] for report in of_one) for key in GROWING}
            for name, of_one in reports.items()
        }
    return result


STANDARD = (THE_FLOOR, THE_LIBRARY)
