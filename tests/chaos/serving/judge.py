"""Looks at what is left of a node once all is over, and compares it with what its callers were told."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.engine.results import group_result
from runner.logs.files import FileLogStore
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.result import Status
from runner.sealing import Sealer
from runner.store.base import GroupRecord
from runner.store.sqlite import SqliteStore
from tests.chaos.judge import MANY, Judge, frames
from tests.chaos.scene import Group
from tests.chaos.serving.cast import ADA, Cast
from tests.chaos.serving.diary import Diary

_STARTS = Kind.TASK_STARTED.value
_ENDS = (Kind.TASK_FINISHED.value, Kind.TASK_RETRYING.value)


class ServedJudge(Judge):
    _caller = ADA

    def __init__(self, cast: Cast, state: Path, outside: Path, descriptors: int, supervisors: Path) -> None:
        super().__init__(cast.scene, state, outside, descriptors, supervisors)
        self._ids: dict[str, str] = {}
        """Under which the node knows the groups."""
        self._cast = cast
        self._diary = Diary(outside)

    def _kept(self, store: SqliteStore, logs: FileLogStore, sealer: Sealer) -> Iterator[str]:
        yield from super()._kept(store, logs, sealer)
        yield from self._diary.faults()
        self._ids = {group.id: store.find(ADA, group.id) or "" for group in self._cast.groups}
        records = {group: store.group(id) for group, id in self._ids.items()}
        for group in self._cast.groups:
            record = records[group.id]
            if record is None:
                continue  # it was told, or is one of the doomed
            events = store.events(self._ids[group.id], 0, MANY)
            found = [*self._answers(group, record, events), *self._result(group, record, sealer)]
            if group in self._cast.doomed:
                found += self._doomed(group, record, events)
            yield from (f"{group.id}: {fault}" for fault in found)
        for missing in [group.id for group in self._cast.doomed if records[group.id] is None]:
            yield f"{missing}: it is not there"
        yield from self._listed(store)
        if (log := self._state / "runner.log").exists() and not self._lost:
            yield f"something went wrong inside the node: {log.read_text()}"
        yield from self._seen(store, logs)

    def _is_known(self, where: Path) -> bool:
        if where.parts[0] == "tokens" or str(where) == "node" or (self._lost and str(where) == "runner.log"):
            return True
        return self._is_left(where) or super()._is_known(where)

    def _is_left(self, where: Path) -> bool:
        """An upload of which nobody was told is kept for an hour."""
        if where.parts[:2] != ("workspaces", ".uploads") or where.parts[2].endswith(".part"):
            return False
        told = self._diary.has("uploaded")
        return told is None or where.parts[2].partition(".")[0] != told["id"]

    # What callers were told.

    def _answers(self, group: Group, record: GroupRecord, events: Sequence[Event]) -> Iterator[str]:
        """Whether each acknowledgement was true."""
        row, counts = record.group, Counter(event.kind for event in events)
        if row.caller != ADA:
            yield f"it belongs to {row.caller!r}"
        accepted = [entry for entry in self._diary.every("accepted") if entry["group"] == group.id]
        if any(entry["as_id"] != group.id for entry in accepted):
            yield f"it was accepted as something else: {accepted}"
        if sum(not entry["existed"] for entry in accepted) > 1:
            yield f"it was accepted anew twice: {accepted}"
        for what, most in (("cancelled", 1), ("cancelled at once", 2)):
            told = self._diary.has(what, group.id)
            if told is None or Status(told["status"]).terminal:
                continue
            if row.status is not Status.ABORTED or not counts[Kind.CANCEL_REQUESTED] or row.abort_count < most:
                yield f"{what} was acknowledged at {told['status']}; it is {row.status.value}, cancelled {row.abort_count} times"
        if self._diary.has("paused", group.id) and not counts[Kind.TASK_PAUSED] and not self._lost:
            yield "a pause was acknowledged, and is not told of"

    def _result(self, group: Group, record: GroupRecord, sealer: Sealer) -> Iterator[str]:
        told, wanted = self._diary.has("result", group.id), group_result(record, sealer).as_json()
        if told is None or told["result"] != wanted:
            yield f"its result was told as {told}, it is {wanted}"

    def _listed(self, store: SqliteStore) -> Iterator[str]:
        told = self._diary.has("listed")
        wanted = [[row.public_id, row.status.value] for row in store.groups().rows]
        if told is None or told["groups"] != wanted:
            yield f"the groups were listed as {told}, they are {wanted}"

    def _doomed(self, group: Group, record: GroupRecord, events: Sequence[Event]) -> Iterator[str]:
        """Nothing but clean-up begins once it is cancelled, and that unless it is to end at once; nothing begins twice."""
        asked = [event.number for event in events if event.kind is Kind.CANCEL_REQUESTED]
        status = record.group.status
        if status is not (Status.ABORTED if asked else Status.SUCCESS) and not self._lost:
            yield f"it is {status.value}"
        for event in events:
            if event.kind is Kind.TASK_DISPATCHED and asked and event.number > asked[0]:
                clean_up = group.tasks[event.task or ""].more.get("when") == "always"
                if not clean_up or event.number > (asked[1] if len(asked) > 1 else MANY):
                    yield f"{event.task} began after it was cancelled"
        for row in record.attempts:
            if not row.status.terminal:
                yield f"{row.task}: attempt {row.attempt} is {row.status.value}"
            if self._started[f"{row.task} {row.attempt}"] > 1:
                yield f"{row.task}: attempt {row.attempt} was started twice"
        if not status.terminal or any(not row.status.terminal for row in record.tasks):
            yield f"it is not over: {record.tasks}"

    # What watchers saw.

    def _seen(self, store: SqliteStore, logs: FileLogStore) -> Iterator[str]:
        whole = set()
        for head, *told in self._diary.sightings():
            over = bool(told) and "over" in told[-1]
            seen = told[:-1] if over else told
            id = str(head.get("watch") or head["follow"])
            there = self._ids[id]
            if "watch" in head:
                faults = self._watched(head, seen, store.events(there, 0, MANY), logs, over=over)
                whole |= {id} if over and head["output"] and not head["tasks"] else set()
            else:
                faults = self._attempt_seen(AttemptId(there, str(head["task"]), 1), seen, logs, over=over)
            yield from (f"{head}: {fault}" for fault in faults)
        for group in self._cast.groups:
            if group.id not in whole:
                yield f"{group.id}: nobody saw all of it"

    def _watched(
        self,
        head: Mapping[str, Any],
        seen: Sequence[Mapping[str, Any]],
        events: Sequence[Event],
        logs: FileLogStore,
        *,
        over: bool,
    ) -> Iterator[str]:
        tasks = head["tasks"]
        due = [
            [event.number, event.kind.value, event.task, event.attempt]
            for event in events
            if not tasks or event.task is None or event.task in tasks
        ]
        told = [[one["event"], one["kind"], one["task"], one["attempt"]] for one in seen if "event" in one]
        if told != (due if over else due[: len(told)]):
            yield f"it was told {told}, due was {due}"
        pieces: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        begun: set[tuple[str, int]] = set()
        ended: set[tuple[str, int]] = set()
        for one in seen:
            if "event" in one:
                key = (one["task"], one["attempt"])
                begun |= {key} if one["kind"] == _STARTS else set()
                ended |= {key} if one["kind"] in _ENDS else set()
                continue
            key = (one["log"][0], one["log"][1])
            if key not in begun or key in ended:
                yield f"output of {key} came before its beginning or behind its end"
            pieces.setdefault(key, []).append(one)
        for task, attempt in begun if head["output"] else ():
            id = AttemptId(self._ids[str(head["watch"])], task, attempt)
            whole = (task, attempt) in ended
            yield from self._attempt_seen(id, pieces.get((task, attempt), []), logs, over=whole)

    def _attempt_seen(
        self, id: AttemptId, seen: Sequence[Mapping[str, Any]], logs: FileLogStore, *, over: bool
    ) -> Iterator[str]:
        """Every frame once, in order; of what was neither masked afterwards nor given up, every byte as it is kept."""
        seen = [one for one in seen if one["data"]]  # the others tell what is missing at the end of a stream
        told = [one["position"] for one in seen]
        if told != sorted(set(told)):
            yield f"{id}: frames at {told}"
        kept = list(frames(logs, id))
        due = [frame.position for frame in kept]
        changed = bool(logs.gaps(id)) or self._is_redacted(id)
        if over and not set(due) <= set(told):
            yield f"{id}: frames at {sorted(set(due) - set(told))} were not seen"
        if changed:
            return
        wanted = [(frame.position, frame.stream, frame.offset, frame.data) for frame in kept]
        shown = [(one["position"], one["stream"], one["offset"], base64.b64decode(one["data"])) for one in seen]
        if shown != (wanted if over else wanted[: len(shown)]):
            yield f"{id}: it was shown {_short(shown)}, it is {_short(wanted)}"

    def _is_redacted(self, id: AttemptId) -> bool:
        """What it said was masked in its log when it was over, and not before."""
        group = next(group for group in self._cast.groups if self._ids[group.id] == id.group)
        steps = str([one.steps for one in group.tasks[id.task].tries])
        return id.task.startswith(("asks", "passes")) or "export" in steps


def _short(pieces: Sequence[tuple[int, str, int, bytes]]) -> str:
    return str([(position, stream, offset, len(data)) for position, stream, offset, data in pieces][:40])
