"""What `import simple_golem.local` loads."""

from __future__ import annotations

import subprocess
import sys

SUPERVISOR_ONLY = ("supervisor", "provider", "exe_unit", "transfer", "sandbox", "bus")


def test_the_users_process_does_not_load_the_code_of_the_supervisors_process() -> None:
    code = "import sys, simple_golem.local, simple_golem.command_line.main; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = ran.stdout.split()
    assert "simple_golem.local.control.provider_control" in loaded
    folders = tuple(f"simple_golem.local.{folder}" for folder in SUPERVISOR_ONLY)
    assert [name for name in loaded if name.startswith(folders)] == []
