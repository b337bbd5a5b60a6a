"""Calls of a pool as mypy sees them: each wrong one has a comment, and mypy complains about one too many."""

from __future__ import annotations

from concurrent.futures import Future

from simple_golem import Golem, Instance


def square(machine: Instance, number: int, *, plus: float = 0.0) -> float:
    return number**2 + plus


def alone(machine: Instance) -> str:
    return machine.name


def without_machine(number: int) -> int:
    return number


def calls(golem: Golem) -> None:
    pool = golem.pool(3)
    good: Future[float] = pool.submit(square, 3, plus=1.5)
    text: Future[str] = pool.submit(alone)
    pool.submit(square, "3")  # type: ignore[arg-type]
    pool.submit(square)  # type: ignore[call-arg]
    pool.submit(square, 3, minus=1)  # type: ignore[call-arg]
    pool.submit(without_machine, 3)  # type: ignore[arg-type, call-arg]
    wrong: Future[int] = pool.submit(alone)  # type: ignore[arg-type]
    results: list[float] = list(pool.map(square, range(3)))
    others: list[str] = list(pool.map(square, range(3)))  # type: ignore[arg-type]
    machine = golem.rent(image_tag="a/b:c", min_mem_gib=2)
    machine.shell("date", keep_last=10).stdout.strip()
    machine.shell("date", keep="all")  # type: ignore[call-arg]
    golem.rent(memory=3)  # type: ignore[call-arg]
    assert [good, text, wrong, results, others]
