"""Takes from this process what Windows does not have, before the library is imported.

`python -m pytest -p tests.helpers.as_on_windows FILES` runs tests so. What Windows has instead,
locks on files, is imitated by those of this machine. Nothing else of Windows is here.
"""

from __future__ import annotations

import os
import signal
import sys
import types

# These look at the platform when they are imported; only the library shall notice.
import h11  # noqa: F401
import platformdirs  # noqa: F401
import requests  # noqa: F401
import tenacity  # noqa: F401
import tqdm  # noqa: F401
import websockets  # noqa: F401

MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
OF_OS = ("fork", "forkpty", "register_at_fork")
OF_SIGNAL = ("SIGHUP", "SIGALRM", "SIGCHLD")


def _msvcrt() -> types.ModuleType:
    import fcntl

    msvcrt = types.ModuleType("msvcrt")

    def locking(file: int, mode: int, size: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX if mode == 1 else fcntl.LOCK_EX | fcntl.LOCK_NB)

    vars(msvcrt).update(LK_LOCK=1, LK_NBLCK=2, locking=locking)
    return msvcrt


sys.modules["msvcrt"] = _msvcrt()
for _name in MODULES:
    sys.modules[_name] = None  # type: ignore[assignment] - an import of it is an ImportError
for _name in OF_OS:
    vars(os).pop(_name, None)
for _name in OF_SIGNAL:
    vars(signal).pop(_name, None)

assert not [name for name in sys.modules if name.startswith("simple_golem")]
_platform, _os_name, _finders = sys.platform, os.name, sys.meta_path[:]
sys.platform, os.name = "win32", "nt"
# The one of pytest makes paths, which it can't as long as the system has the wrong name.
sys.meta_path[:] = [finder for finder in _finders if not type(finder).__module__.startswith("_pytest")]
try:
    import simple_golem.background.cancellation
    import simple_golem.background.file_lock  # noqa: F401
finally:
    sys.platform, os.name, sys.meta_path[:] = _platform, _os_name, _finders
