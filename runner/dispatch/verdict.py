"""What an attempt's misfortune is called: reasons, exit codes, and what a person is told."""

from __future__ import annotations

from dataclasses import replace

from drivers.base import Recovery
from runner.errors import DriverError, ProcessHostError, StartError
from runner.model.dispatch import Dispatch
from runner.model.result import Outcome, Reason, Status

TIMEOUT_EXIT_CODE = 124
FAULTS_OF_THE_TASK = (126, 127)
"""Exit codes of a start that failed by what the task asked for: found but not executable, and not found."""

_LOST = {
    Reason.DRIVER_LOST: "the runner was restarted, and what ran in it cannot be found again",
    Reason.HOST_RESTARTED: "the machine was restarted while the attempt ran",
    Reason.SUPERVISOR_LOST: "what owned the attempt's processes is gone; how it ended is not known",
}


def errored(reason: str, error: str) -> Outcome:
    return Outcome(status=Status.ERRORED, reason=reason, error=error)


def lost(dispatch: Dispatch, instance: str, recovery: Recovery) -> Outcome | None:
    """The end of an attempt that can neither be carried out nor be found again in the executor's present life."""
    if recovery is Recovery.RERUN:
        return None
    if dispatch.resumed and recovery is Recovery.NONE:
        reason = Reason.DRIVER_LOST
    elif dispatch.instance == instance:
        return None
    else:
        same_boot = dispatch.instance.partition("/")[0] == instance.partition("/")[0]
        reason = Reason.SUPERVISOR_LOST if same_boot else Reason.HOST_RESTARTED
    return errored(reason, _LOST[reason])


def failure(error: Exception) -> Outcome:
    """The end that an exception of a driver means. One that no contract knows is told to nobody but the runner's own log."""
    if isinstance(error, StartError):
        if error.exit_code in FAULTS_OF_THE_TASK:
            return Outcome(status=Status.FAILED, exit_code=error.exit_code, error=error.message)
        return replace(errored(error.reason, error.message), exit_code=error.exit_code)
    if isinstance(error, DriverError):
        return errored(error.reason, error.message)
    if isinstance(error, ProcessHostError):
        return errored(Reason.SUPERVISOR_LOST, error.message)
    return errored(Reason.DRIVER_ERROR, "the driver failed unexpectedly; the runner's own log says how")


def timed_out(outcome: Outcome, seconds: float) -> Outcome:
    """The end of an attempt that had to be stopped because its time was up."""
    error = outcome.error or f"the attempt took longer than its timeout of {seconds:g} s"
    return replace(
        outcome, status=Status.FAILED, reason=Reason.TIMEOUT, exit_code=TIMEOUT_EXIT_CODE, signal=None, error=error
    )
