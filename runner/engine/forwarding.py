"""Where the tasks of one group go once nothing of the group itself holds them back: to a slot, or to another runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.engine import variables
from runner.engine.abroad import WHOLE_GROUP
from runner.engine.state import TaskState
from runner.engine.targets import Refusal, Unreachable
from runner.errors import TemplateError
from runner.model.event import Kind
from runner.model.result import Reason, Waiting
from runner.model.task import Forward

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun


class Forwarding:
    def __init__(self, run: GroupRun) -> None:
        self._run = run
        self._services = run.services

    def proceed(self, state: TaskState) -> None:
        """Its edges, data, `if` and delays are over: let its next attempt begin where it belongs, or wait for that. It may be over
        with this, and what follows for others is for `settle`."""
        forward, services = state.task.forward, self._services
        entrusted = self._run.entrusted
        if entrusted is not None and entrusted.refusal is not None:
            self._run.refuse(state, entrusted.refusal.reason, entrusted.refusal.message)
            return
        if self._run.pausing.keeps(state):
            self._run.pausing.defer(state)
            return
        if forward is None:
            self._run.enqueue(state)
            return
        if services.slots.closed:
            state.waiting = Waiting.SLOT  # nothing is begun any more: what is left is for the next engine
            return
        try:
            wanted = self._rendered(forward, state)
        except TemplateError as error:
            self._run.refuse(state, Reason.BAD_TEMPLATE, f"forward.to: {error.message}")
            return
        chosen = services.targets.choose(wanted, (state.task.type,), self._run.hops)
        if isinstance(chosen, Unreachable):
            self._wait(state, chosen.why)
        elif isinstance(chosen, Refusal):
            self._run.refuse(state, chosen.reason, chosen.message)
        else:
            services.abroad.waits_no_more(self._run, state.index)
            if chosen is services.targets.here:
                self._run.enqueue(state)
            else:
                self._run.begin_attempt(state, chosen)

    def decide_anew(self, index: int) -> None:
        """Of a task, or of the `WHOLE_GROUP`, that waits for a runner: one has come or gone."""
        run = self._run
        if index == WHOLE_GROUP:
            if run.entrusted is not None:
                run.entrusted.proceed()
                run.settle()
            return
        state = run.tasks[index]
        if not run.is_closed_for(state):  # else it is about to be ended
            self.proceed(state)
            if state.status.terminal:
                run.settle()

    def _rendered(self, forward: Forward, state: TaskState) -> Forward:
        """Raises TemplateError."""
        if forward.to is None or not state.task.template:
            return forward
        bindings = self._run.bindings(state, state.attempts + 1)
        return Forward(to=variables.runner_named(forward.to, bindings))

    def _wait(self, state: TaskState, why: str) -> None:
        is_news = self._services.abroad.wait(self._run, state.index, why)
        if is_news or state.waiting is not Waiting.PEER_UNREACHABLE:  # also where a former engine has told it
            state.waiting = Waiting.PEER_UNREACHABLE
            self._run.event(Kind.TASK_WAITING, state, waiting=Waiting.PEER_UNREACHABLE.value, why=why)
            self._services.journal.mark(state)
