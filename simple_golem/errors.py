"""Everything that can go wrong, one class each; all of them are `GolemError`s.

A message names the provider, activity or command it is about, and says what to do next. To catch several at
once, catch a parent; each class is also the built-in error named beside it, where there is one:

    GolemError
    ├── BadArgument                 a call was given something that can't work; nothing is spent
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
    │   ├── BadCommandList          (TypeError) start, run or shutdown returned no commands
    │   ├── BadLocalFile            (OSError)
    │   ├── BadState                (ValueError)
    │   ├── BadRespawn              (TypeError)
    │   ├── BadWaitTime             (ValueError)
    │   └── BadAnswer               (TypeError)
    ├── DaemonError                 the yagna daemon
    │   ├── NoAppKey                (LookupError)
    │   ├── BadAppKey               (PermissionError)
    │   ├── NoDaemon                (ConnectionError)
    │   └── YagnaError              an answer that the library does not expect
    ├── ImageError                  the image that providers are to run
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
    │   ├── StartTimeout            (TimeoutError)
    │   ├── WaitTimeout             (TimeoutError)
    │   └── ServiceFailed
    ├── BatchError                  commands that were sent to a provider
    │   ├── CommandFailed
    │   ├── BatchLost
    │   ├── BatchTimeout            (TimeoutError)
    │   └── TransferFailed
    ├── ResultError                 a result was asked for something that it does not have
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

`ServiceStopped` is no error: it is a `BaseException` that ends a method of a service when its instance is
being stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    "BadPayload",
    "BadRespawn",
    "BadService",
    "BadSetting",
    "BadState",
    "BadStrategy",
    "BadTerms",
    "BadWaitTime",
    "BatchError",
    "BatchLost",
    "BatchTimeout",
    "BusError",
    "CommandFailed",
    "DaemonError",
    "ForkedGolem",
    "GolemError",
    "ImageError",
    "InstanceError",
    "LocalNetworkError",
    "MethodStuck",
    "NamespacesForbidden",
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
    "PortTaken",
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
    """The base of every error that this library raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        # Python's own calls the class with the message alone, which a class that takes more refuses: raised
        # in a `multiprocessing` worker, such an error stops the whole pool.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[GolemError], args: tuple[object, ...], state: dict[str, object]) -> GolemError:
    """Make an error anew that was pickled or copied."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


# --- the parents ---------------------------------------------------------------------------------


class BadArgument(GolemError):
    """A call was given something that can't work; it has no effect."""


class DaemonError(GolemError):
    """The yagna daemon can't be used, or answers what it should not."""


class ImageError(GolemError):
    """The image that providers are to run can't be found."""


class PaymentError(GolemError):
    """Money stops the work: there is too little of it, or a provider asks for too much."""


class InstanceError(GolemError):
    """An instance, or several, did not get where they were wanted."""


class BatchError(GolemError):
    """Commands that were sent to a provider did not all do what they should."""


class ResultError(GolemError):
    """A result was asked for something that it does not have."""


# --- what is wrong before anything is spent -----------------------------------------------------


class NoAppKey(DaemonError, LookupError):
    """No app key was given and `YAGNA_APPKEY` is not set."""


class BadAppKey(DaemonError, PermissionError):
    """The daemon does not know the app key."""


class NoDaemon(DaemonError, ConnectionError):
    """No yagna daemon answers at the URL."""


class BadSetting(BadArgument, ValueError):
    """An argument of `Golem`, or an environment variable it reads, has a value that can't work."""


class UnknownNetwork(BadSetting):
    """Yagna does not know the payment network."""


class BadBudget(BadSetting):
    """The budget is not a positive amount of GLM."""


class AllocationRefused(PaymentError):
    """The daemon would not set the budget aside, for want of funds or of a working payment network."""


class BadStrategy(BadArgument, ValueError):
    """What says which providers are taken has a value that can't work."""


class BadTerms(BadArgument, ValueError):
    """Terms of an agreement, such as how often debit notes come, that no provider could keep."""


class BadService(BadArgument, TypeError):
    """A class can't be run as a service: not a `Service`, or with a method of a kind that can't work."""


class BadListener(BadArgument, TypeError):
    """What was to be told of events can't be called."""


class BadInstanceCount(BadArgument, ValueError):
    """The number of instances, or of their parameters, makes no sense."""


class BadPayload(BadArgument, ValueError):
    """A payload that is not one, or one with arguments that contradict each other."""


class UnknownImage(ImageError, LookupError):
    """No registry has the image."""


class RegistryError(ImageError):
    """The image registry does not answer, or answers nonsense."""


class BadCommand(BadArgument, ValueError):
    """A command that no runtime could execute, refused where it was written."""


class BadLocalFile(BadArgument, OSError):
    """A file of this machine can't be sent, or can't be written where it was to go."""


class BadState(BadArgument, ValueError):
    """The name of a state that there is not."""


class BadRespawn(BadArgument, TypeError):
    """What says when an instance is started again is nothing that tenacity understands."""


class BadWaitTime(BadArgument, ValueError):
    """A time that is negative, infinite where that makes no sense, or not a number."""


class NoContext(GolemError, AttributeError):
    """A service ported from yapapi touched `self._ctx`, which has no counterpart here."""


class BadAnswer(BadArgument, TypeError):
    """What `Service.with_answers` was given, in a unit test, is no answer."""


class ForkedGolem(GolemError, RuntimeError):
    """A Golem opened in another process was used after a fork."""


# --- what goes wrong in the life of an instance --------------------------------------------------


class OutOfBudget(PaymentError):
    """The budget is used up, so everything that costs money was stopped."""


class Overcharged(PaymentError):
    """A provider asked for more than the agreed prices allow; it is not paid, and its activity destroyed."""


class BadCommandList(BadArgument, TypeError):
    """`start`, `run` or `shutdown` returned something that is not commands."""


class _FailedCommand(Protocol):
    """A command, as far as an error shows it; `simple_golem.Run` and its like are such."""

    def to_exe_script(self) -> dict[str, object]: ...


class _ResultSoFar(Protocol):
    """A result, as far as an error shows it; `simple_golem.Result` is one."""

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

    It has what `subprocess.CalledProcessError` has, and more.

    Attributes:
        command: the command that failed, None if it is not known.
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
        """The exit code of the failed command where the provider told it, else None."""
        return self.results[-1].exit_code if self.results else None


class NotOneResult(ResultError, AttributeError):
    """`stdout` and the like were asked of the results of no command, or of several; say which one."""


class NoBytes(ResultError, AttributeError):
    """The output's bytes were asked of a command that has its text only."""


class NoData(ResultError, AttributeError):
    """`data` or `json` was asked of the result of a command that brings none."""


class BadJson(ResultError, ValueError):
    """A downloaded file is no JSON."""


class TransferFailed(BatchError):
    """A file did not come over whole, though the provider says that it did."""


class BatchLost(BatchError):
    """Nobody can know what became of a batch: its activity or the way to it went away."""


class BatchTimeout(BatchError, TimeoutError):
    """A batch did not end within its time; it may still be running."""


class ActivityFailed(InstanceError):
    """The provider did not create the activity."""


class ActivityLost(InstanceError):
    """The activity ended without being asked to: its provider died, or ended the agreement."""


class MethodStuck(InstanceError):
    """A method of the service did not return in time after a stop; its thread was abandoned."""


class NotRunning(InstanceError, RuntimeError):
    """Commands were given to an instance that does not run at present."""


class StartTimeout(InstanceError, TimeoutError):
    """An instance did not get to run within its start timeout."""


class WaitTimeout(InstanceError, TimeoutError):
    """What was waited for did not happen in time."""


class ServiceFailed(InstanceError):
    """One or more instances ended with a failure; each is named, the first one's cause is chained."""


class ServiceStopped(BaseException):
    """Raised inside `start` and `run` when their instance is being stopped.

    Not an `Exception`, so that `except Exception` in a loop can't swallow a stop. Need not be caught.
    """


# --- what goes wrong with the daemon -------------------------------------------------------------


class YagnaError(DaemonError):
    """The daemon answered something the library does not expect.

    Attributes:
        method, path: the request.
        status: the HTTP status, None if there was no answer at all.
        detail: the daemon's own message.
    """

    def __init__(self, method: str, path: str, status: int | None, detail: str) -> None:
        answer = "no answer" if status is None else f"status {status}"
        super().__init__(f"{method} {path}: {answer}: {detail}")
        self.method = method
        self.path = path
        self.status = status
        self.detail = detail


# --- the local network ---------------------------------------------------------------------------


class LocalNetworkError(GolemError):
    """The local Golem network could not be started, or broke down."""


class UnsupportedPlatform(LocalNetworkError):
    """The local network does not run on this kind of machine."""


class NamespacesForbidden(LocalNetworkError):
    """The kernel does not let this user make the namespaces an activity lives in."""


class BadImage(LocalNetworkError, ValueError):
    """An `--image` option is not of the form TAG_OR_HASH=FOLDER, or its folder is not there."""


class BadHabit(LocalNetworkError, ValueError):
    """A `--habit` option is not of the form PROVIDER=HABIT, or there is no such provider or habit."""


class BusError(LocalNetworkError):
    """A call over the service bus of a yagna daemon failed, or the bus is not there."""


class PortTaken(LocalNetworkError):
    """A port that a daemon of the local network needs is in use."""


class SandboxGone(LocalNetworkError):
    """The private root of a local activity has ended, and every command in it."""
