"""The payment configuration of a daemon with and without a chain."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from simple_golem.local.daemon.daemon import YagnaDaemon
from simple_golem.local.daemon.payment_config import (
    chain_ids,
    payment_config,
    platform_of,
    write_payment_config,
)

URLS = {"hoodi": "http://127.0.0.1:4567/hoodi", "polygon": "http://127.0.0.1:4567/polygon"}


def started(folder: Path, chain_urls: dict[str, str] | None) -> tuple[str, Path]:
    """The environment that a daemon was started with, and where its payment configuration would be."""
    program = folder / "yagna"
    program.write_text("#!/bin/sh\nenv > environment.new\nmv environment.new environment\nexec sleep 60\n")
    program.chmod(0o755)
    daemon = YagnaDaemon(
        "a daemon",
        folder / "state",
        api_port=4001,
        gsb_port=4002,
        hub_port=4002,
        program=program,
        chain_urls=chain_urls,
    )
    daemon.start()
    seen = daemon.folder / "home" / "environment"
    while not seen.exists():
        daemon.check_running()
    daemon.close()
    return seen.read_text(), daemon.folder / "data" / "config-payments.toml"


def test_a_daemon_with_a_chain_checks_funds_there_and_pays_nowhere_else(tmp_path: Path) -> None:
    environment, config = started(tmp_path, URLS)
    assert "YAGNA_DEV_SKIP_ALLOCATION_VALIDATION" not in environment
    assert "HOODI_GETH_ADDR" not in environment
    assert "POLYGON_GETH_ADDR" not in environment
    for chain in ("MAINNET", "HOLESKY", "SEPOLIA", "GOERLI", "MUMBAI", "AMOY"):
        assert f"{chain}_GETH_ADDR=http://127.0.0.1:1\n" in environment
    assert config.read_text() == payment_config(URLS)


def test_a_daemon_with_a_chain_pays_every_six_seconds_from_its_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with closing(sqlite3.connect(data / "payment.db")) as payments, payments:
        payments.execute("CREATE TABLE pay_batch_cycle (cycle_interval)")
        payments.execute("INSERT INTO pay_batch_cycle VALUES ('5m')")
    write_payment_config(tmp_path, URLS)
    with closing(sqlite3.connect(data / "payment.db")) as payments:
        assert payments.execute("SELECT * FROM pay_batch_cycle").fetchall() == []
    environment, _ = started(tmp_path, URLS)
    assert "PAYMENT_CYCLE_DEFAULT_INTERVAL=6s\n" in environment
    assert "PAYMENT_CYCLE_DEFAULT_EXTRA_PAY_TIME=6s\n" in environment


def test_a_daemon_without_a_chain_checks_no_funds(tmp_path: Path) -> None:
    environment, config = started(tmp_path, None)
    assert "YAGNA_DEV_SKIP_ALLOCATION_VALIDATION=1\n" in environment
    assert "HOODI_GETH_ADDR=http://127.0.0.1:1\n" in environment
    assert "PAYMENT_CYCLE" not in environment
    assert not config.exists()


def test_only_the_networks_of_the_providers_are_on_a_local_chain() -> None:
    sections = payment_config(URLS).split("[[chain.")[1:]
    endpoints = {
        section.partition(".")[0]: [url for url in URLS.values() if url in section] for section in sections
    }
    assert len(endpoints) == 8
    assert {name: urls for name, urls in endpoints.items() if urls} == {
        "hoodi": [URLS["hoodi"]],
        "polygon": [URLS["polygon"]],
    }


def test_networks_have_the_ids_and_the_tokens_of_their_chains() -> None:
    assert chain_ids(["polygon", "hoodi"]) == {"polygon": 137, "hoodi": 560048}
    assert [platform_of(one) for one in ("polygon", "hoodi")] == ["erc20-polygon-glm", "erc20-hoodi-tglm"]
