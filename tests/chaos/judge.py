"""Looks at what is left once all is over: rows, events, logs, outputs, processes, files, descriptors; every byte of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import asdict

from runner.engine.results import group_result
from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model import codec
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.log import STREAMS, Frame, LogGap, Stream
from runner.model.result import Outcome, Status
from runner.process import remains
from runner.process.channel import EndedError
from runner.process.host import SupervisorHost
from runner.process.supervisor import processes, wire
from runner.sealing import Sealer
from runner.store.base import AttemptRow, GroupRecord
from runner.store.sqlite import SqliteStore
from tests import hostile
from tests.chaos import comparison
from tests.chaos.life import settings_of
from tests.chaos.scene import ASKED, EXPORTED, LOST, SECRETS, Actor, Group, Scene, Try

LONGEST_LOG_BYTES = 1 << 30
MANY = 1_000_000
_FILES = {"state.db", "state.db.lock", "key", "supervisor.log", wire.LOCK_NAME, wire.SOCKET_NAME}
_END_SECONDS = 10.0


class Judge:
    """`tell` prints the faults, a line each; for a process of its own."""

    _caller = ""
    """Who has submitted the groups."""

    def __init__(self, scene: Scene, state: Path, outside: Path, descriptors: int, supervisors: Path) -> None:
        """`descriptors` are how many a supervisor has that does nothing; `supervisors` the file with the arguments of all, where
        some were to be killed."""
        self._scene = scene
        self._state = state
        self._outside = outside
        self._descriptors = descriptors
        self._lost = scene.lost
        started = outside / "started"
        self._started = Counter(started.read_text().splitlines() if started.exists() else [])
        arguments = supervisors.read_text() if supervisors.exists() else ""
        self._incarnations = set(re.findall(r"\b[0-9a-f]{32}\b", arguments))

    def tell(self) -> None:
        settings = settings_of(self._state)
        sealer = Sealer.open_or_create(settings.key_file)
        store = SqliteStore.open(self._state / "state.db", call_soon_threadsafe=lambda callback: None)
        logs = FileLogStore(self._state / "logs", sealer=sealer)
        try:
            for fault in self._kept(store, logs, sealer):
                print(fault)
        finally:
            logs.close()
            store.close()
        for fault in [*self._processes(), *self._supervisor(), *self._files(settings.temp_dir(self._state))]:
            print(fault)

    def _kept(self, store: SqliteStore, logs: FileLogStore, sealer: Sealer) -> Iterator[str]:
        """Whether rows, events and logs are what they should be."""
        for group in self._scene.groups:
            id = store.find(self._caller, group.id)
            record = None if id is None else store.group(id)
            if id is None or record is None:
                yield f"{group.id}: it is not there"
                continue
            result = group_result(record, sealer)
            outputs = {
                name: {key: value.text for key, value in task.outputs.items()} for name, task in result.results.items()
            }
            events = store.events(id, 0, MANY)
            for fault in self._group(group, record, events, outputs, logs):
                yield f"{group.id}: {fault}"

    # A group.

    def _group(
        self,
        group: Group,
        record: GroupRecord,
        events: Sequence[Event],
        outputs: Mapping[str, Mapping[str, str]],
        logs: FileLogStore,
    ) -> Iterator[str]:
        wanted = "aborted" if group.cancelled else "success"
        if record.group.status.value != wanted and not self._lost:
            yield f"it is {record.group.status.value}"
        if [event.number for event in events] != list(range(1, len(events) + 1)):
            yield f"its events are numbered {[event.number for event in events]}"
        rows = {row.name: row for row in record.tasks}
        for actor in group.actors:
            attempts = [row for row in record.attempts if row.task == actor.name]
            self._incarnations |= {row.instance.partition("/")[2] for row in attempts}
            if actor.name not in rows:
                yield f"{actor.name}: it has no row"
                continue
            told = [event for event in events if event.task == actor.name]
            yield from (f"{actor.name}: {fault}" for fault in self._task(actor, attempts, told, logs))
            if not self._lost and outputs[actor.name] != actor.outputs:
                yield f"{actor.name}: its outputs are {outputs[actor.name]}"
            row, ends = rows[actor.name], [event for event in told if event.kind is Kind.TASK_FINISHED]
            if row.attempt != len(attempts):
                yield f"{actor.name}: its row tells of {row.attempt} attempts, there are {len(attempts)}"
            if row.status is Status.SKIPPED:
                if not self._lost:
                    yield f"{actor.name}: it was skipped"
            else:
                last = attempts[-1]
                if last.outcome is None or (row.status.value, row.exit_code, row.signal, row.reason) != _end_of(last):
                    yield f"{actor.name}: its row says {row}, its last attempt {last}"
                if [event.fields["status"] for event in ends] != [row.status.value]:
                    yield f"{actor.name}: its events tell of its end {[event.fields for event in ends]}"
        counts = Counter(event.kind for event in events)
        for kind in (Kind.GROUP_ACCEPTED, Kind.GROUP_STARTED, Kind.GROUP_FINISHED):
            if counts[kind] != 1:
                yield f"{counts[kind]} × {kind}"
        if counts[Kind.LATE_RESULT]:
            yield "a result came late"
        if group.cancelled and counts[Kind.CANCEL_REQUESTED] not in ((0, 1, 2) if self._lost else (1, 2)):
            yield f"{counts[Kind.CANCEL_REQUESTED]} × {Kind.CANCEL_REQUESTED}"

    def _task(
        self, actor: Actor, attempts: Sequence[AttemptRow], events: Sequence[Event], logs: FileLogStore
    ) -> Iterator[str]:
        due = _due(actor, attempts)
        if len(attempts) != due and (attempts or not self._lost):
            yield f"{len(attempts)} attempts, {due} were due"
        for number, row in enumerate(attempts, start=1):
            one = actor.tries[min(number, len(actor.tries)) - 1]
            said = [event for event in events if event.attempt == number]
            yield from (f"attempt {number}: {fault}" for fault in self._attempt(actor, one, row, said, logs))

    def _attempt(
        self, actor: Actor, one: Try, row: AttemptRow, events: Sequence[Event], logs: FileLogStore
    ) -> Iterator[str]:
        starts = self._started[f"{row.task} {row.attempt}"]
        outcome = _outcome(row)
        lost = self._lost and outcome is not None and _is_lost(outcome)
        counts = Counter(event.kind for event in events)
        if starts not in ((0, 1) if lost or (one.cut and not self._marked(row, "ready")) else (int(one.starts),)):
            yield f"it was started {starts} times"
        if counts[Kind.TASK_DISPATCHED] != 1:
            yield f"{counts[Kind.TASK_DISPATCHED]} × {Kind.TASK_DISPATCHED}"
        if counts[Kind.TASK_STARTED] not in ((0, 1) if lost else (1,)):
            yield f"{counts[Kind.TASK_STARTED]} × {Kind.TASK_STARTED}"
        if counts[Kind.TASK_FINISHED] + counts[Kind.TASK_RETRYING] != 1:
            yield f"{counts[Kind.TASK_FINISHED]} ends and {counts[Kind.TASK_RETRYING]} retries"
        if not lost:
            wanted = (one.status, one.exit_code, one.signal, one.reason)
            told = _end_of(row)
            if told != wanted:
                yield f"it ended as {told} with {outcome}, not as {wanted}"
            if actor.leftovers and (outcome is None or not outcome.kill or not outcome.kill["leftovers"]):
                yield f"what it left was not counted: {outcome}"
        id = AttemptId(row.group, row.task, row.attempt)
        yield from _notices(actor, one, outcome, events, logs, id, lost=lost)
        gaps = {gap.stream: gap for gap in logs.gaps(id)}
        if bool(gaps) is not actor.shortened and not lost:
            yield f"what is not kept of its log: {gaps}"
        everything = {stream: kept(logs, id, stream, gaps.get(stream)) for stream in STREAMS}
        asked = any(b"::add-mask::***" in shown for shown in everything.values())
        for stream, shown in everything.items():
            gap = gaps.get(stream)
            due = one.shown[stream]
            if gap is not None:
                due = due[: gap.offset] + due[gap.offset + gap.bytes :]
            # Frames are another way to the same bytes, and tell where each of them begins.
            if b"".join(frame.data for frame in frames(logs, id) if frame.stream == stream) != shown:
                yield f"{stream}: its frames say something else than a read"
            partly = lost or (one.cut and not self._marked(row, "ready"))
            fault = comparison.difference(shown, due, partly)
            if fault is not None and lost:
                fault = comparison.difference(comparison.as_if_known(shown, asked), due, partly)
            if fault is not None:
                yield f"{stream}: {fault}"

    def _marked(self, row: AttemptRow, name: str) -> bool:
        return (self._outside / f"{row.task}.{row.attempt}.{name}").exists()

    # What is left.

    def _processes(self) -> Iterator[str]:
        for incarnation in self._incarnations:
            for described in hostile.alive(incarnation):
                yield f"alive: {described}"
            remains.end(incarnation)  # it has been told, and nobody else will

    def _supervisor(self) -> Iterator[str]:
        """The one that is there, or another: it remembers nothing, and has no more descriptors than a new one."""
        keys, descriptors, pid = asyncio.run(_looked(self._state))
        for room in (room for incarnation in self._incarnations for room in hostile.rooms(incarnation)):
            if f"-{pid}." not in room:
                yield f"{room} was left"
        if keys:
            yield f"the supervisor keeps {keys}"
        if len(descriptors) != self._descriptors:
            yield f"the supervisor has {len(descriptors)} descriptors, a new one {self._descriptors}: {descriptors}"

    def _files(self, temp: Path) -> Iterator[str]:
        if temp.exists() and any(temp.iterdir()):
            yield f"{temp} still holds {sorted(path.name for path in temp.iterdir())}"
        needles = {secret: list(comparison.spellings(secret.encode())) for secret in SECRETS}
        for path in sorted(self._state.rglob("*")):
            where = path.relative_to(self._state)
            if not path.is_file():
                continue
            if not self._is_known(where):
                yield f"{where} was left"
            data = path.read_bytes()
            found = {secret for secret, spellings in needles.items() if any(text in data for text in spellings)}
            if self._lost and where.parts[0] == "logs":
                found -= {EXPORTED, ASKED}  # the logs were compared
            if found:
                yield f"{where} holds {found}"

    def _is_known(self, where: Path) -> bool:
        """Whether the state may hold this file once all is over."""
        if where.parts[0] == "logs":
            return where.suffix == ".log"
        if where.parts[0] == "supervisor":
            return "." not in where.parts[1] or where.parts[1] == ".lock"
        return str(where) in _FILES


def usual_descriptors(folder: Path) -> int:
    """How many descriptors a supervisor has that has done nothing yet."""
    _, descriptors, pid = asyncio.run(_looked(folder))
    _end(pid)
    return len(descriptors)


def end_supervisor(state: Path) -> None:
    """End the one that serves `state`, if there is one, and wait for that."""
    if (state / wire.SOCKET_NAME).exists():
        _end(asyncio.run(_looked(state))[2])


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + _END_SECONDS
    while processes.read(pid) is not None:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


async def _looked(state: Path) -> tuple[Sequence[str], Sequence[str], int]:
    """What the supervisor of `state` remembers, its descriptors, its number. One that is killed at that is no fault."""
    while True:
        try:
            containment = settings_of(state).containment
            async with await SupervisorHost.connect(state, idle_seconds=0.0, containment=containment) as host:
                await host.list()  # it may have more to do for a new runner than to greet it
                descriptors = _descriptors(host.pid)
                return await host.list(), descriptors, host.pid  # it was alive behind the look at what it has
        except EndedError:
            continue


_NOTICES = frozenset(
    {
        Kind.TASK_EXPORT,
        Kind.TASK_PAUSED,
        Kind.TASK_RESUMED,
        Kind.KILL_REPORT,
        Kind.MASK_SKIPPED,
        Kind.LOG_REDACTED,
        Kind.LOG_GAP,
    }
)


def _notices(
    actor: Actor,
    one: Try,
    outcome: Outcome | None,
    events: Sequence[Event],
    logs: FileLogStore,
    id: AttemptId,
    *,
    lost: bool,
) -> Iterator[str]:
    """Each is told once, though runners are killed between what happened, the telling of it and its record."""
    due = [(Kind.MASK_SKIPPED, {"name": "inputs.pin"})]
    if outcome is not None and outcome.kill is not None:
        due.append((Kind.KILL_REPORT, dict(outcome.kill)))
    # With nothing more to mask, the log tells what was masked in it afterwards.
    due += [(Kind.LOG_REDACTED, asdict(redaction)) for redaction in logs.redact(id, Masker())]
    due += [(Kind.LOG_GAP, asdict(gap)) for gap in logs.gaps(id)]
    due += [(kind, {}) for kind in (Kind.TASK_PAUSED, Kind.TASK_RESUMED) if one.paused]
    maybe: list[tuple[Kind, Mapping[str, object]]] = [(Kind.MASK_SKIPPED, {"name": name}) for name in one.unmasked]
    if outcome is not None and outcome.status is Status.SUCCESS:
        maybe += [
            (Kind.TASK_EXPORT, {"name": export["name"], "confidential": export.get("confidential", False)})
            for export in actor.more.get("exports", ())
        ]
    told = Counter(_spelt(event.kind, event.fields) for event in events if event.kind in _NOTICES)
    wanted = Counter(_spelt(*notice) for notice in due)
    possible = wanted + Counter(_spelt(*notice) for notice in maybe)
    if told - possible:
        yield f"its events tell what did not happen, or twice: {dict(told - possible)}"
    if (wanted if lost else possible) - told:
        yield f"its events do not tell {dict((wanted if lost else possible) - told)}"


def _spelt(kind: Kind, fields: Mapping[str, object]) -> str:
    return f"{kind} {json.dumps(fields, sort_keys=True)}"


def kept(logs: FileLogStore, id: AttemptId, stream: Stream, gap: LogGap | None) -> bytes:
    """All that can be read of a stream."""
    if gap is None:
        return logs.read(id, stream, 0, LONGEST_LOG_BYTES)
    head = logs.read(id, stream, 0, gap.offset) if gap.offset else b""
    return head + logs.read(id, stream, gap.offset + gap.bytes, LONGEST_LOG_BYTES)


def _outcome(row: AttemptRow) -> Outcome | None:
    return None if row.outcome is None else codec.decode_outcome(row.outcome)


def _end_of(row: AttemptRow) -> tuple[str, int | None, int | None, str | None]:
    outcome = _outcome(row)
    if outcome is None:
        return (row.status.value, None, None, None)
    return (outcome.status.value, outcome.exit_code, outcome.signal, outcome.reason)


def frames(logs: FileLogStore, id: AttemptId) -> Iterator[Frame]:
    position = 0
    while frames := logs.frames(id, position):
        yield from frames
        position = frames[-1].position


def _is_lost(outcome: Outcome) -> bool:
    """Its supervisor was killed while it ran, or while it was stopped: nobody can know its exit code."""
    return outcome.reason == LOST or (outcome.status is Status.ABORTED and outcome.exit_code is None)


def _due(actor: Actor, attempts: Sequence[AttemptRow]) -> int:
    """How many attempts there should be, by how each of them ended."""
    most, followed = actor.retries
    for number, row in enumerate(attempts, start=1):
        status, _, _, reason = _end_of(row)
        if number == most or not (reason in followed if reason == LOST else status in followed):
            return number
    return len(attempts) + 1


def _descriptors(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(f"{name} {os.readlink(f'/proc/{pid}/fd/{name}')}")
        except OSError:
            continue
    return sorted(found)
