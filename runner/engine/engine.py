"""The engine: accepts groups, gives out slots, takes reports, tells watchers. A deterministic state machine over Store,
Clock and Dispatcher; killed at any commit, a new one goes on from `recover`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from msgspec.structs import replace

from runner.clock import Clock
from runner.dispatch.base import Dispatcher
from runner.engine import admission, guests, recovery, results
from runner.engine.abort import CLOSING_CANCELS
from runner.engine.abroad import Abroad
from runner.engine.admission import Acceptance, Submission, hidden_id, new_id
from runner.engine.audience import Audience
from runner.engine.facts import Live
from runner.engine.group_run import GroupRun
from runner.engine.lanes import Lanes
from runner.engine.library import Library
from runner.engine.pace import MOST_AT_ONCE, Pace
from runner.engine.roster import Living, Roster
from runner.engine.services import MAX_OUTPUT_BYTES, Services
from runner.engine.slots import SlotQueue
from runner.engine.targets import Alone, Targets
from runner.errors import GroupExistsError, GroupNotFoundError
from runner.model import trace
from runner.model.caller import LOCAL
from runner.model.dispatch import DECISIONS, AttemptId
from runner.model.event import Event
from runner.model.explanation import Explanation
from runner.model.group import TaskGroup
from runner.model.load import Load
from runner.model.peer import PeerState
from runner.model.result import Outcome, Status, TaskGroupResult
from runner.sealing import Sealer
from runner.store.base import GroupHead, GroupPage, GroupQuery, GroupRecord, Store

GRACE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Engine:
    """All groups of one runner. Used from the thread that owns the clock; nothing here blocks but the store."""

    def __init__(  # noqa: PLR0913 - its surroundings, each named
        self,
        *,
        store: Store,
        clock: Clock,
        dispatcher: Dispatcher,
        sealer: Sealer,
        max_parallel: int,
        make_id: Callable[[], str] = new_id,
        hide_id: Callable[[str, str], str] = hidden_id,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        traced: bool = False,
        most_at_once: int = MOST_AT_ONCE,
        targets: Targets | None = None,
    ) -> None:
        """`targets` are `dispatcher` and the other runners; None where there are none."""
        self._store = store
        self._clock = clock
        self._sealer = sealer
        self._make_id = make_id
        self._hide_id = hide_id
        self._audience = Audience()
        self._roster = Roster(store, clock, SlotQueue(max_parallel), self._audience)
        self._runs = self._roster.runs
        self._journal = self._roster.journal
        self._library = Library(store, sealer, self._roster.document)
        targets = targets or Alone(dispatcher)
        abroad = Abroad(clock, self._journal, most_at_once)
        self._services = Services(
            clock=clock,
            journal=self._journal,
            targets=targets,
            abroad=abroad,
            lanes=Lanes(),
            pace=Pace(clock, self._journal, most_at_once),
            sealer=sealer,
            slots=self._roster.slots,
            sink=self._roster.report,
            grace=GRACE_SECONDS,
            traced=traced,
            max_output_bytes=max_output_bytes,
        )
        targets.subscribe(abroad.changed, self._roster.forget)

    @property
    def name(self) -> str:
        """What this runner is called where it carries something out."""
        return self._services.targets.here.name

    def announce(self, wanted: Callable[[], bool], told: Callable[[], None]) -> None:
        """While `wanted()`, record with the end of each group that it has to be told (`Batch.notices`), and call `told` behind that. To be called
        before `recover`."""
        # Who has dispatched a guest here is told of its end anyway.
        self._journal.announces = lambda group: wanted() and not guests.is_guest(group)
        self._roster.on_end = told

    def recover(self) -> None:
        """Take up every unfinished group of the store. Called once, before anything else."""
        live = []
        for id in self._store.unfinished():
            record = self._store.group(id)
            assert record is not None, "the store lists only groups that it has"
            self._roster.add(recovery.restore(record, self._services))
        runs, lanes = list(self._runs.values()), self._services.lanes
        lanes.restore(run.turn for run in runs if run.entrusted is None or run.entrusted.is_here)
        for run in runs:
            live += recovery.resume(run)
        lanes.go_on()
        recovery.reconcile(self._services, live)

    def submit(
        self,
        group: TaskGroup,
        inputs: Mapping[str, str] | None = None,
        *,
        caller: str = "",
        workspace: str = "",
        traceparent: str = "",
        pause_on_failure: bool = False,
    ) -> str:
        """Accept a validated group; its id. As `accept` of what was `prepared`."""
        submission = replace(self.prepared(group, inputs), pause_on_failure=pause_on_failure)
        return self.accept(submission, caller=caller, workspace=workspace, traceparent=traceparent).id

    def prepared(self, group: TaskGroup, inputs: Mapping[str, str] | None = None, id: str = "") -> Submission:
        """All that accepting a group once takes before it changes anything; may be called from any thread. `id` is what
        `id_for` says that the group will be known under, if that can be told yet. Raises UsageError for
        inputs that are undeclared, missing or no text."""
        return admission.prepare(group, inputs or {}, self._sealer, id)

    def record_of(self, id: str) -> GroupRecord:
        """All that is recorded of a group, for `again.prepare`. Raises GroupNotFoundError."""
        record = self._store.group(id)
        if record is None:
            raise GroupNotFoundError(f"there is no group with the id {id!r}")
        return record

    def accept(
        self, submission: Submission, *, caller: str = "", workspace: str = "", traceparent: str = ""
    ) -> Acceptance:
        """On return the group is recorded (see `when_durable` for more). A `traceparent` that is none is ignored.

        A group that names an id is accepted once for each caller: the same content again gives the same id, other content raises
        GroupExistsError. What one caller calls a group another may call one of his own: then the id that is given here, under which
        the engine knows it, is not the one that it was submitted under.
        """
        group = submission.group
        known = self.known(submission, caller)
        if known is not None:
            return Acceptance(id=known, existed=True)
        public_id = group.id or self._make_id()
        id = submission.sealed_for if submission.guest else self.id_for(caller, public_id)
        row = admission.first_row(
            submission, self._sealer, self._services.lanes, id=id, public_id=public_id, caller=caller,
            now=self._clock.now(), workspace=workspace, traceparent=traceparent,
        )  # fmt: skip
        events = admission.first_events(row, submission)
        self._store.accept_group(row, events, submission.kept)
        run = GroupRun(row, group, submission.inputs, self._services, submission.plan)
        run.last_event = len(events)
        run.abortion.restore(row)
        recovery.take_over(run, submission.kept)
        self._roster.add(run)
        told = {"action": "group_accepted", "group_id": id, "caller": caller, "tasks": len(group.tasks)}
        _log.info("a group was accepted", extra=told)
        run.start(fresh=not submission.kept)
        self._journal.wake()
        return Acceptance(id=id)

    def id_for(self, caller: str, public_id: str) -> str:
        """Under which id the engine will know a group that the caller submits as `public_id`. It says nothing of what others call
        theirs, for tasks see it: only who sees all groups anyway has the plain one."""
        if caller in ("", LOCAL) and self._store.head(public_id) is None:
            return public_id
        return self._hide_id(caller, public_id)

    def find(self, caller: str, public_id: str) -> str | None:
        """The id of the group that the caller calls so."""
        return self._store.find(caller, public_id)

    def known(self, submission: Submission, caller: str) -> str | None:
        """The id of the group, if it was accepted before. Raises GroupExistsError where its caller calls another one so."""
        public_id = submission.group.id
        id = None if public_id is None else self._store.find(caller, public_id)
        head = None if id is None else self._store.head(id)
        if head is not None and head.group.digest not in (submission.digest, submission.former_digest):
            raise GroupExistsError(
                f"a group with the id {public_id!r} exists already and has different content or inputs"
            )
        return id

    def cancel(self, id: str) -> None:
        """End the group early, clean-up included in its time; a second call ends clean-up too. A finished group is left
        alone, but for the wait until that is written (see `unwritten_end`). Raises GroupNotFoundError."""
        run = self._runs.get(id)
        if run is None:
            self._library.head(id)
        elif not run.status.terminal:
            run.abortion.cancel()
        elif self._journal.is_unwritten(run):
            run.told_by = self._clock.now().boot
            self._journal.hurry()

    def cancel_once(self, id: str, *, at_once: bool = False) -> None:
        """As the first call of `cancel`, or with `at_once` the second: for those who cannot know whether they were heard, and
        repeat themselves. Raises GroupNotFoundError."""
        self._library.head(id)
        run = self._runs.get(id)
        wanted = CLOSING_CANCELS if at_once else 1
        while run is not None and not run.status.terminal and run.abortion.count < wanted:
            run.abortion.cancel()

    def signal(self, id: str, task: str, signal: str) -> bool:
        """Send `pause`, `start` or `destroy` to a running task; False when it does not run. The first two are written down like a
        cancel, and hold in later lives of this engine. Or `retry` or `continue` to one for whose failure its group stands still; False when
        it does not. Raises GroupNotFoundError."""
        run = self._runs.get(id)
        if run is None:
            self._library.head(id)
            return False
        if task not in run.graph.index:
            raise GroupNotFoundError(f"group {id!r} has no task {task!r}")
        return run.pausing.decide(task, signal) if signal in DECISIONS else run.attempts.signal(task, signal)

    def is_to_pause(self, id: str, task: str) -> bool:
        """Whether the task's running attempt was told to pause, and not to go on since."""
        run = self._runs.get(id)
        attempt = None if run is None or task not in run.graph.index else run.task(task).attempt
        return attempt is not None and attempt.paused

    def status(self, id: str) -> Status:
        """The group's recorded status. Raises GroupNotFoundError."""
        return self._library.head(id).group.status

    def result(self, id: str) -> TaskGroupResult:
        """The Task Group Result as recorded so far. Raises GroupNotFoundError."""
        return results.group_result(self.record_of(id), self._sealer)

    def outcomes(self, id: str, tasks: Sequence[str]) -> Mapping[str, Outcome]:
        """How the last attempts ended of those of these tasks of a guest that are over."""
        rows = self._store.tasks(id, tasks)
        return {row.name: guests.outcome(row, self._sealer) for row in rows if row.status.terminal}

    def to_be_paused(self, id: str) -> frozenset[str]:
        """The tasks of the group whose running attempts were told to pause, and not to go on since."""
        run = self._runs.get(id)
        attempts = () if run is None else (run.tasks[index].attempt for index in run.running)
        return frozenset(attempt.id.task for attempt in attempts if attempt is not None and attempt.paused)

    def explain(
        self, head: GroupHead, task: str | None = None, *, peers: Iterable[PeerState] = (), lost_after: float | None = None
    ) -> Explanation:  # fmt: skip
        """Why the group, or one of its tasks, is as it is. `peers` are what is known of other runners now. Raises GroupNotFoundError for a
        task that it does not have."""
        id, slots = head.group.id, self._roster.slots
        run = self._runs.get(id)
        live = Live(
            load=slots.load,
            leaving=slots.closed,
            why=partial(self._services.abroad.why, id),
            peers={peer.name: peer for peer in peers},
            lost_after=lost_after,
            line=() if run is None else self._services.lanes.line(run.turn),
        )
        return self._library.explained(head, task, live, self._clock.now().wall)

    @property
    def library(self) -> Library:
        """Groups and their tasks piece by piece."""
        return self._library

    def list(self, query: GroupQuery) -> GroupPage:
        return self._store.groups(query)

    def running(self, id: str) -> Sequence[AttemptId]:
        """The attempts of the group that have started and are not over, as far as their start is recorded. Raises
        GroupNotFoundError."""
        recorded = self._library.head(id).last_event
        run = self._runs.get(id)
        attempts = (run.tasks[index].attempt for index in sorted(run.running)) if run is not None else ()
        return [
            attempt.id
            for attempt in attempts
            if attempt is not None and attempt.status is Status.RUNNING and attempt.started_event <= recorded
        ]

    def unwritten_end(self, id: str) -> TaskGroupResult | None:
        """The result of a group that is over although nothing can be written; None in every other case.

        Its status is `errored` (`state_not_written`), its tasks are what became of them. An aborted group has it at once, so
        that an abort is over in its time; another one after `END_PATIENCE_SECONDS`. Writing is tried on; where this engine
        ends before it succeeds, the next one takes the group up from what was recorded.
        """
        run = self._runs.get(id)
        if run is None or not self._roster.is_given_up(run):
            return None
        tasks = [state.row() for state in run.tasks]
        return results.not_written(run.row(), tasks, self._sealer)

    def events(self, id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        recent = self._audience.recent(id, after, limit)
        return self._store.events(id, after, limit) if recent is None else recent

    def subscribe(self, id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each commit that added events to the group, and when it has an `unwritten_end`; the returned
        function ends that."""
        return self._audience.subscribe(id, callback)

    @contextmanager
    def held(self, id: str) -> Iterator[None]:
        """While this is entered, the group is not forgotten."""
        let_go = self._audience.subscribe(id, lambda: None)
        try:
            yield
        finally:
            let_go()

    def forget(self, id: str) -> bool:
        """Remove a group that is over; False, and nothing is changed, while somebody watches it, something of it may still
        report, or it is not over. Its logs are the caller's affair. Raises StoreError."""
        if id in self._runs or self._audience.watches(id):
            return False
        head = self._store.head(id)
        if head is None or not head.group.status.terminal:
            return False
        self._store.delete_group(id)
        self._library.forget(id)
        return True

    def type_of(self, id: str, task: str) -> str:
        """The type of a task of a group that is not over or ended just now; empty of all others."""
        run = self._runs.get(id)
        return "" if run is None or task not in run.graph.index else run.task(task).task.type

    def is_over(self, id: str) -> bool:
        """Whether nothing more is decided of the group, be that written down by now or not."""
        run = self._runs.get(id)
        return run is None or run.status.terminal

    def trace_of(self, id: str) -> trace.Trace | None:
        """Of a group that is not over or ended just now."""
        run = self._runs.get(id)
        return None if run is None else run.trace

    def when_durable(self, done: Callable[[Exception | None], None]) -> None:
        """Call `done` once all that was recorded before this call survives a loss of power."""
        self._journal.then(lambda: self._store.sync(done))

    def rest(self, done: Callable[[], None]) -> None:
        """Give out no more slots, and call `done` once no attempt holds one, at once if none does. What waits is for the next
        engine, and so is what other runners carry out, which goes on there. Nothing more is sent to them."""
        self._roster.rest(done)

    def flush(self, flushed: Callable[[], None]) -> None:
        """Write and acknowledge what there is by now, then call `flushed`: what ended is forgotten by its executor."""
        self._journal.flush(flushed)

    def close(self) -> None:
        """Stop at the last commit, as if killed: the store may be closed after this. Idempotent."""
        self._journal.close()

    @property
    def active(self) -> int:
        """How many groups are not terminal."""
        return self._roster.living.all.groups

    @property
    def living(self) -> Living:
        """The groups that are not over, by caller."""
        return self._roster.living

    def active_of(self, caller: str) -> int:
        return self._roster.living.of(caller).groups

    @property
    def is_stuck(self) -> bool:
        """Whether what was to be recorded last could not be; that is tried again and again."""
        return self._journal.failure is not None

    @property
    def load(self) -> Load:
        return self._roster.slots.load
