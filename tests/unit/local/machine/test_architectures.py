"""What depends on the machine, for x86_64 and for aarch64, on which tests seldom run."""

from __future__ import annotations

import platform
import re
import struct
from pathlib import Path

import pytest

import simple_golem
from simple_golem.errors import BadImage
from simple_golem.local import local_golem
from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.daemon import quick_sockets
from simple_golem.local.images.formats.archive import _check_machine, _for_this_machine
from simple_golem.local.provider.offer import offer_properties

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
# What may name a machine; in all other files nothing depends on it.
NAMING = {
    "local/local_golem.py",
    "local/images/formats/archive.py",
    # Images of real providers, which are machines of this kind.
    "model/payload/manifest.py",
    "testing/daemon/provider/offer.py",
}


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(platform, "machine", lambda: request.param)
    return str(request.param)


def test_the_network_runs_on_it_and_offers_it(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_golem, "find_yagna", lambda: Path("/yagna"))
    local_golem.check_machine()
    offer = offer_properties("prov-1", "0x1", "local", ProviderHabits())
    assert offer["golem.inf.cpu.architecture"] == machine


def test_of_an_archive_for_many_machines_it_takes_its_own(machine: str) -> None:
    manifests = [{"platform": {"architecture": name}} for name in ("s390x", *MACHINES.values())]
    assert _for_this_machine(manifests) == {"platform": {"architecture": MACHINES[machine]}}
    _check_machine({"architecture": MACHINES[machine]})
    other = next(name for kind, name in MACHINES.items() if kind != machine)
    with pytest.raises(BadImage, match=f"for a {other} machine, and this one is {MACHINES[machine]}"):
        _check_machine({"architecture": other})


def test_the_only_number_of_a_system_call_is_the_same_on_both() -> None:
    # All calls that came with Linux 5.1 or later have one number on all machines.
    assert quick_sockets._PIDFD_GETFD == 438 >= 424
    calls = [
        path for path in Path(simple_golem.__file__).parent.rglob("*.py") if "syscall(" in path.read_text()
    ]
    assert [path.name for path in calls] == ["quick_sockets.py"]


def test_the_structure_of_an_interface_is_that_of_machines_of_64_bits() -> None:
    # struct ifreq: a name of 16 bytes, and a union of 24.
    assert struct.calcsize("16sh22x") == struct.calcsize("16s24x") == struct.calcsize("16sP16x") == 40


def test_no_other_file_depends_on_the_machine() -> None:
    root = Path(simple_golem.__file__).parent
    named = re.compile(r"x86_64|amd64|aarch64|arm64", re.IGNORECASE)
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if named.search(path.read_text())}
    assert found == NAMING
