"""The payment configuration of a daemon with and without a chain."""

from __future__ import annotations

from pathlib import Path

from simple_golem.local.daemon.daemon import YagnaDaemon
from simple_golem.local.daemon.payment_config import payment_config

URL = "http://127.0.0.1:4567"


def started(folder: Path, chain_url: str | None) -> tuple[str, Path]:
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
        chain_url=chain_url,
    )
    daemon.start()
    seen = daemon.folder / "home" / "environment"
    while not seen.exists():
        daemon.check_running()
    daemon.close()
    return seen.read_text(), daemon.folder / "data" / "config-payments.toml"


def test_a_daemon_with_a_chain_checks_funds_there_and_pays_nowhere_else(tmp_path: Path) -> None:
    environment, config = started(tmp_path, URL)
    assert "YAGNA_DEV_SKIP_ALLOCATION_VALIDATION" not in environment
    assert "HOODI_GETH_ADDR" not in environment
    for chain in ("MAINNET", "POLYGON", "HOLESKY", "SEPOLIA", "GOERLI", "MUMBAI", "AMOY"):
        assert f"{chain}_GETH_ADDR=http://127.0.0.1:1\n" in environment
    assert config.read_text() == payment_config(URL)


def test_a_daemon_without_a_chain_checks_no_funds(tmp_path: Path) -> None:
    environment, config = started(tmp_path, None)
    assert "YAGNA_DEV_SKIP_ALLOCATION_VALIDATION=1\n" in environment
    assert "HOODI_GETH_ADDR=http://127.0.0.1:1\n" in environment
    assert not config.exists()


def test_only_hoodi_is_on_the_local_chain() -> None:
    sections = payment_config(URL).split("[[chain.")[1:]
    endpoints = {section.partition(".")[0]: URL in section for section in sections}
    assert len(endpoints) == 8
    assert [name for name, here in endpoints.items() if here] == ["hoodi"]
