"""All kept runs of a state directory, asked as a node is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from runner import removal, visits
from runner.engine import again, places
from runner.engine.again import Again
from runner.errors import GroupInUseError, GroupNotFoundError, RunnerError, UsageError
from runner.model.dispatch import DECISIONS
from runner.model.ends import Ends
from runner.model.explanation import Explanation
from runner.model.log import Frame, Stream
from runner.model.query import GroupFilter
from runner.model.result import Status, TaskGroupResult, Waiting
from runner.model.shell import ShellPlace
from runner.model.summary import GroupSummary
from runner.model.watch import Happening, LogChunk
from runner.runs import decisions
from runner.runs.decisions import Decision
from runner.runs.run import Run
from runner.runs.source import Source
from runner.sealing import Sealer
from runner.store import retirement

LOOK_SECONDS = 0.05
"""How often it is looked for what another process has written."""

CANCELS, CLOSING_CANCELS = 1, 2
"""The second one ends clean-up too. A third would make the runner leave, with its state as it is."""

_log = logging.getLogger(__name__)


class Runs:
    """Implements runner.cli.groups.Groups. Runs may begin, end and go meanwhile."""

    def __init__(self, folder: Path, key_file: Path) -> None:
        """`folder` holds a folder for each run. The key is needed for confidential values alone."""
        self._folder = folder
        self._key_file = key_file

    async def list(self, filter: GroupFilter = GroupFilter()) -> AsyncIterator[GroupSummary]:  # noqa: B008 - it is frozen
        summaries = []
        for run in self._all():
            with suppress(GroupNotFoundError):  # it goes at this very moment
                summaries.append(run.summary())
        for summary in sorted(summaries, key=lambda summary: summary.accepted_at, reverse=True):
            if _fits(summary, filter):
                yield summary

    async def summary(self, id: str) -> GroupSummary:
        with self._opened(id) as run:
            return run.summary(counts=True)

    async def result(self, id: str, *, reveal: bool = False, limit: int = 0) -> TaskGroupResult:
        """Confidential outputs are in it in any case: whoever can read this has the key."""
        del reveal
        with self._opened(id) as run:
            result = run.result()
        return replace(result, results=dict(islice(result.results.items(), limit))) if limit else result

    async def explain(self, id: str, task: str | None = None) -> Explanation:
        with self._opened(id) as run:
            return run.explained(task)

    def again(self, id: str, new_id: str, beginning: Collection[str]) -> Again:
        """As `runner.engine.again.prepare`, of a run that is over. Raises GroupNotFoundError, UsageError."""
        with self._opened(id) as run:
            record = run.record()
            if not record.group.status.terminal and not run.is_held:
                raise UsageError(
                    f"the run {id} was killed before its end: `runner run --id {id}` with the same file takes it up again"
                )
        return again.prepare(record, self._sealer(), new_id, new_id, beginning)

    def workspace_of(self, id: str) -> str:
        """Where the tasks of the run worked. Raises GroupNotFoundError."""
        with self._opened(id) as run:
            return run.workspace

    def place(self, id: str, task: str, attempt: int = 0) -> ShellPlace:
        """As `runner.engine.places.place_of`."""
        with self._opened(id) as run:
            record = run.record()
        return places.place_of(record, self._sealer(), task, attempt)

    async def watch_in_batches(self, id: str, *, output: bool = True) -> AsyncIterator[Sequence[Happening]]:
        """Its story so far, and as it goes on while a process carries it out."""
        with self._opened(id) as run:
            story = run.story(output=output)
            while not story.over:
                is_held = run.is_held
                story.grew_all()
                while happenings := story.take():
                    yield happenings
                if not is_held:
                    while happenings := story.take_rest():
                        yield happenings
                    return
                if not story.over:
                    await asyncio.sleep(LOOK_SECONDS)

    async def events(self, id: str, *, follow: bool = False) -> AsyncIterator[Sequence[Happening]]:
        if follow:
            async for happenings in self.watch_in_batches(id, output=False):
                yield happenings
            return
        with self._opened(id) as run:
            story = run.story(output=False)
            while happenings := story.take():
                yield happenings

    async def logs(
        self,
        id: str,
        task: str,
        *,
        attempt: int = 0,
        stream: Stream | None = None,
        offset: int = 0,
        follow: bool = False,
    ) -> AsyncIterator[LogChunk]:
        with self._opened(id) as run:
            wanted = run.attempt(task, attempt, ahead=follow)
            position = run.place(wanted, stream, offset) if stream is not None and offset else 0
            ends = Ends(stream, offset, position)
            while True:
                is_over = not run.is_held or run.is_over(wanted)  # asked first: what it wrote last is seen
                while frames := run.frames(wanted, position):
                    position = frames[-1].position
                    for frame in frames:
                        if (piece := _cut(frame, stream, offset)) is not None:
                            yield LogChunk(task=task, attempt=wanted.attempt, frame=piece)
                            ends.take([piece])
                if is_over or not follow:
                    for piece in ends.lost(run.gaps(wanted)):
                        yield LogChunk(task=task, attempt=wanted.attempt, frame=piece)
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def cancel(self, id: str, *, at_once: bool = False) -> Status:
        """As Ctrl-C in the terminal of the run, or with `at_once` twice. Raises UsageError where nobody carries it out."""
        wanted = CLOSING_CANCELS if at_once else CANCELS
        with self._opened(id) as run:
            heard = -1
            while (cancels := run.cancels) < wanted and not run.summary().status.terminal:
                # Once more only when the last one was heard: signals that meet are one.
                is_held = run.interrupt() if cancels > heard else run.is_held
                if not is_held and not run.summary().status.terminal:
                    raise UsageError(
                        f"nothing carries the run {id} out: its runner is gone, and what it ran has been ended with it; "
                        f"`runner run --id {id}` with the same file takes it up again"
                    )
                heard = cancels
                await asyncio.sleep(LOOK_SECONDS)
            return run.summary().status

    async def remove(self, id: str) -> None:
        """All that `runner run` has kept of it, also of one whose runner was killed. Raises GroupInUseError for one that runs."""
        with self._opened(id):
            pass  # there is such a run
        if not await asyncio.to_thread(visits.end, self._folder / id):
            raise GroupInUseError("somebody looks at it by `runner shell`, which does not end")
        if not retirement.retire(self._folder / id, removal.aside(self._folder), unfinished=True):
            raise GroupInUseError(f"it runs at this moment: `runner cancel {id}` ends it")
        await asyncio.to_thread(removal.remove_aside, self._folder)

    async def signal(self, id: str, task: str, signal: str) -> bool:
        with self._opened(id) as run:
            waiting = run.task(task).waiting
            if signal in DECISIONS:
                return waiting is Waiting.DECISION and await self._decided(run, Decision(task=task, decision=signal))
        raise UsageError(
            f"the tasks of `runner run` take no signals from outside ({signal}); a node's do: start one with `runner serve`"
        )

    async def _decided(self, run: Run, decision: Decision) -> bool:
        """Once the process that carries it out has heard of it; False where somebody else was quicker. Raises UsageError where there is none."""
        left = decisions.leave(self._folder / run.id, decision)
        while left.exists():
            is_held, waiting = run.is_held, run.task(decision.task).waiting
            if waiting is not Waiting.DECISION and left.exists():
                left.unlink(missing_ok=True)
                return False
            if not is_held:
                left.unlink(missing_ok=True)
                raise UsageError(
                    f"nothing carries the run {run.id} out: `runner run --id {run.id}` with the same file takes it up again"
                )
            await asyncio.sleep(LOOK_SECONDS)
        return True

    @contextmanager
    def _opened(self, id: str) -> Iterator[Run]:
        folder = self._folder / id
        if "/" in id or id.startswith(".") or not folder.is_dir():
            raise GroupNotFoundError(f"there is no run {id!r} in {self._folder}; `runner ls` shows those that are kept")
        run = Run(folder, self._sealer())
        try:
            yield run
        finally:
            run.close()

    def _all(self) -> Iterator[Run]:
        sealer = self._sealer()
        try:
            names = sorted(entry.name for entry in self._folder.iterdir() if not entry.name.startswith("."))
        except FileNotFoundError:
            return
        for name in names:
            try:
                run = Run(self._folder / name, sealer)
            except GroupNotFoundError:
                continue  # nothing of ours, or just made, or just removed
            except RunnerError as error:
                _log.warning("%s", error.message, extra={"action": "run_unreadable"})
                continue
            try:
                yield run
            finally:
                run.close()

    def source(self, id: str) -> Source | None:
        """The file that a run was of; None where nothing is known of it."""
        return Source.kept_in(self._folder / id)

    def changed(self, source: Source) -> str | None:
        """How a person here names the file, if it says something else by now."""
        return source.changed(self._sealer())

    def _sealer(self) -> Sealer:
        # A key that is made here would open nothing.
        return Sealer.open_or_create(self._key_file) if self._key_file.exists() else Sealer.ephemeral()


def _cut(frame: Frame, stream: Stream | None, offset: int) -> Frame | None:
    """What of the frame belongs to the stream, from `offset` on."""
    if stream is None:
        return frame
    skipped = max(0, offset - frame.offset)
    if frame.stream != stream or skipped >= len(frame.data):
        return None
    return replace(frame, offset=frame.offset + skipped, data=frame.data[skipped:]) if skipped else frame


def _fits(summary: GroupSummary, filter: GroupFilter) -> bool:
    return (
        (not filter.statuses or summary.status in filter.statuses)
        and all(
            name in summary.labels and (not value or summary.labels[name] == value)
            for name, value in filter.labels.items()
        )
        and (filter.accepted_from is None or summary.accepted_at >= filter.accepted_from)
        and (filter.accepted_before is None or summary.accepted_at < filter.accepted_before)
        and (not filter.caller or summary.caller == filter.caller)
    )
