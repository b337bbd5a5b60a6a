"""A Golem in a process that forks: the child can use nothing of it, and the parent notices nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import simple_golem
from simple_golem import Cluster, Golem, HttpProxy, Instance, Run, Service, TcpProxy
from simple_golem.engine.network.network_handle import Network
from simple_golem.errors import ForkedGolem
from simple_golem.services.proxies.local_proxy import LocalProxy
from simple_golem.testing import FakeYagna
from tests.helpers.forked_children import in_forked_child
from tests.helpers.recorded_services import SECONDS, InThread, started
from tests.helpers.unmeasured import own_environment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this platform")

ROOT = Path(simple_golem.__file__).resolve().parents[1]
# They say what the object is, and need no lock.
READABLE = {"name"}


def public(kind: type) -> list[str]:
    return [name for name in vars(kind) if not name.startswith("_") and name not in READABLE]


def what_is_not_refused(thing: object, kind: type) -> list[str]:
    """The public methods and properties that do not raise `ForkedGolem`; those that block never return."""
    accepted = []
    for name in [*public(kind), *(one for one in ("__iter__", "__len__", "__enter__") if one in vars(kind))]:
        try:
            member = getattr(thing, name)
            member()  # refused before Python looks at the arguments
        except ForkedGolem:
            continue
        except Exception as error:  # noqa: BLE001 - the test names it
            accepted.append(f"{kind.__name__}.{name}: {error!r}")
        else:
            accepted.append(f"{kind.__name__}.{name}")
    return accepted


@pytest.mark.parametrize("is_closed", [False, True])
def test_in_a_child_everything_of_a_golem_is_refused_though_all_its_locks_are_held(
    fake: FakeYagna, is_closed: bool
) -> None:
    golem = Golem(1)
    golem.open()
    network = golem.create_network()
    instance = started(golem)
    cluster = golem.clusters[0]
    if is_closed:
        golem.close()
    lifecycle: Any = golem._lifecycle
    locks = [lifecycle._lock, cluster._changed, lifecycle.opened._lock, lifecycle.opened.session._lock]

    def child() -> str:
        accepted = what_is_not_refused(golem, Golem)
        accepted += what_is_not_refused(cluster, Cluster)
        accepted += what_is_not_refused(instance, Instance)
        accepted += what_is_not_refused(network, Network)
        golem.__exit__(None, None, None)
        cluster.__exit__(None, None, None)
        shown = {thing._repr_html_() == repr(thing) for thing in (golem, cluster, instance)}
        return f"{accepted}, {instance.name}, {golem}, {cluster}, {instance}, {shown}"

    def fork() -> str:
        return in_forked_child(child)

    for lock in locks:
        lock.acquire()
    try:
        told = InThread(fork).join().value
    finally:
        for lock in locks:
            lock.release()
    golem.close()
    texts = ", ".join(f"<{kind} of the parent process>" for kind in ("Golem", "Cluster", "Instance"))
    assert told == f"[], Idle-1, {texts}, {{True}}"


def test_a_child_can_use_no_connection_and_no_proxy_and_the_parent_does_not_notice_it(
    fake: FakeYagna,
) -> None:
    for provider in fake.providers:
        provider.servers = {7: echo_bytes}
    with Golem(1) as golem:
        instance = started(golem, network=True)
        tcp, http = TcpProxy(instance, 7), HttpProxy(instance, 7)
        opened = instance.connect(7)

        def exchange(connection: socket.socket) -> bytes:
            connection.settimeout(SECONDS)
            connection.sendall(b"ping")
            return connection.recv(4, socket.MSG_WAITALL)

        def child() -> str:
            accepted = what_is_not_refused(instance, Instance)
            for proxy in (tcp, http):
                accepted += what_is_not_refused(proxy, LocalProxy) + what_is_not_refused(proxy, type(proxy))
            return str(accepted)

        assert in_forked_child(child) == "[]"
        assert exchange(opened) == b"ping"
        with socket.create_connection(("127.0.0.1", tcp.local_port), SECONDS) as client:
            assert exchange(client) == b"ping"
        opened.close()


def test_a_port_is_free_when_its_proxy_was_closed_though_a_child_lives_on(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        instance = started(golem, network=True)
        proxy = TcpProxy(instance, 7)
        reading, writing = os.pipe()
        is_there, says = os.pipe()

        def child() -> str:
            os.close(writing)
            os.write(says, b"y")
            os.read(reading, 1)  # until the parent has closed its end
            return "lived on"

        forked = InThread(in_forked_child, child)
        assert os.read(is_there, 1) == b"y"
        proxy.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.local_port), SECONDS)
        os.close(writing)
        assert forked.join().value == "lived on"
        for one in (reading, is_there, says):
            os.close(one)


def echo_bytes(connection: socket.socket) -> None:
    while data := connection.recv(100):
        connection.sendall(data)


def test_in_a_child_a_service_can_do_nothing_but_read_its_name(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        service = started(golem).service

        def child() -> str:
            used = []
            for name, arguments in (
                ("execute", (Run("/bin/date"),)),
                ("execute", ()),
                ("wait", (1,)),
                ("stop", ()),
                ("state", ()),
                ("stopping", ()),
                ("provider_name", ()),
                ("provider_id", ()),
                ("activity_id", ()),
            ):
                try:
                    member = getattr(service, name)
                    member(*arguments)
                except ForkedGolem:
                    continue
                used.append(name)
            return f"{used}, {service.name}"

        assert in_forked_child(child) == "[], Idle-1"


def test_a_golem_that_was_not_open_at_the_fork_can_be_opened_by_the_child(fake: FakeYagna) -> None:
    golem = Golem(1)
    with Golem(1) as other:
        started(other)

        def child() -> str:
            with golem:
                return str(started(golem).execute(Run("/bin/date"))[0].success)

        assert in_forked_child(child) == "True"
        with golem:
            assert started(golem).state == "running"


def test_a_method_that_the_library_calls_refuses_a_child_that_returns_from_a_constructor(
    fake: FakeYagna,
) -> None:
    class Forking(Service):
        def __init__(self) -> None:
            self.pid = os.fork()

    with Golem(1) as golem:
        parent = os.getpid()
        try:
            instance = golem.run_service(Forking).instances[0]
        except ForkedGolem:
            os._exit(5)
        finally:
            if os.getpid() != parent:
                os._exit(6)
        service = instance.service
        assert isinstance(service, Forking)
        assert os.waitstatus_to_exitcode(os.waitpid(service.pid, 0)[1]) == 5


# --- scripts ------------------------------------------------------------------------------------------


def done(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end."""
    return run("-c", textwrap.dedent(script))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run Python so that it shows every warning, of sockets that are not closed among them."""
    # Coverage would write its own lines at the end of each child.
    environment = own_environment()
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", *command],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def echo(fake: FakeYagna) -> None:
    """Each provider answers `/bin/echo` with its arguments."""

    def answers(command: dict[str, Any]) -> str:
        return " ".join(command["run"]["args"])

    for provider in fake.providers:
        provider.answers = answers


def test_parent_and_child_use_a_golem_at_once_and_the_answers_of_the_parent_are_its_own(
    fake: FakeYagna,
) -> None:
    echo(fake)
    ended = done(
        """
        import os
        from simple_golem import Golem, Run, Service
        from simple_golem.errors import ForkedGolem
        with Golem(1) as golem:
            instance, = golem.run_service(Service).wait_until_running(10)
            instance.execute(Run("/bin/echo", "before"))
            child = os.fork()
            who, refused = "parent" if child else "child", 0
            for number in range(30):
                try:
                    output = instance.execute(Run("/bin/echo", f"{who}-{number}")).stdout
                    assert output == f"parent-{number}", output
                except ForkedGolem:
                    refused += 1
            if not child:
                print("refused", refused, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print("answered", 30 - refused)
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["refused 30", "answered 30"]
    assert not any("child-" in str(provider.commands) for provider in fake.providers)


@pytest.mark.parametrize(
    ("leave", "status"),
    [("sys.exit(0)", 0), ("sys.exit(3)", 3), ("pass", 0), ("os.kill(os.getpid(), signal.SIGTERM)", -15)],
)
def test_the_exit_of_a_child_touches_nothing_and_prints_nothing(
    fake: FakeYagna, leave: str, status: int
) -> None:
    echo(fake)
    ended = done(
        f"""
        import os, signal, sys
        from simple_golem import Golem, Run, Service
        class Printing(Service):
            def shutdown(self):
                print("shutdown", flush=True)
        with Golem(1) as golem:
            with golem.run_service(Printing) as cluster:
                instance, = cluster.wait_until_running(10)
                child = os.fork()
                if child == 0:
                    {leave}
                else:
                    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                    print("ended", ended, instance.state.value, flush=True)
                    print(instance.execute(Run("/bin/echo", "still here")).stdout, flush=True)
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [f"ended {status} running", "still here", "shutdown"]
    posted = [one.path for one in fake.requests if one.method == "POST"]
    assert sum(path.endswith("/allocations") for path in posted) == 1


def test_a_child_has_no_socket_of_the_parent_although_all_kinds_are_open(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = lambda command: iter(["line\n"] * 200)
        provider.command_seconds = 0.5
    ended = done(
        """
        import os, threading
        from pathlib import Path
        from simple_golem import Golem, Run, Service, UploadBytes
        def readlink(path):
            try:
                return os.readlink(path)
            except OSError:
                return ""
        def sockets():
            return [one for one in map(readlink, Path("/proc/self/fd").iterdir()) if "socket:" in one]
        seen = threading.Event()
        with Golem(1) as golem:
            first, second = golem.run_service(Service, num_instances=2).wait_until_running(10)
            work = [
                threading.Thread(target=first.execute, args=(Run("/bin/a", stream=lambda line: seen.set()),)),
                threading.Thread(target=second.execute, args=(UploadBytes(b"x" * 9999, "/x"), Run("/bin/b"))),
            ]
            for thread in work:
                thread.start()
            seen.wait(10)
            print("parent", len(sockets()) > 4, flush=True)
            child = os.fork()
            if child == 0:
                print("child", len(sockets()), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            for thread in work:
                thread.join()
            print("ended", first.state.value, second.state.value)
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["parent True", "child 0", "ended running running"]


def test_a_service_that_forks_goes_on_in_the_parent_alone(fake: FakeYagna) -> None:
    echo(fake)
    ended = done(
        """
        import os, sys
        from simple_golem import Golem, Run, Service
        class Forking(Service):
            def run(self):
                children = []
                for leave in (lambda: None, lambda: sys.exit(4)):
                    child = os.fork()
                    if child == 0:
                        print("child of", self.name)
                        leave()
                        return [Run("/bin/echo", "child")]
                    children.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                print(children, self.execute(Run("/bin/echo", "parent")).stdout)
            def shutdown(self):
                print("shutdown")
        with Golem(1) as golem:
            golem.run_service(Forking).wait(20)
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "child of Forking-1",
        "child of Forking-1",
        "[0, 4] parent",
        "shutdown",
    ]
    assert not any("'child'" in str(provider.commands) for provider in fake.providers)


MULTIPROCESSING = """
import multiprocessing, sys
from simple_golem import Golem, Run, Service
from simple_golem.errors import ForkedGolem

def own(number):
    with Golem(1) as golem:
        instance, = golem.run_service(Service).wait_until_running(20)
        return instance.execute(Run("/bin/echo", f"child-{number}")).stdout

def foreign(instance):
    try:
        instance.execute(Run("/bin/echo", "foreign"))
    except ForkedGolem:
        sys.exit(5)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with Golem(1) as golem:
        instance, = golem.run_service(Service).wait_until_running(20)
        with context.Pool(2) as pool:
            children = pool.map_async(own, range(2))
            for number in range(20):
                output = instance.execute(Run("/bin/echo", f"parent-{number}")).stdout
                assert output == f"parent-{number}", output
            print(children.get(30), flush=True)
        process = context.Process(target=foreign, args=(instance,))
        try:
            process.start()
            process.join()
            print("status", process.exitcode)
        except ForkedGolem as error:
            print(error)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_of_multiprocessing_open_a_golem_of_their_own(
    fake: FakeYagna, tmp_path: Path, method: str
) -> None:
    echo(fake)
    script = tmp_path / "script.py"
    script.write_text(MULTIPROCESSING)
    ended = run(str(script), method)
    assert (ended.returncode, ended.stderr) == (0, "")
    told = (
        "status 5"
        if method == "fork"
        else "this Instance can't be copied or sent to another process, since its threads and connections "
        "are in this process: open another Golem there"
    )
    assert ended.stdout.splitlines() == ["['child-0', 'child-1']", told]
