"""What an attempt's misfortune is called: reasons, exit codes, and what a person is told."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from drivers.base import Recovery
from runner.errors import DriverError, ProcessHostError, StartError
from runner.model.dispatch import Dispatch
from runner.model.result import Outcome, Reason, Status
from runner.model.value import Value

TIMEOUT_EXIT_CODE = 124
FAULTS_OF_THE_TASK = (126, 127)
"""Exit codes of a start that failed by what the task asked for: found but not executable, and not found."""

_ENDS = frozenset({Status.SUCCESS, Status.FAILED, Status.ERRORED, Status.ABORTED})
_LARGEST_CODE = 2**31 - 1
_LONGEST_SECONDS = 1e9

_LOST = {
    Reason.RUNNER_LOST: "the runner that it was given to is no peer of this one any more; it may still run there",
    Reason.DRIVER_LOST: "the runner was restarted, and what ran in it cannot be found again",
    Reason.HOST_RESTARTED: "the machine was restarted while the attempt ran",
    Reason.SUPERVISOR_LOST: "the runner that owned its processes was killed, and they with it; "
    "it is tried again only where `retry.on` lists supervisor_lost",
}


def errored(reason: str, error: str) -> Outcome:
    return Outcome(status=Status.ERRORED, reason=reason, error=error)


def lost(dispatch: Dispatch, instance: str, recovery: Recovery) -> Outcome | None:
    """The end of an attempt that can neither be carried out nor be found again in the executor's present life."""
    if "/" in instance and "/" not in dispatch.instance:  # a peer's, which is one word; it was never meant to run here
        return errored(Reason.RUNNER_LOST, _LOST[Reason.RUNNER_LOST])
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


def checked(outcome: Any) -> Outcome:
    """What a driver says of an end, once it is known to be what the type of `Outcome` promises; texts that cannot be written
    as UTF-8 (an error may quote a file name) are escaped. Raises DriverError.

    What a store cannot keep must not reach the engine: it writes many groups in one transaction, and would go on trying.
    """
    if not isinstance(outcome, Outcome):
        raise DriverError(f"the driver's word on the attempt's end is of type {type(outcome).__name__}, not an Outcome")
    status: Any = outcome.status
    if not isinstance(status, Status) or status not in _ENDS:
        raise DriverError(f"the driver says that the attempt ended as {str(outcome.status)!r}")
    wrong = [
        name for name, sound in _SOUND.items() if (value := getattr(outcome, name)) is not None and not sound(value)
    ]
    if not _are_values(outcome.outputs):
        wrong.append("outputs")
    if wrong:
        raise DriverError(f"the driver told of the attempt's end what cannot be kept: {', '.join(wrong)}")
    if _is_clean(outcome.reason) and _is_clean(outcome.error):
        return outcome
    return replace(outcome, reason=_escaped(outcome.reason), error=_escaped(outcome.error))


def _is_code(number: Any) -> bool:
    return isinstance(number, int) and abs(number) <= _LARGEST_CODE


def _is_time(seconds: Any) -> bool:
    return isinstance(seconds, float | int) and math.isfinite(seconds)


def _is_report(kill: Any) -> bool:
    """Whether it is a kill report as `drivers.base.ProcessExit` has it, of which each part may be left away."""
    try:
        plain = isinstance(kill, Mapping) and bool(json.dumps(dict(kill), ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError):
        return False
    return plain and all(kill.get(name) is None or sound(kill[name]) for name, sound in _REPORTED.items())


def _are_signals(signals: Any) -> bool:
    return isinstance(signals, list | tuple) and all(
        isinstance(one, list | tuple)
        and len(one) == 2
        and _is_text(one[0])
        and _is_time(one[1])
        and 0 <= one[1] < _LONGEST_SECONDS
        for one in signals
    )


def _are_processes(left: Any) -> bool:
    return isinstance(left, list | tuple) and all(
        isinstance(one, Mapping)
        and _is_count(one.get("pid"))
        and _is_text(one.get("name"))
        and _is_text(one.get("state"))
        for one in left
    )


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and 0 <= number <= _LARGEST_CODE


def _are_values(outputs: Any) -> bool:
    return isinstance(outputs, Mapping) and all(
        isinstance(name, str) and isinstance(value, Value) and isinstance(value.text, str)
        for name, value in outputs.items()
    )


def _is_text(text: Any) -> bool:
    return isinstance(text, str)


_SOUND: Mapping[str, Callable[[Any], bool]] = {
    "reason": _is_text,
    "error": _is_text,
    "exit_code": _is_code,
    "signal": _is_code,
    "started_at": _is_time,
    "finished_at": _is_time,
    "kill": _is_report,
}
"""What may be said of an end beside its status and outputs, and None where it is not."""


_REPORTED: Mapping[str, Callable[[Any], bool]] = {
    "signals": _are_signals,
    "containment": _is_text,
    "leftovers": _is_count,
    "left": _are_processes,
    "survivors": _is_count,
    "confirmed": lambda value: isinstance(value, bool),
}
"""The parts of a kill report. One that is told otherwise could be passed on to nobody."""


def _is_clean(text: str | None) -> bool:
    return text is None or text.isascii() or _escaped(text) == text


def _escaped(text: str | None) -> str | None:
    return None if text is None else text.encode(errors="backslashreplace").decode()


def failure(error: Exception) -> Outcome:
    """The end that an exception of a driver means. One that no contract knows is told to nobody but the runner's own log."""
    try:
        return checked(_failure(error))
    except DriverError as problem:
        return errored(Reason.DRIVER_ERROR, problem.message)


def _failure(error: Exception) -> Outcome:
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
