"""The one error tree of the project. The docstring of a class is its default message.

    RunnerError
    ├── DocumentError            a document was refused; carries every fault
    ├── UsageError               a command line or an input was refused
    │   └── ConfigurationError   what the runner was told by files, variables and options; carries every fault
    ├── TemplateError            a template did not parse, or could not be rendered
    ├── OutputFileError          a program's output file is malformed
    ├── StoreError               the state could not be read or written
    │   ├── StoreVersionError    the state was written by a newer runner
    │   ├── StoreCorruptError    the state is damaged
    │   ├── StoreFullError       the disk is full
    │   └── StoreReadOnlyError   the disk or folder cannot be written
    ├── BackupError              a backup cannot be written, is none, or is damaged
    ├── LogGapError              this part of a log is not kept
    ├── StateLockedError         another process uses this state directory
    ├── GroupExistsError         the group id is taken by different content
    ├── GroupNotFoundError       no such group
    ├── NoShellError             there is no place where a shell could be
    ├── ShellEndedError          a shell was ended by the runner that it was on
    ├── SealError                a sealed value could not be opened
    ├── UnauthenticatedError     nobody knows who is asking
    ├── ForbiddenError           who is asking may not do this
    ├── LimitError               more than this runner takes at once; later it may
    ├── UnavailableError         the runner cannot do this now: it ends, or cannot write its state
    ├── SupersededError          a newer session of the same runner has taken the place of this one
    ├── ProtocolError            a runner speaks another version of the protocol between runners
    ├── UnreachableError         a runner does not answer
    ├── InternalError            something went wrong inside another runner; its log knows what
    ├── DriverError              a driver could not do what it was asked (the attempt is `errored`)
    │   ├── StartError           the attempt could not start (exit code 125, 126 or 127)
    │   └── RecoverError         the attempt is no longer known to its driver
    └── ProcessHostError         the process host is gone, or refused a request

A task that failed is a value (`model.result`), a runner that failed is one of these.
"""

from __future__ import annotations


class RunnerError(Exception):
    """The runner could not do what it was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


class DocumentError(RunnerError):
    """The document was refused."""

    def __init__(self, faults: tuple[object, ...], message: str | None = None) -> None:
        super().__init__(message or "\n".join(str(fault) for fault in faults))
        self.faults = faults


class UsageError(RunnerError):
    """The command was used wrongly."""


class ConfigurationError(UsageError):
    """The configuration was refused."""

    def __init__(self, faults: tuple[object, ...]) -> None:
        lines = [str(fault) for fault in faults]
        super().__init__("\n".join(lines if len(lines) == 1 else ["the configuration was refused:", *lines]))
        self.faults = faults


class TemplateError(RunnerError):
    """The template is wrong."""

    def __init__(self, message: str | None = None, *, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset
        """Where in the template's source, in characters."""


class OutputFileError(RunnerError):
    """The output file is malformed."""


class StoreError(RunnerError):
    """The state could not be read or written."""


class StoreVersionError(StoreError):
    """The state was written by a newer runner."""


class StoreCorruptError(StoreError):
    """The state is damaged."""


class StoreFullError(StoreError):
    """The disk that holds the state is full."""


class StoreReadOnlyError(StoreError):
    """The state cannot be written."""


class BackupError(RunnerError):
    """The backup cannot be used, or written."""


class LogGapError(RunnerError):
    """This part of the log is not kept."""

    def __init__(self, message: str | None = None, *, end: int) -> None:
        super().__init__(message)
        self.end = end
        """The offset in the stream where the log goes on."""


class StateLockedError(RunnerError):
    """Another process uses this state directory."""


class GroupExistsError(RunnerError):
    """A group with this id exists already and has different content."""


class GroupInUseError(RunnerError):
    """The group cannot be removed at this moment."""


class NoShellError(RunnerError):
    """There is no place where a shell could be."""


class ShellEndedError(RunnerError):
    """The shell was ended by the runner that it was on."""


class GroupNotFoundError(RunnerError):
    """There is no group with this id."""


class SealError(RunnerError):
    """A sealed value could not be opened."""


class UnauthenticatedError(RunnerError):
    """It is not known who is asking."""


class ForbiddenError(RunnerError):
    """This is not allowed."""


class LimitError(RunnerError):
    """This is more than the runner takes."""

    def __init__(self, message: str | None = None, *, limit: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after = retry_after
        """In how many seconds the same may be asked for again; None where it never helps."""


class UnavailableError(RunnerError):
    """The runner cannot do this now."""

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """In how many seconds it is worth to try again; None where nobody knows."""


class SupersededError(RunnerError):
    """A newer session of the same runner has taken the place of this one."""


class ProtocolError(RunnerError):
    """The other runner speaks another version of the protocol between runners."""


class UnreachableError(RunnerError):
    """The runner does not answer."""

    def __init__(self, message: str | None = None, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final
        """Whether time does not heal it: then it was not asked anything, e.g. because its certificate is not trusted."""


class InternalError(RunnerError):
    """Something went wrong inside the runner."""


class DriverError(RunnerError):
    """The driver could not do what it was asked."""

    def __init__(self, message: str | None = None, *, reason: str = "driver_error") -> None:
        super().__init__(message)
        self.reason = reason


class StartError(DriverError):
    """The attempt could not start."""

    def __init__(self, message: str | None = None, *, exit_code: int = 125) -> None:
        super().__init__(message, reason="start_failed")
        self.exit_code = exit_code


class RecoverError(DriverError):
    """The attempt is no longer known to its driver."""

    def __init__(self, message: str | None = None, *, reason: str = "driver_lost") -> None:
        super().__init__(message, reason=reason)


class ProcessHostError(RunnerError):
    """The process host is gone, or refused the request."""
