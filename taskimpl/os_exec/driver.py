"""The driver of `os_exec`."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
from msgspec import Struct

from drivers.base import (
    Capabilities,
    Driver,
    Finding,
    Process,
    ProcessExit,
    ProcessHost,
    ProcessLimits,
    ProcessSpec,
    Recovery,
    ShellContext,
    ShellProgram,
    TaskContext,
)
from runner.errors import DriverError, OutputFileError, ProcessHostError, RecoverError, StartError
from runner.lazily import Lazily
from runner.model.result import Outcome, Reason, Status
from runner.model.value import Value
from taskimpl.os_exec import account, outputfiles, warnings
from taskimpl.os_exec.account import Account
from taskimpl.os_exec.givenfiles import variable
from taskimpl.os_exec.outputfiles import VARIABLE, AttemptFiles
from taskimpl.os_exec.spec import SCRIPT_FILE, Limits, OsExecSpec

if TYPE_CHECKING:
    import asyncio
else:
    asyncio = Lazily("asyncio")

EXIT_CODE_TIMEOUT = 124
COULD_NOT_START = 125
INHERITED = ("PATH", "HOME", "LANG", "TZ")
_REFUSALS = {126: "the program cannot be executed", 127: "the program was not found"}
"""What is said of a refusal by a life of the runner that did not hear its words."""


class _Attempt(Struct, kw_only=True):
    """One that was started or found again here. `process` is None when it could not be executed: `refusal` says why."""

    key: str
    processes: ProcessHost
    files: AttemptFiles
    process: Process | None = None
    refusal: tuple[int, str] | None = None


class OsExecDriver(Driver[OsExecSpec]):
    """Runs programs through the process host, so that they survive the runner where the host does."""

    type = "os_exec"
    capabilities = Capabilities(
        recovery=Recovery.ATTACH, deadline=True, signals=frozenset({"pause", "start", "destroy"}), shell=True
    )
    spec_model = OsExecSpec

    def __init__(self, base_env: Mapping[str, str]) -> None:
        """`base_env` is the runner's own environment, of which a program sees PATH, HOME, LANG and TZ."""
        self._base_env = {name: base_env[name] for name in INHERITED if name in base_env}
        self._attempts: dict[bytes, _Attempt] = {}
        """By key, as bytes."""

    def check(
        self, spec: Mapping[str, Any], exports: Sequence[str], confidential: Collection[str] = ()
    ) -> Sequence[Finding]:
        return warnings.find(spec, confidential)

    async def start(self, ctx: TaskContext, key: str) -> bytes:
        spec = cast(OsExecSpec, ctx.spec)
        _limit_log(ctx)
        script = spec.script
        suffix = script[0].suffix if script else ""
        who = None if spec.user is None else await _account(spec.user, ctx.temp)
        owner = (who.user.uid, who.user.gid) if who else None
        files = AttemptFiles.of(ctx.temp, key, ctx.task_name, suffix, owner)
        ctx.foresee_exports(files.look)
        attempt = _Attempt(key=key, processes=ctx.processes, files=files)
        self._attempts[key.encode()] = attempt
        if script is None:
            argv = list(spec.command)
        elif script[0].wants_file:
            argv = [word.replace(SCRIPT_FILE, files.script) for word in script[0].argv]
        else:
            argv = [*script[0].argv, script[1]]
        program = ProcessSpec(
            argv=argv,
            env=self._environment(ctx, spec, files, who),
            cwd=_working_folder(ctx.workspace, spec.workdir),
            timeout=ctx.timeout,
            grace=ctx.grace,
            stdin=spec.stdin,
            user=who.user if who else None,
            limits=_process_limits(spec.limits),
        )
        files.make(script[1] if script and script[0].wants_file else None, spec.files)
        try:
            attempt.process = await ctx.processes.spawn(key, program, ctx.log)
        except StartError as error:
            await files.remove()
            if error.exit_code == COULD_NOT_START:
                raise
            attempt.refusal = (error.exit_code, error.message)
        except ProcessHostError as error:
            raise _lost(error) from error  # what it may have exported all the same is salvaged
        return _handle(attempt)

    async def recover(self, ctx: TaskContext, handle: bytes) -> None:
        key = _key(handle)
        fields = msgspec.json.decode(handle[len(key) :])
        owner = tuple(fields["owner"]) if fields.get("owner") else None
        _limit_log(ctx)
        files = AttemptFiles.of(ctx.temp, key.decode(), ctx.task_name, fields["suffix"], owner)
        ctx.foresee_exports(files.look)
        attempt = _Attempt(key=key.decode(), processes=ctx.processes, files=files)
        if fields["refused"] is not None:
            attempt.refusal = (fields["refused"], _REFUSALS.get(fields["refused"], "the program was not executed"))
        else:
            if fields["incarnation"] != ctx.processes.incarnation:
                raise RecoverError("the supervisor that ran it is gone", reason=Reason.SUPERVISOR_LOST)
            attempt.process = await ctx.processes.attach(attempt.key, ctx.log)
            if attempt.process is None:
                await files.remove()
                raise RecoverError("the supervisor does not know it any more", reason=Reason.DRIVER_LOST)
        self._attempts[key] = attempt

    async def wait(self, handle: bytes) -> Outcome:
        attempt = self._attempts[_key(handle)]
        if attempt.process is None:
            code, message = attempt.refusal or (COULD_NOT_START, "it was not started")
            return Outcome(status=Status.FAILED, exit_code=code, error=message)
        try:
            exit = await attempt.process.wait()
        except ProcessHostError as error:
            raise _lost(error) from error
        except OSError as error:
            raise DriverError(f"its output could not be kept: {error.strerror}", reason="log_failed") from error
        return await _outcome(exit, attempt.files)

    async def signal(self, handle: bytes, signal: str) -> None:
        attempt = self._attempts.get(_key(handle))
        if signal not in self.capabilities.signals:
            await super().signal(handle, signal)
        if attempt is not None:
            await attempt.processes.signal(attempt.key, cast(Literal["pause", "start", "destroy"], signal))

    async def stop(self, handle: bytes, grace: float) -> None:
        attempt = self._attempts.get(_key(handle))
        if attempt is not None:
            await attempt.processes.stop(attempt.key, grace)

    async def destroy(self, handle: bytes) -> None:
        attempt = self._attempts.pop(_key(handle), None)
        if attempt is None:
            return
        try:
            with suppress(ProcessHostError):  # a supervisor that is gone has forgotten all
                await attempt.processes.forget(attempt.key)
        finally:  # behind it: a program that still ran was ended by that, and can write no more
            await attempt.files.remove()

    async def shell(self, ctx: ShellContext, key: str) -> ShellProgram:
        """A process where those of the attempt are, with its environment, user and limits, and files of its own: what it exports
        is nobody's."""
        spec = cast(OsExecSpec, ctx.spec)
        who = None if spec.user is None else await _account(spec.user, ctx.temp)
        owner = (who.user.uid, who.user.gid) if who else None
        files = AttemptFiles.of(ctx.temp, key, ctx.task_name, "", owner)
        folder = _working_folder(ctx.workspace, spec.workdir)
        if not os.path.isdir(folder):
            raise DriverError(
                f"the task's folder {spec.workdir!r} is not in the workspace any more", reason=Reason.BAD_SPEC
            )
        env = self._environment(ctx, spec, files, who)
        withheld = [name for name, text in env.items() if ctx.withholds(text) or ctx.withholds(f"{name}={text}")]
        kept_back = [name for name, text in spec.files.items() if ctx.withholds(text)]
        withheld += [name for name in map(variable, kept_back) if name not in withheld]
        files.make(None, {name: text for name, text in spec.files.items() if name not in kept_back})
        program = ProcessSpec(
            argv=ctx.command,
            env={name: text for name, text in env.items() if name not in withheld},
            cwd=folder,
            user=who.user if who else None,
            limits=_process_limits(spec.limits),
        )
        return ShellProgram(program=program, withheld=withheld)

    async def salvage(self, temp: str, key: str, task: str) -> Sequence[tuple[str, Value]]:
        exported = await asyncio.to_thread(outputfiles.salvage, temp, key, task)
        return [(name, Value(text)) for name, text in exported]

    async def clear(self, temp: str, key: str) -> None:
        await asyncio.to_thread(outputfiles.clear, temp, key)

    def sweep(self, temp: str, live: Collection[str]) -> None:
        outputfiles.sweep(temp, live)

    def _environment(
        self, ctx: TaskContext | ShellContext, spec: OsExecSpec, files: AttemptFiles, who: Account | None
    ) -> dict[str, str]:
        return {
            **self._base_env,
            **({"HOME": who.home} if who else {}),
            **ctx.env,
            **spec.environment,
            **files.given.environment(spec.files),
            "RUNNER_GROUP_ID": ctx.group_id,
            "RUNNER_GROUP_NAME": ctx.group_name,
            "RUNNER_TASK_NAME": ctx.task_name,
            "RUNNER_TASK_ATTEMPT": str(ctx.attempt),
            "RUNNER_WORKSPACE": ctx.workspace,
            VARIABLE: files.output,
        }


async def _account(user: str, temp: str) -> Account:
    """Who it runs as. Raises StartError."""
    who = await asyncio.to_thread(account.find, user)  # a directory of users may be far away
    if os.geteuid() != 0 and (who.user.uid, who.user.gid) != (os.geteuid(), os.getegid()):
        raise StartError(f"cannot run as {user!r}: only a runner that is root can run tasks as other users")
    account.check_way(who.user, temp)
    return who


def _process_limits(limits: Limits | None) -> ProcessLimits | None:
    """What the process host has to see to; None where that is nothing."""
    given = {} if limits is None else limits.model_dump(exclude={"log"}, exclude_none=True)
    return ProcessLimits(**given) if given else None


def _limit_log(ctx: TaskContext) -> None:
    limits = cast(OsExecSpec, ctx.spec).limits
    if limits is not None and limits.log is not None:
        ctx.log.limit(limits.log)


def _working_folder(workspace: str, workdir: str | None) -> str:
    """Absolute. Raises DriverError for a folder that, its symbolic links followed, is not in the workspace."""
    if workdir is None:
        return workspace
    root = os.path.realpath(workspace)
    folder = os.path.realpath(os.path.join(root, workdir))
    if os.path.commonpath((root, folder)) != root:
        raise DriverError(
            f"the working folder {workdir!r} lies outside the workspace: name one below it", reason=Reason.BAD_SPEC
        )
    return folder


async def _outcome(exit: ProcessExit, files: AttemptFiles) -> Outcome:
    outputs: dict[str, Value] = {}
    malformed = None
    try:
        outputs = {name: Value(text) for name, text in (await files.read_aside()).items()}
    except OutputFileError as error:
        malformed = error.message
        await asyncio.to_thread(files.interpret)
    status, reason, exit_code = Status.SUCCESS, None, exit.exit_code
    if exit.cause == "timeout":
        status, reason, exit_code = Status.FAILED, Reason.TIMEOUT, EXIT_CODE_TIMEOUT
    elif exit.cause == "stopped":
        status = Status.ABORTED
    elif exit.exit_code != 0:
        status = Status.FAILED
    elif malformed is not None:
        status, reason = Status.FAILED, Reason.BAD_OUTPUT
    return Outcome(
        status=status,
        reason=reason,
        exit_code=exit_code,
        signal=exit.signal,
        outputs=outputs,
        error=malformed,
        kill=exit.kill,
        started_at=exit.started_at,
        finished_at=exit.finished_at,
    )


def _lost(error: ProcessHostError) -> DriverError:
    return DriverError(error.message, reason=Reason.SUPERVISOR_LOST)


def _handle(attempt: _Attempt) -> bytes:
    fields = {
        "incarnation": attempt.processes.incarnation,
        "suffix": attempt.files.suffix,
        "owner": attempt.files.owner,
        # Without its words: a handle is stored as it is, and they quote what was rendered.
        "refused": attempt.refusal and attempt.refusal[0],
    }
    return attempt.key.encode() + msgspec.json.encode(fields)


def _key(handle: bytes) -> bytes:
    """The key that a handle begins with; a start that was given up has left the key alone."""
    return handle.partition(b"{")[0]
