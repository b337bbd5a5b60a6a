"""The process that owns a network, before there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

from simple_golem.local.control.messages import Plan, send


def test_a_starter_that_ends_before_its_plan_leaves_nothing() -> None:
    program = "from simple_golem.local.supervisor.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


_WITHOUT_NETWORK = """
from types import SimpleNamespace
from simple_golem.local.supervisor import main
class NoNetwork:
    def __init__(self, plan, scope):
        self.report = SimpleNamespace(to_wire=dict)
    def allow_web_server(self, url): ...
    def end_script(self): ...
    def close(self): ...
main.Supervisor = NoNetwork
main.main()
"""


def test_orders_that_come_together_are_all_answered() -> None:
    """An order whose starter was interrupted may still be unread when the next one comes."""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _WITHOUT_NETWORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    too_late = threading.Timer(20, supervisor.kill)
    too_late.start()
    try:
        assert supervisor.stdin is not None
        assert supervisor.stdout is not None
        plan = Plan(os.getpid(), [], ["local"], [], [])
        send(supervisor.stdin, {**plan.to_wire(), "number": 1})
        assert json.loads(supervisor.stdout.readline()) == {"report": {}, "number": 1}
        orders = [{"do": "allow web server", "url": "http://x", "number": number} for number in (2, 3)]
        supervisor.stdin.write(b"".join(json.dumps(order).encode() + b"\n" for order in orders))
        supervisor.stdin.flush()
        answers = [json.loads(supervisor.stdout.readline() or b"null") for _ in orders]
        assert answers == [{"done": "allow web server", "number": number} for number in (2, 3)]
        supervisor.stdin.close()
        assert supervisor.wait(20) == 0
    finally:
        too_late.cancel()
        supervisor.kill()
        supervisor.wait()
        supervisor.stdout.close()
