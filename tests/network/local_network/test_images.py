"""Images of a user on a local network: a Golem image, and one whose settings are damaged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simple_golem import Golem, Run, Service, UploadBytes, vm
from simple_golem.errors import CommandFailed, ServiceFailed
from simple_golem.local.local_golem import LocalGolem
from tests.helpers.hand_made_images import files_of, gvmi, shell_root, squashfs

CONFIG = {"WorkingDir": "/work", "User": "7:8", "Volumes": {"/data": {}}, "Env": ["A=1"]}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGolem]:
    """A network with two images, in place of the usual one."""
    folder = tmp_path_factory.mktemp("images")
    files = {**files_of(shell_root(folder / "root")), "work/text": b"from the image\n", "data/hidden": b""}
    (folder / "fine.gvmi").write_bytes(gvmi(squashfs(files), CONFIG))
    (folder / "bad.gvmi").write_bytes(gvmi(squashfs(files), CONFIG, crc=1))
    images = {"me/fine:1": folder / "fine.gvmi", "me/bad:1": folder / "bad.gvmi"}
    with LocalGolem(providers=2, images=images) as network:
        yield network


def test_a_service_runs_in_an_image_of_the_user(golem_environment: None) -> None:
    with Golem(budget=1) as golem:
        cluster = golem.run_service(Service, payload=vm.repo(image_tag="me/fine:1"))
        (instance,) = cluster.wait_until_running(timeout=60)
        results = instance.execute(
            UploadBytes(b"sent\n", "/data/sent"),
            Run.shell("cat text /data/sent; id -u; id -g; ls /data /bin"),
            Run("/bin/env"),
        )
        programs = "cat\nenv\nid\nls\nrm\nsh\ntouch"
        assert results[1].stdout == f"from the image\nsent\n7\n8\n/bin:\n{programs}\n\n/data:\nsent\n"
        assert results[2].stdout in ("", None)
        cluster.stop()


def test_an_image_with_damaged_settings_fails_at_deploy(golem_environment: None) -> None:
    golem = Golem(budget=1).open()
    payload = vm.repo(image_tag="me/bad:1")
    cluster = golem.run_service(Service, payload=payload, respawn_unstarted_instances=False)
    cluster.wait(timeout=60)
    with pytest.raises(ServiceFailed) as failed:
        golem.close()
    (failure,) = failed.value.failures
    assert isinstance(failure, CommandFailed)
    assert failure.exit_code == 1
    assert "Error reading package metadata: Invalid ContainerConfig crc32 sum" in failure.stderr
