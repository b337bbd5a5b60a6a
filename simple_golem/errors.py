"""All errors of the library; each is a `GolemError`.

A message names the provider, the activity or the command, and says what to do next. To catch several errors,
catch their parent. Some classes are also a built-in error, which stands in parentheses:

    GolemError
    ├── BadArgument                 an argument is wrong; the call does nothing and spends nothing
    │   ├── BadSetting              (ValueError) an argument of Golem, or an environment variable
    │   │   ├── UnknownNetwork
    │   │   └── BadBudget
    │   ├── BadStrategy             (ValueError)
    │   ├── BadTerms                (ValueError)
    │   ├── BadService              (TypeError)
    │   ├── BadListener             (TypeError)
    │   ├── BadInstanceCount        (ValueError)
    │   ├── BadPayload              (ValueError)
    │   ├── BadCommand              (ValueError)
    │   ├── BadCommandList          (TypeError) start, run or shutdown returned something else than commands
    │   ├── BadLocalFile            (OSError)
    │   ├── BadState                (ValueError)
    │   ├── BadRespawn              (TypeError)
    │   ├── BadWaitTime             (ValueError)
    │   ├── BadNetwork              (ValueError) a private network, an address or a port of it
    │   ├── BadLocalPort            (OSError)
    │   ├── BadResultsFile          (ValueError) a file of results that does not belong to the items
    │   ├── BadWork                 (TypeError) a pool can't call it for its items
    │   └── BadAnswer               (TypeError)
    ├── DaemonError                 the yagna daemon
    │   ├── NoAppKey                (LookupError)
    │   ├── BadAppKey               (PermissionError)
    │   ├── NoDaemon                (ConnectionError)
    │   └── YagnaError              the daemon gave an answer that the library does not expect
    ├── ImageError                  the image that providers run
    │   ├── UnknownImage            (LookupError)
    │   └── RegistryError
    ├── PaymentError                the money
    │   ├── AllocationRefused
    │   ├── OutOfBudget
    │   └── Overcharged
    ├── InstanceError               the life of an instance
    │   ├── ActivityFailed
    │   ├── ActivityLost
    │   ├── MethodStuck
    │   ├── NotRunning              (RuntimeError)
    │   ├── BrokenPool              (BrokenExecutor)
    │   ├── ItemTimeout             (TimeoutError)
    │   ├── StartTimeout            (TimeoutError)
    │   ├── WaitTimeout             (TimeoutError)
    │   └── ServiceFailed
    ├── NetworkError                connections to instances
    │   ├── NetworkLost             (ConnectionError)
    │   ├── PortRefused             (ConnectionRefusedError)
    │   └── PortTimeout             (TimeoutError)
    ├── BatchError                  commands that were sent to a provider
    │   ├── CommandFailed
    │   ├── BatchLost
    │   ├── BatchTimeout            (TimeoutError)
    │   └── TransferFailed
    ├── ResultError                 a result does not have what was read from it
    │   ├── NotOneResult            (AttributeError)
    │   ├── NoBytes                 (AttributeError)
    │   ├── NoData                  (AttributeError)
    │   └── BadJson                 (ValueError)
    ├── NoContext                   (AttributeError) a service from yapapi touched self._ctx
    ├── ForkedGolem                 (RuntimeError) a Golem was used in a child process
    └── LocalNetworkError           the local network
        ├── UnsupportedPlatform
        ├── NamespacesForbidden
        ├── BadImage                (ValueError)
        ├── BadHabit                (ValueError)
        ├── BusError
        ├── PortTaken
        └── SandboxGone

`ServiceStopped` is not an error. It is a `BaseException` that ends a method of a service when its instance is
stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from typing import Protocol

__all__ = [
    "ActivityFailed",
    "ActivityLost",
    "AllocationRefused",
    "BadAnswer",
    "BadAppKey",
    "BadArgument",
    "BadBudget",
    "BadCommand",
    "BadCommandList",
    "BadHabit",
    "BadImage",
    "BadInstanceCount",
    "BadJson",
    "BadListener",
    "BadLocalFile",
    "BadLocalPort",
    "BadNetwork",
    "BadPayload",
    "BadRespawn",
    "BadResultsFile",
    "BadService",
    "BadSetting",
    "BadState",
    "BadStrategy",
    "BadTerms",
    "BadWaitTime",
    "BadWork",
    "BatchError",
    "BatchLost",
    "BatchTimeout",
    "BrokenPool",
    "BusError",
    "CommandFailed",
    "DaemonError",
    "ForkedGolem",
    "GolemError",
    "ImageError",
    "InstanceError",
    "ItemTimeout",
    "LocalNetworkError",
    "MethodStuck",
    "NamespacesForbidden",
    "NetworkError",
    "NetworkLost",
    "NoAppKey",
    "NoBytes",
    "NoContext",
    "NoDaemon",
    "NoData",
    "NotOneResult",
    "NotRunning",
    "OutOfBudget",
    "Overcharged",
    "PaymentError",
    "PortRefused",
    "PortTaken",
    "PortTimeout",
    "RegistryError",
    "ResultError",
    "SandboxGone",
    "ServiceFailed",
    "ServiceStopped",
    "StartTimeout",
    "TransferFailed",
    "UnknownImage",
    "UnknownNetwork",
    "UnsupportedPlatform",
    "WaitTimeout",
    "YagnaError",
]


class GolemError(Exception):
    """The parent of all errors of this library."""

    def __reduce__(self) -> tuple[object, ...]:
        # Python's own `__reduce__` calls the class with the message alone, and some classes need more
        # arguments. Raised in a `multiprocessing` worker, such an error would stop the whole pool.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[GolemError], args: tuple[object, ...], state: dict[str, object]) -> GolemError:
    """Make an error from what `__reduce__` returned, for pickle and copy."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


# --- the parents ---------------------------------------------------------------------------------


class BadArgument(GolemError):
    """An argument is wrong; the call has no effect."""


class DaemonError(GolemError):
    """The yagna daemon can't be used, or gives an unexpected answer."""


class ImageError(GolemError):
    """The image that providers run can't be looked up."""


class PaymentError(GolemError):
    """The budget is too small, or a provider asks for too much."""


class InstanceError(GolemError):
    """One or more instances failed, or did not reach a state."""


class BatchError(GolemError):
    """Commands that were sent to a provider failed, or their result is unknown."""


class NetworkError(GolemError):
    """There is no connection to an instance."""


class ResultError(GolemError):
    """A result does not have what was read from it."""


# --- found before anything is spent -------------------------------------------------------------


class NoAppKey(DaemonError, LookupError):
    """No app key was given and `YAGNA_APPKEY` is not set."""


class BadAppKey(DaemonError, PermissionError):
    """The daemon does not know the app key."""


class NoDaemon(DaemonError, ConnectionError):
    """No yagna daemon answers at the URL."""


class BadSetting(BadArgument, ValueError):
    """An argument of `Golem`, or an environment variable, has a wrong value."""


class UnknownNetwork(BadSetting):
    """Yagna does not know the payment network."""


class BadBudget(BadSetting):
    """The budget is not a positive amount of GLM."""


class AllocationRefused(PaymentError):
    """The daemon refused the allocation: funds are missing, or the payment network does not work."""


class BadStrategy(BadArgument, ValueError):
    """A strategy, which chooses the providers, has a wrong value."""


class BadTerms(BadArgument, ValueError):
    """The terms of an agreement, such as the interval of debit notes, have a wrong value."""


class BadService(BadArgument, TypeError):
    """A class can't be run as a service: it is not a `Service`, or one of its methods is of a wrong kind."""


class BadListener(BadArgument, TypeError):
    """The listener for events is not callable."""


class BadInstanceCount(BadArgument, ValueError):
    """The number of instances is wrong, or differs from the number of their parameters."""


class BadPayload(BadArgument, ValueError):
    """A payload is not a `Payload`, or its arguments contradict each other."""


class UnknownImage(ImageError, LookupError):
    """No registry has the image."""


class RegistryError(ImageError):
    """The image registry does not answer, or its answer can't be understood."""


class BadCommand(BadArgument, ValueError):
    """No runtime could execute the command; its constructor refuses it."""


class BadLocalFile(BadArgument, OSError):
    """A file of this machine can't be read or written."""


class BadState(BadArgument, ValueError):
    """There is no state of this name."""


class BadRespawn(BadArgument, TypeError):
    """`respawn_stop` or `respawn_wait` is not an object of tenacity."""


class BadWaitTime(BadArgument, ValueError):
    """A time is negative, infinite or not a number."""


class BadNetwork(BadArgument, ValueError):
    """A private network, or an address or a port in it, makes no sense, or the instance has no network."""


class BadLocalPort(BadArgument, OSError):
    """A proxy can't listen on the local port: it is in use, or needs rights."""


class BadResultsFile(BadArgument, ValueError):
    """The file of a map's results belongs to other work or other items, or is in use."""


class BadWork(BadArgument, TypeError):
    """What a pool is to call for its items is not a function, or takes no machine as its first argument."""


class NoContext(GolemError, AttributeError):
    """A service that was written for yapapi reads `self._ctx`, which does not exist here."""


class BadAnswer(BadArgument, TypeError):
    """An answer that a unit test gave to `Service.with_answers` has a wrong type."""


class ForkedGolem(GolemError, RuntimeError):
    """A Golem was opened in a parent process and used in its child, or was sent to another process."""


# --- in the life of an instance ------------------------------------------------------------------


class NetworkLost(NetworkError, ConnectionError):
    """The private network of the instance has ended: the daemon was restarted, or the network was closed."""


class PortRefused(NetworkError, ConnectionRefusedError):
    """The instance is there, and nothing listens on the port."""


class PortTimeout(NetworkError, TimeoutError):
    """The instance did not answer in time."""


class OutOfBudget(PaymentError):
    """The budget is used up, and everything that costs money was stopped."""


class Overcharged(PaymentError):
    """A provider asked for more than was agreed. It is not paid, and its activity is destroyed."""


class BadCommandList(BadArgument, TypeError):
    """`start`, `run` or `shutdown` returned something else than commands."""


class _FailedCommand(Protocol):
    """The part of a command that an error needs; `simple_golem.Run` has it."""

    def to_exe_script(self) -> dict[str, object]: ...


class _ResultSoFar(Protocol):
    """The part of a result that an error needs; `simple_golem.Result` has it."""

    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...
    @property
    def success(self) -> bool: ...
    @property
    def exit_code(self) -> int | None: ...


class CommandFailed(BatchError):
    """A command ended with an error on the provider.

    It has `stdout` and `stderr`, as `subprocess.CalledProcessError` has.

    Attributes:
        command: the command that failed; None if it is not known.
        results: the results of its batch so far, the failed one last.
        provider: the provider's name and id.
    """

    def __init__(
        self,
        message: str,
        *,
        command: _FailedCommand | None = None,
        results: Sequence[_ResultSoFar] = (),
        provider: str = "",
    ) -> None:
        super().__init__(message)
        self.command = command
        self.results = tuple(results)
        self.provider = provider

    @property
    def stdout(self) -> str:
        """What the failed command wrote to its standard output."""
        return self.results[-1].stdout if self.results else ""

    @property
    def stderr(self) -> str:
        """What the failed command wrote to its standard error."""
        return self.results[-1].stderr if self.results else ""

    @property
    def exit_code(self) -> int | None:
        """The exit code of the failed command; None if the provider did not report it."""
        return self.results[-1].exit_code if self.results else None


class NotOneResult(ResultError, AttributeError):
    """`stdout` or the like was read from the results of several commands, or of none; choose one result."""


class NoBytes(ResultError, AttributeError):
    """The output was read as bytes, but the command has it as text only."""


class NoData(ResultError, AttributeError):
    """`data` was read from the result of a command that downloads nothing."""


class BadJson(ResultError, ValueError):
    """What a command wrote or brought is not JSON."""


class TransferFailed(BatchError):
    """A file was not transferred completely, although the provider reports that it was."""


class BatchLost(BatchError):
    """The result of a batch can't be known: the activity, or the connection to it, was lost."""


class BatchTimeout(BatchError, TimeoutError):
    """A batch did not end in time; it may still be running."""


class ActivityFailed(InstanceError):
    """The provider did not create the activity."""


class ActivityLost(InstanceError):
    """The activity ended by itself: its provider died, or ended the agreement."""


class MethodStuck(InstanceError):
    """`shutdown()` did not return in time; its thread was left behind."""


class NotRunning(InstanceError, RuntimeError):
    """An instance that is not running can't run commands."""


class BrokenPool(InstanceError, BrokenExecutor):
    """A pool has no machine and gets none, so it takes no more items. The cause is the last failure."""


class ItemTimeout(InstanceError, TimeoutError):
    """An attempt at an item took longer than the `item_timeout` of its pool; its machine was stopped."""


class StartTimeout(InstanceError, TimeoutError):
    """An instance was not running when its start timeout was over."""


class WaitTimeout(InstanceError, TimeoutError):
    """A wait reached its timeout."""


class ServiceFailed(InstanceError):
    """One or more instances failed; the message names each.

    The log has reported each failure when it happened. So Python does not print them once more below this
    error: they are in `failures`. The cause of this error is a failure that was not logged, if there is one.

    Attributes:
        failures: the error of each instance that failed.
    """

    def __init__(self, message: str, failures: Sequence[BaseException] = ()) -> None:
        super().__init__(message)
        self.failures = tuple(failures)
        # Set, but not printed, as by `raise … from None`.
        self.__context__ = self.failures[0] if self.failures else None
        self.__suppress_context__ = True

    def __reduce__(self) -> tuple[object, ...]:
        # As with the cause of an error, a copy does without: they may be errors that can't be pickled.
        return _again, (type(self), self.args, {"failures": ()})


class ServiceStopped(BaseException):
    """Ends `start` and `run` when their instance is stopped.

    It is not an `Exception`, so that a loop with `except Exception` ends, too. It need not be caught.
    """


# --- the daemon ----------------------------------------------------------------------------------


class YagnaError(DaemonError):
    """The daemon gave an answer that the library does not expect.

    Attributes:
        method, path: the request.
        status: the HTTP status; None if there was no answer.
        detail: the daemon's own message.
    """

    def __init__(self, method: str, path: str, status: int | None, detail: str) -> None:
        answer = "no answer" if status is None else f"status {status}"
        super().__init__(f"{method} {path}: {answer}: {_without_bus_addresses(detail)}")
        self.method = method
        self.path = path
        self.status = status
        self.detail = detail

    @property
    def reason(self) -> str:
        """The daemon's message; in plain words, where it only names an address of its service bus."""
        return _without_bus_addresses(self.detail)


def _without_bus_addresses(detail: str) -> str:
    if not detail:
        return "the daemon does not say why"
    if "`/net/" not in detail:
        return detail
    if "endpoint address not found" in detail:
        return "the provider is gone: nobody answers at its address"
    return "the provider does not answer"


# --- the local network ---------------------------------------------------------------------------


class LocalNetworkError(GolemError):
    """The local Golem network could not be started, or has stopped working."""


class UnsupportedPlatform(LocalNetworkError):
    """The local network does not run on this kind of machine."""


class NamespacesForbidden(LocalNetworkError):
    """The kernel does not let this user create the namespaces that an activity needs."""


class BadImage(LocalNetworkError, ValueError):
    """An `--image` option is not of the form TAG_OR_HASH=PATH, or there is no image at its path."""


class BadHabit(LocalNetworkError, ValueError):
    """A `--habit` option is not of the form PROVIDER=HABIT, or there is no such provider or habit."""


class BusError(LocalNetworkError):
    """A call over the service bus of a yagna daemon failed, or there is no bus."""


class PortTaken(LocalNetworkError):
    """A port that a daemon of the local network needs is in use."""


class SandboxGone(LocalNetworkError):
    """The private root of a local activity has ended, and with it every command that ran there."""
