"""Every tutorial runs as it stands, and the pages show the very scripts that run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from simple_golem.local.local_golem import LocalGolem
from tests.helpers.side_by_side import side_by_side
from tests.helpers.unmeasured import own_environment

ROOT = Path(__file__).resolve().parents[3]
# So many tutorials, each with three providers at most.
AT_ONCE = 3
COST = r"It cost 0\.\d+ tGLM \(test money\) on hoodi\n$"


@pytest.fixture(scope="module")
def network() -> Iterator[LocalGolem]:
    """Enough providers for the tutorials that run at the same time."""
    with LocalGolem(3 * AT_ONCE) as network:
        yield network


def run(network: LocalGolem, script: str, folder: Path | None = None, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "tutorials" / script],
        cwd=folder,
        env={**os.environ, **network.environment, "PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def hello_world_tells_the_date_and_what_it_cost(network: LocalGolem, folder: Path) -> None:
    output = run(network, "01_hello_world.py")
    assert (
        len(re.findall(r"^DateService-1 on prov-\d: hello world, it is \w+ .*\d\d:\d\d:\d\d", output, re.M))
        >= 2
    )
    assert re.search(COST, output)


def hello_world_runs_behind_a_proxy_that_reaches_nothing(network: LocalGolem, folder: Path) -> None:
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    proxies = dict.fromkeys(names, "http://127.0.0.1:1")
    assert re.search(COST, run(network, "01_hello_world.py", **proxies))


def the_simple_service_shows_statistics_of_three_providers(network: LocalGolem, folder: Path) -> None:
    output = run(network, "02_simple_service.py")
    seen = re.findall(r"^SimpleService-(\d) +prov-\d +(\d+) observations, mean +[\d.]+ #+$", output, re.M)
    assert {number for number, _ in seen} == {"1", "2", "3"}
    assert max(int(count) for _, count in seen) > min(int(count) for _, count in seen)
    assert re.search(COST, output)


def a_web_service_is_read_through_a_proxy(network: LocalGolem, folder: Path) -> None:
    output = run(network, "06_web_service.py")
    assert re.search(r"^Open http://127\.0\.0\.1:\d+ in a browser", output)
    assert re.findall(r"^Hello from WebServer-(\d)$", output, re.M) in (["1", "2"] * 2, ["2", "1"] * 2)
    assert re.search(COST, output)


def clients_find_their_server_by_its_name(network: LocalGolem, folder: Path) -> None:
    output = run(network, "07_instances_by_name.py")
    assert "The server is keyvalueserver-1 at 192.168.0.2\n" in output
    counts = re.findall(r"^Client-\d ended at (\d+)$", output, re.M)
    assert len(counts) == 2
    assert "200" in counts
    assert "The script is visitor 201\n" in output
    assert re.search(COST, output)


def three_providers_compute_their_parts_for_the_script(network: LocalGolem, folder: Path) -> None:
    output = run(network, "03_compute_and_collect.py")
    parts = re.findall(r"^prov-\d: (\d+) to (\d+) is (\d+)$", output, re.M)
    assert [(int(first), int(last)) for first, last, _ in parts] == [(1, 1000), (1001, 2000), (2001, 3000)]
    assert f"Together: {sum(range(1, 3001))}\n" in output
    assert re.search(COST, output)


def a_picture_is_painted_by_three_providers_and_comes_back(network: LocalGolem, folder: Path) -> None:
    output = run(network, "05_files.py", folder)
    assert set(re.findall(r"^prov-\d painted (\w+)\.pgm$", output, re.M)) == {"negative", "bright", "poster"}
    assert re.search(COST, output)
    pictures = {path.stem: path.read_text().split() for path in folder.iterdir()}
    assert set(pictures) == {"waves", "negative", "bright", "poster"}
    assert all(words[:4] == ["P2", "160", "120", "255"] for words in pictures.values())
    points = {name: [int(word) for word in words[4:]] for name, words in pictures.items()}
    assert points["negative"] == [255 - point for point in points["waves"]]
    assert set(points["poster"]) == {0, 85, 170, 255}
    assert all(after >= before for before, after in zip(points["waves"], points["bright"], strict=True))
    assert sum(points["bright"]) > sum(points["waves"])


def a_picture_is_computed_row_by_row(network: LocalGolem, folder: Path) -> None:
    output = run(network, "09_many_items.py", folder)
    assert re.search(r"^80 of 80 items done, 0 under way, 0 waiting", output)
    assert re.search(COST, output)
    words = (folder / "mandelbrot.pgm").read_text().split()
    assert words[:4] == ["P2", "120", "80", "255"]
    points = [int(word) for word in words[4:]]
    assert len(points) == 120 * 80
    # The set is symmetric, so each row is that of its opposite: they have come in order.
    rows = [points[120 * y : 120 * (y + 1)] for y in range(80)]
    assert rows[1:40] == rows[79:40:-1]
    assert rows[40][60] == 0 < rows[0][0]


def a_script_of_ones_own_answers_with_json(network: LocalGolem, folder: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "python-script.md").read_text()
    script, program = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    (folder / "statistics_of.py").write_text(script)
    (folder / "program.py").write_text(program)
    output = run(network, str(folder / "program.py"), folder)
    assert output.splitlines() == [
        "[1, 2, 3, 10] mean 4 median 2.5",
        "[5, 5, 8] mean 6 median 5",
        "[2.5, 3.5] mean 3.0 median 3.0",
    ]


TUTORIALS = (
    hello_world_tells_the_date_and_what_it_cost,
    hello_world_runs_behind_a_proxy_that_reaches_nothing,
    the_simple_service_shows_statistics_of_three_providers,
    a_web_service_is_read_through_a_proxy,
    clients_find_their_server_by_its_name,
    three_providers_compute_their_parts_for_the_script,
    a_picture_is_painted_by_three_providers_and_comes_back,
    a_picture_is_computed_row_by_row,
    a_script_of_ones_own_answers_with_json,
)


def test_tutorials_show_what_their_pages_say(network: LocalGolem, tmp_path: Path) -> None:
    def tried(tutorial: Callable[[LocalGolem, Path], None]) -> None:
        folder = tmp_path / tutorial.__name__
        folder.mkdir()
        tutorial(network, folder)

    side_by_side({one.__name__: partial(tried, one) for one in TUTORIALS}, AT_ONCE)


# In the process of the script itself: no pause of the test lets it go on for too long.
KILLED_AFTER_FOUR_ANSWERS = """
import os, runpy, signal, sys, threading, time

def kill():
    while not os.path.exists("years.jsonl") or open("years.jsonl").read().count("\\n") < 1 + 4:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_a_sweep_that_is_killed_goes_on(network, tmp_path):
    answers = tmp_path / "years.jsonl"

    def answered() -> list[str]:
        return answers.read_text().splitlines()[1:] if answers.exists() else []

    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_FOUR_ANSWERS, ROOT / "tutorials" / "10_sweep.py"],
        cwd=tmp_path,
        env={**own_environment(), **network.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        timeout=90,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    before = answered()
    assert 4 <= len(before) < 16
    output = run(network, "10_sweep.py", tmp_path)
    found = dict(re.findall(r"^growth rate ([\d.]+): the same after (\d+) years$", output, re.M))
    assert found.pop("3.85")
    assert found.pop("3.55") == "8"
    assert found == dict.fromkeys(["2.6", "2.8", "2.9"], "1") | dict.fromkeys(["3.2", "3.4"], "2") | {
        "3.5": "4",
        "3.74": "5",
        "3.83": "3",
        "3.84": "3",
    }
    assert len(re.findall("never the same", output)) == 5
    after = answered()
    # Nothing that was answered was computed again: it would be there twice.
    assert after[: len(before)] == before
    assert len({json.loads(line)["key"] for line in after}) == len(after) == 16
    assert re.search(COST, output)
    assert clean_up(network) == 0


def clean_up(network: LocalGolem) -> int:
    """End and pay what the killed script has left."""
    command = [sys.executable, "-m", "simple_golem.command_line.main", "cleanup"]
    return subprocess.run(
        command, env={**os.environ, **network.environment}, capture_output=True, timeout=90, check=False
    ).returncode


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
    assert done.stdout.count("passed: ") == 4


def test_a_runtime_of_ones_own_writes_years_in_roman_digits():
    with LocalGolem(1, runtimes={"roman": ROOT / "tutorials" / "runtimes" / "roman.py"}) as network:
        output = run(network, "11_own_runtime.py")
    assert output.splitlines()[:3] == ["1969 is MCMLXIX", "2026 is MMXXVI", "The list has MCMLXIX MMXXVI"]
    assert re.search(COST, output)


def test_each_tutorial_is_run_by_a_test():
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "network").rglob("test_*.py"))
    scripts = [path.name for path in (ROOT / "tutorials").glob("*.py")]
    assert [name for name in scripts if f'"{name}"' not in tests] == []


def test_the_page_of_the_own_runtime_shows_the_runtime_to_the_letter():
    program = (ROOT / "tutorials" / "runtimes" / "roman.py").read_text()
    assert f"```python\n{program}```" in (ROOT / "tutorials" / "11_own_runtime.md").read_text()


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
