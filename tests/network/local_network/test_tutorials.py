"""Every tutorial runs as it stands, and the pages show the very scripts that run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simple_golem.local.local_golem import LocalGolem

ROOT = Path(__file__).resolve().parents[3]
COST = r"It cost 0\.\d+ tGLM \(test money\) on hoodi\n$"


def run(network: LocalGolem, script: str, folder: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "tutorials" / script],
        cwd=folder,
        env={**os.environ, **network.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_hello_world_tells_the_date_and_what_it_cost(network):
    output = run(network, "01_hello_world.py")
    assert (
        len(re.findall(r"^DateService-1 on prov-\d: hello world, it is \w+ .*\d\d:\d\d:\d\d", output, re.M))
        >= 2
    )
    assert re.search(COST, output)


def test_hello_world_runs_behind_a_proxy_that_reaches_nothing(network, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert re.search(COST, run(network, "01_hello_world.py"))


def test_the_simple_service_shows_statistics_of_three_providers(network):
    output = run(network, "02_simple_service.py")
    seen = re.findall(r"^SimpleService-(\d) +prov-\d +(\d+) observations, mean +[\d.]+ #+$", output, re.M)
    assert {number for number, _ in seen} == {"1", "2", "3"}
    assert max(int(count) for _, count in seen) > min(int(count) for _, count in seen)
    assert re.search(COST, output)


def test_a_web_service_is_read_through_a_proxy(network):
    output = run(network, "06_web_service.py")
    assert re.search(r"^Open http://127\.0\.0\.1:\d+ in a browser", output)
    assert re.findall(r"^Hello from WebServer-(\d)$", output, re.M) in (["1", "2"] * 2, ["2", "1"] * 2)
    assert re.search(COST, output)


def test_clients_find_their_server_by_its_name(network):
    output = run(network, "07_instances_by_name.py")
    assert "The server is keyvalueserver-1 at 192.168.0.2\n" in output
    counts = re.findall(r"^Client-\d ended at (\d+)$", output, re.M)
    assert len(counts) == 2
    assert "200" in counts
    assert "The script is visitor 201\n" in output
    assert re.search(COST, output)


def test_three_providers_compute_their_parts_and_the_script_collects_them(network):
    output = run(network, "03_compute_and_collect.py")
    parts = re.findall(r"^prov-\d: (\d+) to (\d+) is (\d+)$", output, re.M)
    assert [(int(first), int(last)) for first, last, _ in parts] == [(1, 1000), (1001, 2000), (2001, 3000)]
    assert f"Together: {sum(range(1, 3001))}\n" in output
    assert re.search(COST, output)


def test_a_picture_is_painted_by_three_providers_and_comes_back(network, tmp_path):
    output = run(network, "05_files.py", tmp_path)
    assert set(re.findall(r"^prov-\d painted (\w+)\.pgm$", output, re.M)) == {"negative", "bright", "poster"}
    assert re.search(COST, output)
    pictures = {path.stem: path.read_text().split() for path in tmp_path.iterdir()}
    assert set(pictures) == {"waves", "negative", "bright", "poster"}
    assert all(words[:4] == ["P2", "160", "120", "255"] for words in pictures.values())
    points = {name: [int(word) for word in words[4:]] for name, words in pictures.items()}
    assert points["negative"] == [255 - point for point in points["waves"]]
    assert set(points["poster"]) == {0, 85, 170, 255}
    assert all(after >= before for before, after in zip(points["waves"], points["bright"], strict=True))
    assert sum(points["bright"]) > sum(points["waves"])


def test_the_tests_of_the_testing_tutorial_pass_without_any_network():
    done = subprocess.run(
        [sys.executable, ROOT / "tutorials" / "04_testing_a_service.py"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("passed: ") == 5


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "tutorials").glob("*.py")))
def test_each_page_includes_its_script_to_the_letter(script):
    page = (ROOT / "tutorials" / script).with_suffix(".md").read_text()
    assert f"```python\n{(ROOT / 'tutorials' / script).read_text()}```" in page


def test_the_first_page_shows_the_hello_world_that_runs():
    page = (ROOT / "docs" / "start.md").read_text()
    program = (ROOT / "tutorials" / "01_hello_world.py").read_text().partition("\n\n")[2]
    assert f"```python\n{program}```" in page


def test_the_readme_shows_the_command_that_ci_runs():
    readme = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"^python3 -m venv .*pytest.*$", readme, re.M)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()
