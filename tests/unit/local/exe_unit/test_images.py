"""What the commands of an activity see of its image: by the exe-unit's own answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from simple_golem.local.exe_unit.runtime import CommandError, SandboxRuntime
from simple_golem.local.images.image_cache import ImageCache
from simple_golem.local.images.image_store import ImageStore
from simple_golem.local.sandbox.sandbox_maker import SandboxMaker
from tests.helpers.hand_made_images import docker_archive, files_of, gvmi, shell_root, squashfs, tar

CONFIG = {
    "Env": ["PATH=/bin", "SECRET=1"],
    "WorkingDir": "/golem/work",
    "User": "1000:100",
    "Volumes": {"/golem/output": {}},
    "Entrypoint": ["/bin/sh"],
    "Cmd": ["-c", "id -u > /golem/output/begun"],
}
Started = Callable[..., "Activity"]


class NoNetworks:
    """Stands in for private networks, which no test here joins."""

    def join(self, sandbox: object, networks: object) -> None:
        pass

    def leave(self) -> None:
        pass


class Activity:
    """A runtime under test, and what its commands answer."""

    def __init__(self, runtime: SandboxRuntime) -> None:
        self.runtime = runtime

    def do(self, name: str, **details: object) -> tuple[str, str]:
        """Execute a command; returns its stdout and stderr."""
        output = {"stdout": bytearray(), "stderr": bytearray()}
        self.runtime.execute(name, details, lambda kind, data: output[kind].extend(data), print)
        return output["stdout"].decode(), output["stderr"].decode()

    def sh(self, script: str) -> str:
        out, err = self.do("run", entry_point="/bin/sh", args=["-c", script])
        assert err == ""
        return out.strip()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shell_root(tmp_path_factory.mktemp("root"))
    (root / "golem" / "work").mkdir(parents=True)
    (root / "golem" / "work" / "text").write_text("text\n")
    return root


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Makes the activity of an image, from the bytes of its file."""
    runtimes: list[SandboxRuntime] = []
    maker = SandboxMaker()

    def started(content: bytes, suffix: str = "gvmi") -> Activity:
        file = tmp_path / f"image.{suffix}"
        file.write_bytes(content)
        store = ImageStore.with_options([f"me/image:1={file}"], ImageCache(tmp_path / "cache"))
        package = f"hash:sha3:{hashlib.sha3_224(content).hexdigest()}:http://127.0.0.1/image"
        unused: Any = NoNetworks()
        runtimes.append(SandboxRuntime(store, package, unused, unused, print, sandboxes=maker))
        return Activity(runtimes[-1])

    yield started
    for runtime in runtimes:
        runtime.close()
    maker.close()


def image(root: Path, config: Mapping[str, object] | None, **settings: Any) -> bytes:
    return gvmi(squashfs(files_of(root)), config, **settings)


def test_a_command_has_the_folder_and_user_of_the_image_and_no_environment(
    root: Path, started: Started
) -> None:
    activity = started(image(root, CONFIG))
    deployed = json.loads(activity.do("deploy")[0])
    assert [volume["path"] for volume in deployed["vols"]] == ["/golem/output"]
    activity.do("start")
    assert activity.sh("cat text; id -u; id -g; pwd") == "text\n1000\n100\n/golem/work"
    assert activity.do("run", entry_point="/bin/env", args=[]) == ("", "")


def test_an_archive_of_docker_runs_without_docker(root: Path, started: Started) -> None:
    activity = started(docker_archive([tar(files_of(root))], {"WorkingDir": "/golem/work"}), "tar")
    activity.do("deploy", volumes=["/golem/more"])
    assert activity.sh("cat text; id -u; ls /golem") == "text\n0\nmore\nwork"


def test_the_image_starts_its_own_command_if_it_is_told_to(root: Path, started: Started) -> None:
    activity = started(image(root, CONFIG))
    activity.do("deploy")
    answer = json.loads(activity.do("start", args=["start-entrypoint"])[0])
    assert answer["start"] is None
    assert answer["entrypoint"]["command"] == ["/bin/sh", "-c", "id -u > /golem/output/begun"]
    assert answer["entrypoint"]["pid"] > 1
    activity.sh("while [ ! -s /golem/output/begun ]; do :; done")
    assert activity.sh("cat /golem/output/begun") == "1000"


def test_the_runtime_dies_of_an_image_that_has_no_command_to_start(root: Path, started: Started) -> None:
    activity = started(image(root, {}))
    activity.do("deploy")
    with pytest.raises(CommandError, match="ExeScript command exited with code 101") as failed:
        activity.do("start", args=["start-entrypoint"])
    assert failed.value.return_code == 101


@pytest.mark.parametrize(
    ("config", "settings", "text"),
    [
        (None, {}, "invalid digit found in string"),
        (CONFIG, {"crc": 1}, "Invalid ContainerConfig crc32 sum"),
    ],
)
def test_an_image_whose_settings_are_damaged_fails_at_deploy_as_on_a_real_provider(
    root: Path, started: Started, config: Mapping[str, object], settings: Mapping[str, Any], text: str
) -> None:
    activity = started(image(root, config, **settings))
    with pytest.raises(CommandError, match="ExeScript command exited with code 1") as failed:
        activity.do("deploy")
    assert failed.value.return_code == 1
    assert failed.value.stderr == f"Error: Error reading package metadata: {text} (code: 1) (code: 1)\n"


def test_a_missing_working_folder_is_code_9(root: Path, started: Started) -> None:
    activity = started(image(root, {"WorkingDir": "/no/such"}))
    activity.do("deploy")
    with pytest.raises(CommandError, match="ExeScript command exited with code 9"):
        activity.do("run", entry_point="/bin/ls", args=[])
