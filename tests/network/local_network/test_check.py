"""`simple-golem local check`: a script that is fine, and six that each break one rule."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.network.helpers.processes import ROOT, TOOL, environment

FINE = """
from simple_golem import Golem, Run, UploadBytes

with Golem(budget=1) as golem:
    machine = golem.rent()
    machine.execute(UploadBytes(b"1", "/golem/work/one"), Run("/bin/cat", "/golem/work/one"))
    {broken}
"""
# The line that breaks the rule, the rule with its number, and how the run ends.
BROKEN = {
    "lost-tail (1)": ('print(machine.shell("head -c 204800 /dev/zero", keep_all=False)[:1])', "succeeded"),
    "not-started (2)": ('machine.execute(Run("/no/such/program"))', "failed with status 1"),
    "volumes-only (28)": ('machine.execute(UploadBytes(b"1", "/tmp/one"))', "failed with status 1"),
    "own-loopback (34)": (
        "from simple_golem import UploadFromUrl; "
        'machine.execute(UploadFromUrl("http://127.0.0.1:9/x", "/golem/work/x"))',
        "failed with status 1",
    ),
    "links (32)": (
        'machine.shell("ln -s /etc/passwd /golem/work/link"); from simple_golem import DownloadBytes; '
        'machine.execute(DownloadBytes("/golem/work/link"))',
        "failed with status 1",
    ),
    "subnet (55)": (
        'other = Golem(1, subnet_tag="other").open(); other.rent(2)',
        "failed with status 1",
    ),
}


def check(tmp_path: Path, text: str) -> tuple[int, list[str], str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    quick = ["--runs", "1", "--pace", "0.005", "--providers", "2", "--seed", "3"]
    done = subprocess.run(
        [*TOOL, "local", "check", *quick, str(script)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.returncode, done.stdout.splitlines(), f"{script}:{len(text.splitlines())}"


def test_a_script_that_is_fine_breaks_no_rule(tmp_path: Path) -> None:
    status, told, _ = check(tmp_path, FINE.format(broken=""))
    assert re.fullmatch(r"run 1 \(seed 3\): succeeded after \d+\.\d s", told[0]), told
    assert told[1:] == ["no rule of real providers has struck"]
    assert status == 0


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_that_is_broken_is_named_with_the_line(tmp_path: Path, rule: str) -> None:
    broken, end = BROKEN[rule]
    status, told, place = check(tmp_path, FINE.format(broken=broken))
    assert told[0].startswith(f"run 1 (seed 3): {end}"), told
    assert told[1] == "rules of real providers that have struck:"
    [line] = told[2:]
    assert line.startswith(f"  {place}: {rule}, 1 of 1 runs: ")
    assert status == 1
