"""Shells of callers: what they type goes to a program where a task runs or ran, and what that prints comes back.

Nothing is kept of either: a piece is read when the one before was taken. The record says who, where and when, and with or without
secrets; never what was said.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias, TypeVar

import grpc
from msgspec import Struct
from msgspec.structs import replace

from runner.config.service import Scope, Service
from runner.engine.places import place_of
from runner.errors import (
    ForbiddenError,
    NoShellError,
    ProcessHostError,
    RunnerError,
    ShellEndedError,
    StartError,
    UnreachableError,
    UsageError,
)
from runner.model.group import TaskGroup
from runner.model.session import hop
from runner.model.shell import LARGEST_MEASURE, Conversation, Shell, ShellCaller, ShellPlace, ShellRequest, Size
from runner.rpc import policy
from runner.rpc.identity import Caller
from runner.rpc.premises import Premises
from runner.rpc.status import abort
from runner.rpc.traffic import Traffic
from runner.rpc.wire import ADMITTED, STREAMS
from runner.v1 import runner_pb2 as pb

FIRST_SECONDS = 30.0
"""How long a caller may take to say what he wants."""
TELLING_SECONDS = 3.0
"""How long a caller may take to hear that his shell was ended."""
LEAVING_SECONDS = 5.0
"""And how long to end his call, once he has heard that it is over."""
PIECE_BYTES = 64 << 10
ENDING_SECONDS = 15.0
"""How long it is waited for the end of shells whose group is to be removed."""
MOST_HOPS = 8
MOST_WORDS, MOST_COMMAND_BYTES = 1000, 100_000
LEAST_LOOK_SECONDS = 0.02

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic in its stubs alone
T = TypeVar("T")
Beside = Callable[[int, Callable[[], ShellPlace]], Awaitable[ShellPlace]]

_log = logging.getLogger(__name__)


class Shelling:
    def __init__(self, premises: Premises, service: Callable[[], Service], traffic: Traffic, beside: Beside) -> None:
        """`service` is asked each time; `beside` does what takes long for a large group."""
        self._premises = premises
        self._engine = premises.engine
        self._service = service
        self._traffic = traffic
        self._beside = beside
        self._open: defaultdict[str, set[_Call]] = defaultdict(set)
        """By group."""

    async def end_all(self, group: str) -> None:
        """End the shells of a group that is to be removed, and wait for that."""
        calls = list(self._open.get(group, ()))
        for call in calls:
            call.cut("its group is removed")
        if calls:
            await asyncio.wait([asyncio.ensure_future(call.over.wait()) for call in calls], timeout=ENDING_SECONDS)

    async def serve(
        self, requests: AsyncIterator[pb.ShellRequest], context: Context, find: Callable[[pb.ShellStart], Asked]
    ) -> AsyncGenerator[pb.ShellResponse, None]:
        """`find` says what is asked for, and by whom. Raises GroupNotFoundError, ForbiddenError."""
        await context.send_initial_metadata(((ADMITTED, "1"),))
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                first = await anext(requests, None)
        except TimeoutError:
            raise UsageError("a shell begins with a request that says where it is to be") from None
        if first is None or first.WhichOneof("request") != "start":
            raise UsageError("a shell begins with a request that says where it is to be")
        request = _request(first.start)
        asked = find(first.start)
        place = await self._place(asked, replace(request, attempt=asked.attempt))
        with self._traffic.shell(), self._engine.held(place.group), self._occupied(place):
            call = _Call(context, self._service().limits.shell_idle_seconds)
            self._open[place.group].add(call)
            forget = self._traffic.subscribe(partial(call.cut, "this runner is about to end"))
            try:
                with _recorded(place, request, asked) as record, call.ended():
                    opened = self._opened(place, request, asked)
                    async with aclosing(self._answers(opened, requests, call, record)) as answers:
                        async for answer in answers:
                            yield answer
            finally:
                forget()
                call.over.set()
                self._open[place.group].discard(call)
                if not self._open[place.group]:
                    del self._open[place.group]

    async def _place(self, asked: Asked, request: ShellRequest) -> ShellPlace:
        caller = asked.caller
        if request.secrets and not asked.may_reveal:
            raise ForbiddenError(
                f"this needs the scope `reveal`, which {caller.name!r} does not have here; without --secrets it does not"
            )
        record = self._engine.record_of(asked.group)
        size = len(record.group.document) + len(record.group.inputs)
        place = await self._beside(
            size, partial(place_of, record, self._premises.sealer, request.task, request.attempt)
        )
        alone = TaskGroup(name="", tasks=(replace(place.task, forward=None),))
        for fault in policy.check(alone, caller, scope=Scope.SHELL):
            raise ForbiddenError(
                f"no rule that gives {caller.name!r} the scope `shell` covers this task: {fault.message}"
            )
        return place

    def _opened(self, place: ShellPlace, request: ShellRequest, asked: Asked) -> AbstractAsyncContextManager[Shell]:
        """Here, or where it runs or ran."""
        if place.peer == self._service().name:
            return self._premises.shells.opened(place, request)
        own = hop(self._service().name, self._premises.node_id)
        if own in asked.hops or len(asked.hops) >= MOST_HOPS:
            raise NoShellError(f"it came by {', '.join(asked.hops)}, and would go on for ever")
        caller = ShellCaller(
            node=self._premises.node_id,
            name=self._service().name,
            on_behalf_of=asked.on_behalf_of,
            hops=(*asked.hops, own),
        )
        return self._premises.others.shell(place, asked.known_as, request, caller)

    @contextmanager
    def _occupied(self, place: ShellPlace) -> Iterator[None]:
        workspaces = self._premises.workspaces
        workspaces.occupy(place.workspace)
        try:
            yield
        finally:  # what was to be removed meanwhile goes now, which may take long
            asyncio.get_running_loop().run_in_executor(None, workspaces.vacate, place.workspace)

    async def _answers(
        self,
        opened: AbstractAsyncContextManager[Shell],
        requests: AsyncIterator[pb.ShellRequest],
        call: _Call,
        record: dict[str, Any],
    ) -> AsyncGenerator[pb.ShellResponse, None]:
        try:
            async with opened as (conversation, withheld):
                yield pb.ShellResponse(started=pb.ShellStarted(withheld=withheld))
                async with _heard(requests, conversation, call) as hearing:
                    ended = pb.ShellEnded()
                    try:
                        while (piece := await call.unless_cut(conversation.read())) is not None:
                            call.stir()
                            stream, data = piece
                            yield pb.ShellResponse(output=pb.ShellOutput(stream=STREAMS[stream], data=data))
                        ended.exit_code = record["exit_code"] = await call.unless_cut(conversation.exit_code())
                    except ProcessHostError:
                        ended.cut = record["cut"] = "what it ran under has ended"
                    except (ShellEndedError, UnreachableError) as error:
                        ended.cut = record["cut"] = error.message
                    call.is_over = True
                    yield pb.ShellResponse(ended=ended)
                    # A caller who is writing when his call ends is not told how it has ended: so he ends it.
                    await asyncio.wait([hearing], timeout=LEAVING_SECONDS)
        except StartError as error:
            record["exit_code"] = error.exit_code
            yield pb.ShellResponse(ended=pb.ShellEnded(exit_code=error.exit_code, error=error.message))


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked for: an attempt, 0 for the last one, at a task of the group that the engine knows by the id `group`, and others as
    `known_as`. `caller` comes with the rules that hold for it, `on_behalf_of` is the person who asks; `hops` are the runners that it came by."""

    group: str
    known_as: str
    attempt: int
    caller: Caller
    may_reveal: bool
    on_behalf_of: str
    hops: tuple[str, ...] = ()


class _Call:
    """One call, that may have to end whatever it waits for: its caller may take nothing."""

    def __init__(self, context: Context, idle_seconds: float) -> None:
        self.over = asyncio.Event()
        self.is_over = False
        """Its caller is about to be told so."""
        self._context = context
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._stirred = self._loop.time()
        task = asyncio.current_task()
        assert task is not None, "a call has a task"
        self._task = task
        self._timer: asyncio.TimerHandle | None = None
        self._cutting: asyncio.Task[None] | None = None
        self._why: asyncio.Future[str] = self._loop.create_future()

    async def unless_cut(self, waiting: Coroutine[Any, Any, T]) -> T:
        """What is waited for. Raises ShellEndedError, which says why the call was cut."""
        task = self._loop.create_task(waiting)
        either: list[asyncio.Future[Any]] = [task, self._why]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self._why.done() and not task.done():
                raise ShellEndedError(self._why.result())
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def stir(self) -> None:
        """Something was said."""
        self._stirred = self._loop.time()

    @contextmanager
    def ended(self) -> Iterator[None]:
        """While this is entered it may be cut."""
        self._look()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def cut(self, why: str) -> None:
        """End it, and say why."""
        if not self._why.done() and not self.over.is_set():
            self._why.set_result(why)
            self._cutting = self._loop.create_task(self._cut(why))  # owned by this call until it is over

    async def _cut(self, why: str) -> None:
        """Who does not take what he is told loses the call: a cancellation alone would tell him nothing at all."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TELLING_SECONDS):
                await self.over.wait()
                return
        with suppress(
            TimeoutError, grpc.aio.AbortError, grpc.aio.BaseError, grpc.aio.InternalError, grpc.aio.UsageError
        ):
            async with asyncio.timeout(TELLING_SECONDS):  # nor is that taken by one who stands still
                await abort(self._context, ShellEndedError(f"the shell was ended: {why}"))
        if not self.over.is_set():
            self._task.cancel()

    def _look(self) -> None:
        if not self._idle_seconds:
            return
        left = self._stirred + self._idle_seconds - self._loop.time()
        if left <= 0:
            self.cut(f"nothing was said for {self._idle_seconds:g} s (`limits.shell_idle`)")
        else:
            self._timer = self._loop.call_later(max(left, LEAST_LOOK_SECONDS), self._look)


@asynccontextmanager
async def _heard(
    requests: AsyncIterator[pb.ShellRequest], conversation: Conversation, call: _Call
) -> AsyncIterator[asyncio.Task[None]]:
    """While this is entered what the caller says is passed on, by the task that this gives. When he says no more, or nonsense, the call is cut."""

    async def hear() -> None:
        try:
            async for request in requests:
                call.stir()
                await _pass_on(request, conversation)
            if not call.is_over:
                call.cut("its caller has left")
        except UsageError as error:
            call.cut(error.message)
        except Exception:  # noqa: BLE001 (gRPC has several for a caller who is gone)
            call.cut("its caller is gone")

    hearing = asyncio.get_running_loop().create_task(hear())
    try:
        yield hearing
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])


async def _pass_on(request: pb.ShellRequest, conversation: Conversation) -> None:
    """Raises UsageError."""
    kind = request.WhichOneof("request")
    if kind == "input":
        if len(request.input) > PIECE_BYTES:
            raise UsageError(f"at most {PIECE_BYTES:,} bytes may be typed at once")
        await conversation.write(request.input)
    elif kind == "size":
        await conversation.resize(_size(request.size))
    elif kind == "input_end":
        await conversation.end_input()
    else:
        raise UsageError("a shell is not begun twice")


def _request(start: pb.ShellStart) -> ShellRequest:
    """Raises UsageError."""
    command = tuple(start.command)
    if len(command) > MOST_WORDS or sum(len(word.encode()) for word in command) > MOST_COMMAND_BYTES:
        raise UsageError(f"a command has {MOST_WORDS:,} words and {MOST_COMMAND_BYTES:,} bytes at most")
    if any("\0" in word for word in command) or (command and not command[0]):
        raise UsageError("a command names a program, and has no NUL in it")
    return ShellRequest(
        task=start.task,
        attempt=start.attempt,
        command=command,
        secrets=start.secrets,
        size=_size(start.size) if start.HasField("size") else None,
        term=start.term,
    )


def _size(size: pb.TerminalSize) -> Size:
    """Raises UsageError."""
    if not (1 <= size.rows <= LARGEST_MEASURE and 1 <= size.columns <= LARGEST_MEASURE):
        raise UsageError(f"a terminal has 1 to {LARGEST_MEASURE:,} rows and columns")
    return Size(size.rows, size.columns)


@contextmanager
def _recorded(place: ShellPlace, request: ShellRequest, asked: Asked) -> Iterator[dict[str, Any]]:
    """That there was a shell is on record; how it ended may be put into what this gives."""
    about: dict[str, Any] = {"caller": asked.caller.name, "on_behalf_of": asked.on_behalf_of, "group_id": place.group}
    about |= {"task": request.task, "attempt": place.attempt, "secrets": request.secrets, "runner": place.runner}
    _log.info("a shell is opened", extra={"action": "shell_opened", **about})
    ended: dict[str, Any] = {"exit_code": None}
    began = asyncio.get_running_loop().time()
    try:
        yield ended
    except RunnerError as error:  # there was none
        ended["refused"] = error.message
        raise
    finally:
        seconds = round(asyncio.get_running_loop().time() - began, 3)
        _log.info("a shell has ended", extra={"action": "shell_ended", **about, **ended, "seconds": seconds})
