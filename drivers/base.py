"""The contracts between the runner and the code behind a task type. Plugin authors import this module alone.

A driver is one object per runner, used by many attempts at once on one asyncio loop. For one attempt the runner calls

    start(ctx, key) → handle          once; idempotent by key
    wait(handle) → Outcome            once after start or recover
    signal(handle, …), stop(handle, grace)   any time in between, also more than once
    destroy(handle)                   last, once the end is recorded; also after a cancelled wait; may be repeated; after a
                                      start that failed or was given up it gets the key, as bytes, in place of a handle,
                                      and what was started all the same must then be ended

and, in a runner that was restarted, `recover(ctx, handle)` in place of `start`. Whoever writes a driver for something that
runs in this process, needs no clean-up and cannot be found again after a crash derives from `SimpleDriver`.

An attempt that ended is an `Outcome`, a failed one too; an exception means that the driver could not do its work, and the
attempt is `errored`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar, cast

from msgspec import Struct
from pydantic import BaseModel, ConfigDict

from runner.errors import DriverError as DriverError
from runner.errors import RecoverError as RecoverError
from runner.errors import StartError as StartError
from runner.lazily import Lazily
from runner.model.log import LogSink as LogSink
from runner.model.log import Stream as Stream
from runner.model.process import ProcessExit as ProcessExit
from runner.model.process import ProcessLimits as ProcessLimits
from runner.model.process import ProcessSpec as ProcessSpec
from runner.model.process import ProcessStarted as ProcessStarted
from runner.model.process import ProcessUser as ProcessUser
from runner.model.result import Outcome as Outcome
from runner.model.result import Status as Status
from runner.model.value import Bindings as Bindings
from runner.model.value import Value as Value

if TYPE_CHECKING:
    import asyncio
else:
    asyncio = Lazily("asyncio")

AS_WRITTEN = "as written"
"""`Annotated[Any, AS_WRITTEN]` is data that is going to be text: a plain scalar arrives as its source text where the number or
boolean that it reads as would be written otherwise (`1.10`, `0755`), else typed (`3`, `true`)."""


class Says:
    """An annotation: what the JSON Schema of a spec says of a value beside its type, e.g. `Says(pattern="^v[0-9]")`; `also` are
    other forms that a document may give it. It is for editors; what is accepted is decided by the model alone."""

    def __init__(self, *also: Mapping[str, Any], **keywords: Any) -> None:
        self._also = also
        self._keywords = keywords

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        said = {**handler(schema), **self._keywords}
        return {"anyOf": [said, *self._also]} if self._also else said


class Spec(BaseModel):
    """The base of a driver's spec model: frozen, unknown keys refused.

    Annotate with plain types. Where a string may stand the document's source text arrives as it was written (`1.10`,
    `yes`); anywhere else a plain scalar arrives as YAML 1.2 reads it. A field that is no string may be given as one
    whole template; the model is validated again after rendering.
    """

    # Built when it is used first: a node at rest is 3 MB smaller, and a command that validates nothing is sooner there.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


SpecT = TypeVar("SpecT", bound=Spec)
SpecModel = type[Spec]


class Recovery(StrEnum):
    """What a restarted runner does about an attempt whose end it did not see."""

    ATTACH = "attach"
    """`recover(ctx, handle)`, or `start` again with the same key when no handle was recorded: both find what runs."""
    RERUN = "rerun"
    """`start` again: the work is without side effects (an evaluation, a read)."""
    NONE = "none"
    """The attempt is `errored: driver_lost`."""


class Capabilities(Struct, frozen=True, kw_only=True):
    recovery: Recovery = Recovery.NONE
    deadline: bool = False
    """The driver ends the attempt at `ctx.timeout` by itself (else the runner calls `stop`)."""
    signals: frozenset[str] = frozenset()
    """Of `pause`, `start`, `destroy`: what `signal` understands."""
    shell: bool = False
    """`shell` says what somebody who looks at an attempt can converse with."""


class Finding(NamedTuple):
    """What a driver has to say of a spec before it runs. `path` leads to a value within the spec; `offset` is where in that
    text, in characters, a template stands that is meant."""

    path: tuple[str | int, ...]
    message: str
    warning: bool = False
    """Only worth a look: the document is accepted."""
    offset: int | None = None


class Fingerprint(Struct, frozen=True, kw_only=True):
    """Whether the driver can work here, and what it found, e.g. `{"shell": "/bin/sh"}`."""

    healthy: bool = True
    description: str = ""
    attributes: Mapping[str, str] = {}


class Process(Protocol):
    """A process that the host owns; its output flows into the sink that it was spawned or attached with."""

    @property
    def started(self) -> ProcessStarted: ...

    async def wait(self) -> ProcessExit:
        """Its end, once all that it wrote has reached the sink. A pipe that a survivor holds open delays this by no more
        than a second. Cancelling the wait leaves the process alone. Raises ProcessHostError when the host is lost."""


class ProcessHost(Protocol):
    """Starts and owns processes, for drivers. It may outlive the runner.

    Keys name processes; the host remembers a key, also after the process ended, until `forget`.
    """

    @property
    def incarnation(self) -> str:
        """Differs between two lives of the host: what one life started, the next does not know."""

    async def spawn(self, key: str, spec: ProcessSpec, sink: LogSink) -> Process:
        """Start a process, or attach to the one that was started with this key. Raises StartError with 125, 126 (found
        but not executable) or 127 (not found)."""

    async def attach(self, key: str, sink: LogSink) -> Process | None:
        """The process of this key, running or ended but not forgotten; None when the key is unknown."""

    async def signal(self, key: str, signal: Literal["pause", "start", "destroy"]) -> None:
        """Pause, continue or kill the process group. Unknown and ended keys are ignored."""

    async def stop(self, key: str, grace: float) -> None:
        """Begin the stop sequence: SIGTERM to the process group, SIGKILL after `grace` seconds; returns once it has begun.
        A later call may shorten the grace. Unknown and ended keys are ignored."""

    async def forget(self, key: str) -> None:
        """Drop the exit record. A process that still runs is killed first. Unknown keys are ignored."""

    async def list(self) -> Sequence[str]:
        """All keys that the host remembers."""

    async def end_former(self, incarnation: str) -> Mapping[str, Any] | None:
        """End all that is left of a former life of the host; returns a kill report, None when nothing was. The present life
        is left alone; it is a former one from the first error that tells of its end. May be repeated."""


class TaskContext(Protocol):
    """What a driver is given for one attempt."""

    @property
    def group_id(self) -> str: ...
    @property
    def group_name(self) -> str: ...
    @property
    def task_name(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def spec(self) -> Spec:
        """The driver's own model, rendered and validated."""

    @property
    def bindings(self) -> Bindings:
        """What the attempt imports, opened."""

    @property
    def env(self) -> Mapping[str, str]:
        """The group's `env`, rendered."""

    @property
    def workspace(self) -> str:
        """Absolute path of the folder that the group's tasks share."""

    @property
    def temp(self) -> str:
        """Absolute path of a private folder (on tmpfs where there is one) shared by the attempts of this runner; make names
        unique with the attempt's key. 0700, but 0711 where the runner is root: keep files in it at 0600."""

    @property
    def timeout(self) -> float | None:
        """Seconds that the attempt may take from its start."""

    @property
    def grace(self) -> float:
        """Seconds between the polite and the final signal of a stop."""

    @property
    def log(self) -> LogSink: ...
    @property
    def processes(self) -> ProcessHost: ...

    def foresee_exports(self, look: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """For a driver whose attempts export while they run: `look` gives (name, text) of what is exported by now, or what of
        it is new since the last call, in any order. Of a task with confidential exports it is called before each piece of its
        log is shown, so that what is printed after it was exported is masked; so it is to be cheap. What it raises goes to
        whoever writes to the log. Of other tasks it is never called."""

    def add_mask(self, name: str, text: str) -> None:
        """From now on `text` is confidential in all that leaves the attempt; `name` is how reports call it."""

    def is_confidential(self, text: str) -> bool:
        """Whether `text` contains a value that is known to be confidential."""


class ShellContext(Protocol):
    """What a driver is given for a shell: somebody wants to look, by a program, at where an attempt runs or ran. The attempt is to be
    left alone. `spec`, `env`, `workspace` and `temp` are as in `TaskContext`, and so are the names."""

    @property
    def group_id(self) -> str: ...
    @property
    def group_name(self) -> str: ...
    @property
    def task_name(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def spec(self) -> Spec: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def workspace(self) -> str: ...
    @property
    def temp(self) -> str: ...
    @property
    def command(self) -> Sequence[str]:
        """What is to be run there: a program with its arguments."""

    def withholds(self, text: str) -> bool:
        """Whether `text` contains a value that is known to be confidential, and that whoever asked is not to be given."""


class ShellProgram(Struct, frozen=True, kw_only=True):
    """What somebody converses with. `withheld` names what the attempt had and this has not, for it is confidential."""

    program: ProcessSpec
    withheld: Sequence[str] = ()


class Driver(ABC, Generic[SpecT]):
    """See the module's docstring for who calls what, when. All methods run on the runner's loop and must not block it."""

    type: ClassVar[str]
    capabilities: ClassVar[Capabilities] = Capabilities()
    spec_model: ClassVar[SpecModel] = Spec

    async def fingerprint(self) -> Fingerprint:
        return Fingerprint()

    def check(
        self, spec: Mapping[str, Any], exports: Sequence[str], confidential: Collection[str] = ()
    ) -> Sequence[Finding]:
        """Faults that the model cannot see. Templates in `spec` are unrendered and `spec` may not have passed the model; must not
        raise. `confidential` names the confidential values that its templates may read, as they spell them without the leading
        dot, e.g. `fetch.password`."""
        return ()

    @abstractmethod
    async def start(self, ctx: TaskContext, key: str) -> bytes:
        """Begin the attempt; idempotent by key. The handle is all that `recover` gets, in another process: at most 64 KiB, and nothing
        confidential, for it is stored as it is. Whoever has a timeout and no `deadline` is given up when it is up."""

    @abstractmethod
    async def wait(self, handle: bytes) -> Outcome:
        """The attempt's end. Outputs may hold more than was declared. Cancelling this call leaves the attempt alone."""

    async def recover(self, ctx: TaskContext, handle: bytes) -> None:
        """Find the attempt of a former runner again, so that `wait` and the others work. Raises RecoverError."""
        raise DriverError("this driver cannot find an attempt again", reason="driver_lost")

    async def signal(self, handle: bytes, signal: str) -> None:
        raise DriverError(f"this driver does not understand the signal {signal!r}")

    @abstractmethod
    async def stop(self, handle: bytes, grace: float) -> None:
        """Ask the attempt to end, and end it after `grace` seconds; `wait` returns then. Does not wait itself."""

    async def destroy(self, handle: bytes) -> None:
        """Free what the attempt holds. Idempotent."""

    async def shell(self, ctx: ShellContext, key: str) -> ShellProgram:
        """What is started, as a process or in place of one, where the attempt runs or ran; `key` is no attempt's. Called where the
        capabilities have it, and `clear` behind its end. Raises DriverError where there is no such place."""
        raise DriverError("this driver has no shell")

    async def salvage(self, temp: str, key: str, task: str) -> Sequence[tuple[str, Value]]:
        """What an attempt that cannot be found again had exported, or may have meant to, so that it can be masked: each name as
        often as there is a value. Nothing of it runs any more, `task` is its task's name. What it has left in `temp` stays there
        until `clear`: a runner may be killed before it has masked anything. Idempotent."""
        return ()

    async def clear(self, temp: str, key: str) -> None:
        """Remove from `temp` what an attempt has left there that was salvaged, or that a runner which was killed had not started
        yet, once its end is recorded. Idempotent."""
        return

    def sweep(self, temp: str, live: Collection[str]) -> None:
        """Remove from `temp` what attempts left there that a killed runner did not destroy: all but those whose keys are
        `live`. Called once in a runner that was restarted, when nothing of the others runs any more."""
        return


class SimpleDriver(Driver[SpecT]):
    """A driver that is one coroutine: `run` returns the outputs, or raises.

    Being cancelled is being stopped: clean up in `finally`, and do not go on. Raise `DriverError` for `errored`; return an `Outcome`
    to say `failed` or to set an exit code. Handles are made up here.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(recovery=Recovery.NONE)

    def __init__(self) -> None:
        self._running: dict[bytes, asyncio.Task[Outcome]] = {}
        self._stopped: set[bytes] = set()

    @abstractmethod
    async def run(self, ctx: TaskContext, spec: SpecT) -> Mapping[str, str | Value] | Outcome: ...

    async def start(self, ctx: TaskContext, key: str) -> bytes:
        handle = key.encode()
        if handle not in self._running:
            # Owned by `_running` until destroy: the contract splits one coroutine over two calls.
            self._running[handle] = asyncio.get_running_loop().create_task(
                self._outcome(ctx), name=f"an attempt of {self.type!r}"
            )
        return handle

    async def _outcome(self, ctx: TaskContext) -> Outcome:
        try:
            ended = await self.run(ctx, cast(SpecT, ctx.spec))
        except (SystemExit, KeyboardInterrupt) as error:  # asyncio would end the runner with it
            raise DriverError("the driver tried to end the runner (sys.exit)") from error
        if isinstance(ended, Outcome):
            return ended
        if not isinstance(ended, Mapping):
            raise DriverError(
                f"run() of the driver gave an object of type {type(ended).__name__}, not outputs or an Outcome"
            )
        outputs = {name: value if isinstance(value, Value) else Value(value) for name, value in ended.items()}
        return Outcome(status=Status.SUCCESS, outputs=outputs)

    async def wait(self, handle: bytes) -> Outcome:
        task = self._running[handle]
        await asyncio.wait([task])
        if not task.cancelled():
            return task.result()
        if handle not in self._stopped:
            raise DriverError("the driver gave up: something that it waited for was cancelled")
        return Outcome(status=Status.ABORTED)

    async def stop(self, handle: bytes, grace: float) -> None:
        task = self._running.get(handle)
        if task is not None:
            self._stopped.add(handle)
            task.cancel()

    async def destroy(self, handle: bytes) -> None:
        self._stopped.discard(handle)
        task = self._running.pop(handle, None)
        if task is None:
            return
        ended = task.done()
        if not ended:
            task.cancel()
            await asyncio.wait([task])
        # It is asked for in any case: asyncio would tell of it in its own words, which nobody masks.
        error = None if task.cancelled() else task.exception()
        if error is not None and not ended:
            raise error
