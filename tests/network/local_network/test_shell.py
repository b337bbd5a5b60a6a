"""`simple-golem local run --shell`, with the real daemon and a real exe-unit's rules."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.typing_user import CTRL_C, CTRL_D, TypingUser
from tests.network.helpers.processes import TOOL, environment


def test_a_session_on_the_local_network(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("Ada\n")
    home = {"HOME": str(Path.home()), "XDG_STATE_HOME": str(tmp_path)}
    with TypingUser(
        [*TOOL, "local", "run", "--providers", "1", "--shell"], {**environment(), **home}
    ) as user:
        user.wait_for("prov-1:/golem/work$ ")
        user.type(f"put {tmp_path}/names people/\n")
        user.wait_for("$ ")
        user.type("cd people\n")
        user.wait_for("prov-1:/golem/work/people$ ")
        user.type("cat names; seq 1 20000 | tail -n 1\n")
        user.wait_for("\nAda\n20000\n")
        user.wait_for("$ ")
        user.type("echo begun; sleep 1000 | cat\n")
        user.wait_for("\nbegun\n")
        user.type(CTRL_C)
        user.wait_for("the command has ended, with exit code 143")
        user.wait_for("$ ")
        user.type("while ps | grep '[s]leep 1000'; do sleep 0.1; done; echo gone\n")
        user.wait_for("\ngone\n")
        user.wait_for("$ ")
        user.type("tr a-z A-Z <names >upper\n")
        user.wait_for("$ ")
        user.type(f"get upper {tmp_path}\n")
        user.wait_for("$ ")
        user.type(CTRL_D)
        user.wait_for("it cost 0.0")
        assert user.status() == 0
    assert (tmp_path / "upper").read_text() == "ADA\n"
