"""Scripts that fork while a Golem is open on the real daemon."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from simple_golem.local import LocalGolem
from tests.helpers.unmeasured import own_environment
from tests.network.helpers.leftovers import left_on
from tests.network.helpers.processes import ROOT


def done(network: LocalGolem, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end; it shows every warning, of sockets that are not closed among them."""
    # Coverage would write its own lines at the end of each child.
    environment = own_environment()
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
        env={**environment, **network.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_parent_and_child_use_a_golem_at_once_and_the_answers_of_the_parent_are_its_own(
    network: LocalGolem,
) -> None:
    ended = done(
        network,
        """
        import os
        from simple_golem import Golem, Run, Service
        from simple_golem.errors import ForkedGolem
        with Golem(budget=1) as golem:
            instance, = golem.run_service(Service).wait_until_running(30)
            child = os.fork()
            who, refused = "parent" if child else "child", 0
            for number in range(20):
                try:
                    output = instance.execute(Run("/bin/echo", f"{who}-{number}")).stdout
                    assert output == f"parent-{number}\\n", output
                except ForkedGolem:
                    refused += 1
            if not child:
                with Golem(budget=1) as own:
                    other, = own.run_service(Service).wait_until_running(30)
                    print("child", refused, other.execute(Run("/bin/echo", "own")).stdout, end="", flush=True)
                os._exit(0)
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print("parent", refused, "child ended with", ended)
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["child 20 own", "parent 0 child ended with 0"]
    assert left_on(network) == []


def test_a_child_that_leaves_a_local_network_does_not_stop_it(network: LocalGolem) -> None:
    ended = done(
        network,
        """
        import os, sys
        from simple_golem.local import LocalGolem
        with LocalGolem(providers=1, chain=False) as local:
            child = os.fork()
            if not child:
                sys.exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            local.kill_requestor_daemon()
            local.restart_requestor_daemon()
            print(len(local.providers))
        """,
    )
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "0\n1\n")


def test_a_child_that_exits_while_a_file_is_sent_disturbs_nothing_and_prints_nothing(
    network: LocalGolem,
) -> None:
    ended = done(
        network,
        """
        import os, sys, threading
        from simple_golem import Golem, Run, Service, UploadBytes
        from simple_golem.events import TransferProgress
        moving = threading.Event()
        size = 8_000_000
        with Golem(budget=1) as golem:
            golem.on_event(lambda event: moving.set() if isinstance(event, TransferProgress) else None)
            instance, = golem.run_service(Service).wait_until_running(30)
            commands = UploadBytes(b"x" * size, "/golem/work/x"), Run("/usr/bin/wc", "-c", "/golem/work/x")
            sending = threading.Thread(target=lambda: print(instance.execute(*commands)[1].stdout, end=""))
            sending.start()
            assert moving.wait(30)
            children = []
            for _ in range(3):
                children.append(os.fork())
                if not children[-1]:
                    sys.exit(0)
            print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], flush=True)
            sending.join()
            print(instance.state.value)
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    told = ended.stdout.splitlines()
    assert "[0, 0, 0]" in told
    assert any(line.startswith("8000000") for line in told)
    assert told[-1] == "running"
    assert left_on(network) == []
