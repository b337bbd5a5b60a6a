"""Everything that can go wrong, one class each; all of them are `GolemError`s.

A message names the provider, activity or command it is about, and says what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model.commands import Command
    from .model.results import Result


class GolemError(Exception):
    """The base of every error that this library raises on purpose."""


# --- what is wrong before anything is spent -----------------------------------------------------


class NoAppKey(GolemError, LookupError):
    """No app key was given and `YAGNA_APPKEY` is not set."""


class BadAppKey(GolemError, PermissionError):
    """The daemon does not know the app key."""


class NoDaemon(GolemError, ConnectionError):
    """No yagna daemon answers at the URL."""


class BadSetting(GolemError, ValueError):
    """An argument of `Golem`, or an environment variable it reads, has a value that can't work."""


class UnknownNetwork(BadSetting):
    """The payment network is none that yagna knows."""


class BadBudget(BadSetting):
    """The budget is not a positive amount of GLM."""


class AllocationRefused(GolemError):
    """The daemon would not set the budget aside, for want of funds or of a working payment network."""


class BadStrategy(GolemError, ValueError):
    """What says which providers are taken has a value that can't work."""


class BadTerms(GolemError, ValueError):
    """Terms of an agreement, such as how often debit notes come, that no provider could keep."""


class BadService(GolemError, TypeError):
    """A class can't be run as a service: not a `Service`, or with a method of a kind that can't work."""


class BadListener(GolemError, TypeError):
    """What was to be told of events can't be called."""


class BadInstanceCount(GolemError, ValueError):
    """The number of instances, or of their parameters, makes no sense."""


class BadPayload(GolemError, ValueError):
    """A payload that is not one, or one with arguments that contradict each other."""


class UnknownImage(GolemError, LookupError):
    """No registry has the image."""


class RegistryError(GolemError):
    """The image registry does not answer, or answers nonsense."""


class BadCommand(GolemError, ValueError):
    """A command that no runtime could execute, refused where it was written."""


class BadLocalFile(GolemError, OSError):
    """A file of this machine can't be sent, or can't be written where it was to go."""


class BadState(GolemError, ValueError):
    """The name of a state that there is not."""


class BadRespawn(GolemError, TypeError):
    """What says when an instance is started again is nothing that tenacity understands."""


class BadWaitTime(GolemError, ValueError):
    """A time that is negative, infinite where that makes no sense, or not a number."""


class NoContext(GolemError, AttributeError):
    """A service ported from yapapi touched `self._ctx`, which has no counterpart here."""


class BadAnswer(GolemError, TypeError):
    """What `Service.with_answers` was given, in a unit test, is no answer."""


class ForkedGolem(GolemError, RuntimeError):
    """A Golem opened in another process was used after a fork."""


# --- what goes wrong in the life of an instance --------------------------------------------------


class OutOfBudget(GolemError):
    """The budget is used up, so everything that costs money was stopped."""


class Overcharged(GolemError):
    """A provider asked for more than the agreed prices allow; it is not paid, and its activity destroyed."""


class BadCommandList(GolemError, TypeError):
    """`start`, `run` or `shutdown` returned something that is not commands."""


class CommandFailed(GolemError):
    """A command ended with an error on the provider.

    Attributes:
        command: the command that failed, None if it is not known.
        results: the results of its batch so far, the failed one last.
        provider: the provider's name and id.
    """

    def __init__(
        self,
        message: str,
        *,
        command: Command | None = None,
        results: Sequence[Result] = (),
        provider: str = "",
    ) -> None:
        super().__init__(message)
        self.command = command
        self.results = tuple(results)
        self.provider = provider

    @property
    def exit_code(self) -> int | None:
        """The exit code of the failed command where the provider told it, else None."""
        return self.results[-1].exit_code if self.results else None


class NotOneResult(GolemError, AttributeError):
    """`stdout` and the like were asked of the results of no command, or of several; say which one."""


class NoBytes(GolemError, AttributeError):
    """The output's bytes were asked of a command that has its text only."""


class NoData(GolemError, AttributeError):
    """`data` or `json` was asked of the result of a command that brings none."""


class BadJson(GolemError, ValueError):
    """A downloaded file is no JSON."""


class TransferFailed(GolemError):
    """A file did not come over whole, though the provider says that it did."""


class BatchLost(GolemError):
    """Nobody can know what became of a batch: its activity or the way to it went away."""


class BatchTimeout(GolemError, TimeoutError):
    """A batch did not end within its time; it may still be running."""


class ActivityFailed(GolemError):
    """The provider did not create the activity."""


class ActivityLost(GolemError):
    """The activity ended without being asked to: its provider died, or ended the agreement."""


class MethodStuck(GolemError):
    """A method of the service did not return in time after a stop; its thread was abandoned."""


class NotRunning(GolemError, RuntimeError):
    """Commands were given to an instance that does not run at present."""


class StartTimeout(GolemError, TimeoutError):
    """An instance did not get to run within its start timeout."""


class WaitTimeout(GolemError, TimeoutError):
    """What was waited for did not happen in time."""


class ServiceFailed(GolemError):
    """One or more instances ended with a failure; each is named, the first one's cause is chained."""


class ServiceStopped(BaseException):
    """Raised inside `start` and `run` when their instance is being stopped.

    Not an `Exception`, so that `except Exception` in a loop can't swallow a stop. Need not be caught.
    """


# --- what goes wrong with the daemon -------------------------------------------------------------


class YagnaError(GolemError):
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


class SandboxGone(LocalNetworkError):
    """The private root of a local activity has ended, and every command in it."""
