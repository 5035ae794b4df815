"""Random scenarios, by seed: the same seed gives the same scenario on every machine.

In most worlds all times are drawn from the reals, so that no two things happen at once and no tie decides an outcome. In worlds with
ties they are multiples of a quarter of a second, zero included, and the groups come, and often time out, at the same instant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from runner.model.dispatch import AttemptId
from runner.model.group import Input, TaskGroup
from runner.model.result import Outcome, Reason, Status
from runner.model.task import NO_RETRY, Export, Import, Retry, Scope, Task, When
from runner.model.value import Value
from runner.simulator.rules import BROKEN_CONDITION
from runner.simulator.scenario import SECRET_MARK, CrashAt, Faults, Scenario, Signal, Submission
from runner.simulator.script import Notice, OnStop, Script

MAX_TASKS = 30
GRID_SECONDS = 0.25
RETRY_ON: Sequence[frozenset[str]] = (
    frozenset({"failed", "errored"}),
    frozenset({"failed", "errored"}),
    frozenset({"failed"}),
    frozenset({"errored"}),
    frozenset({"7", "errored"}),
    frozenset({"timeout", "driver_error"}),
    frozenset({"failed", "errored", "host_restarted"}),
)


class _Draw(Struct, frozen=True):
    """Chance, with a few words for it. With a `grid` all times are multiples of it."""

    random: Random
    grid: float = 0.0

    def one_in(self, share: float) -> bool:
        return self.random.random() < 1 / share

    def seconds(self, typical: float) -> float:
        """Around `typical`, now and then far from it, never 0 but on a grid."""
        return self.on_grid(typical * math.exp(self.random.gauss(0, 1)))

    def limit(self, typical: float) -> float:
        """Like `seconds`, but never 0."""
        return self.seconds(typical) or self.grid

    def on_grid(self, seconds: float) -> float:
        return round(seconds / self.grid) * self.grid if self.grid else seconds

    def pick(self, weights: Mapping[str, int]) -> str:
        return self.random.choices(list(weights), list(weights.values()))[0]


def random_scenario(seed: int) -> Scenario:
    random = Random(seed)
    draw = _Draw(random, GRID_SECONDS if random.random() < 1 / 6 else 0.0)
    count = 1 if random.random() < 0.6 else random.randint(2, 4)
    submissions = tuple(_submission(draw, f"g{number}", MAX_TASKS // count) for number in range(count))
    tasks = sum(len(item.group.tasks) for item in submissions)
    return Scenario(
        submissions=submissions,
        scripts={
            id: script
            for item in submissions
            for task in item.group.tasks
            for id, script in _scripts(draw, item.id, task).items()
        },
        # Half of the worlds with several groups have a slot for everybody: those can be compared exactly.
        max_parallel=tasks if count > 1 and random.random() < 0.5 else random.randint(1, 8),
        duplicates=draw.one_in(3),
        reports_die=draw.one_in(2),
        ties=draw.grid > 0,
    )


def random_faults(seed: int, steps: int, seconds: float) -> Faults:
    """What goes wrong in a world that takes `steps` steps and `seconds` when it is left alone: crashes, of which one run in
    eight loses power, one in six is down for a while; one disk in twelve is full for a time."""
    draw = _Draw(Random(f"faults of {seed}"))
    random = draw.random
    places = sorted(random.sample(range(steps), min(steps, random.randint(0 if seed % 7 == 0 else 1, 5))))
    crashes = [CrashAt(step=place, after=random.random() < 0.5) for place in places]
    kind = draw.pick({"plain": 17, "power": 3, "downtime": 4})
    if crashes and kind != "plain":
        number = random.randrange(len(crashes))
        power, downtime = kind == "power", draw.seconds(15)
        crashes[number] = replace(crashes[number], power_loss=power, downtime=downtime)
    full = random.uniform(0, seconds)
    return Faults(crashes=tuple(crashes), full_disk=((full, full + draw.seconds(2)),) if draw.one_in(12) else ())


def another_submission(random: Random, grid: float, id: str, most: int) -> Submission:
    """One of a group of at most so many tasks."""
    return _submission(_Draw(random, grid), id, most)


def _submission(draw: _Draw, id: str, most: int) -> Submission:
    random = draw.random
    size = min(most, 1 + int(random.expovariate(1 / 8)))
    at = GRID_SECONDS if draw.grid else random.uniform(0, 5)
    tasks = _tasks(draw, size)
    group = TaskGroup(
        id=id,
        name=f"group {id}",
        labels={"team": random.choice(["web", "infra"])},
        inputs=(Input(name="mode", default="a"), Input(name="token", confidential=True)),
        timeout=(random.choice([3.0, 6.0]) if draw.grid else draw.limit(15)) if draw.one_in(5) else None,
        fail_fast=draw.one_in(4),
        cleanup_timeout=draw.limit(4),
        env={"LANG": "C.UTF-8"},
        tasks=tasks,
    )
    cancels = int(draw.pick({"0": 65, "1": 22, "2": 10, "3": 3}))
    return Submission(
        at=at,
        group=group,
        caller=random.choice(["ann", "bob", "cid"]),
        inputs={"token": f"{SECRET_MARK}{id}", **({"mode": "b"} if draw.one_in(3) else {})},
        cancels=tuple(sorted(at + draw.seconds(6) for _ in range(cancels))),
        signals=_signals(draw, at, tasks) if draw.one_in(4) else (),
    )


def _signals(draw: _Draw, at: float, tasks: Sequence[Task]) -> tuple[Signal, ...]:
    """Some tasks are paused for a time, some for ever until they are destroyed or time out; some signals meet nobody."""
    signals = []
    for _ in range(draw.random.randint(1, 4)):
        task = draw.random.choice(tasks).name
        when = at + draw.seconds(2)
        kind = draw.pick({"pause": 6, "destroy": 3, "start": 1})
        signals.append(Signal(at=when, task=task, signal=kind))
        if kind == "pause":
            ending = draw.pick({"start": 8, "destroy": 2})
            signals.append(Signal(at=when + draw.seconds(3), task=task, signal=ending))
            if draw.one_in(4):
                signals.append(Signal(at=when + draw.seconds(2), task=task, signal="pause"))
                signals.append(Signal(at=when + draw.seconds(20), task=task, signal="start"))
    # Nobody may stay paused for ever.
    last = max(signal.at for signal in signals) + draw.limit(9)
    signals += [
        Signal(at=last + number, task=name, signal="start")
        for number, name in enumerate(dict.fromkeys(signal.task for signal in signals))
    ]
    return tuple(sorted(signals, key=lambda signal: signal.at))


def _tasks(draw: _Draw, size: int) -> tuple[Task, ...]:
    names = [draw.random.choice([f"t{number}", f"task-{number}", f"_T{number}"]) for number in range(size)]
    shape = draw.pick({"sparse": 4, "chain": 2, "layers": 3, "fan": 2, "dense": 1, "loose": 1})
    tasks: list[Task] = []
    for number, name in enumerate(names):
        tasks.append(_task(draw, name, _parents(draw.random, shape, tasks, number)))
    draw.random.shuffle(tasks)
    return tuple(tasks)


def _parents(random: Random, shape: str, tasks: Sequence[Task], number: int) -> list[Task]:
    if not tasks or shape == "loose":
        return []
    if shape == "chain":
        return [tasks[-1]]
    if shape == "layers":
        width = 1 + len(tasks) % 4
        start = max(0, number - number % width - width)
        return random.sample(tasks[start : start + width], min(len(tasks[start : start + width]), random.randint(0, 3)))
    if shape == "fan":
        return [tasks[0]] if random.random() < 0.7 else random.sample(tasks, min(len(tasks), 4))
    most = 6 if shape == "dense" else 2
    return random.sample(tasks, min(len(tasks), random.randint(0, most)))


def _task(draw: _Draw, name: str, parents: Sequence[Task]) -> Task:
    random = draw.random
    offered = [(parent, export) for parent in parents for export in parent.exports]
    wanted = [offer for offer in offered if random.random() < 0.6]
    depends_on = [
        parent.name for parent in parents if random.random() < 0.6 or not any(parent is by for by, _ in wanted)
    ]
    return Task(
        name=name,
        type="scripted",
        spec={"say": "{{ .task.name }}"},
        depends_on=tuple(depends_on),
        imports=tuple(Import(task=parent.name, variable=export.name) for parent, export in wanted),
        exports=tuple(
            _export(draw, f"v{number}") for number in range(int(draw.pick({"0": 4, "1": 3, "2": 2, "3": 1})))
        ),
        timeout=draw.limit(2) if draw.one_in(8) else None,
        retry=_retry(draw) if draw.one_in(4) else NO_RETRY,
        when=When(draw.pick({"success": 66, "failure": 14, "always": 20})),
        condition=_condition(
            draw, [(parent.name, export.name) for parent, export in wanted if not export.confidential]
        ),
        allow_failure=draw.one_in(6),
    )


def _export(draw: _Draw, name: str) -> Export:
    confidential = draw.one_in(3)
    fallback = f"{SECRET_MARK}fallback" if confidential else "fallback"
    return Export(
        name=name,
        confidential=confidential,
        scope=Scope.GLOBAL if draw.one_in(2) else Scope.LOCAL,
        default=fallback if draw.one_in(3) else None,
    )


def _retry(draw: _Draw) -> Retry:
    return Retry(
        attempts=draw.random.randint(2, 4),
        delay=draw.seconds(1),
        backoff=draw.random.uniform(1, 3),
        max_delay=draw.random.uniform(0.5, 10),
        on=draw.random.choice(RETRY_ON),
    )


def _condition(draw: _Draw, variables: Sequence[tuple[str, str]]) -> str | bool | None:
    kind = draw.pick({"none": 80, "data": 12, "input": 4, "constant": 2, "broken": 2})
    operator = draw.random.choice(["==", "!="])
    if kind == "data" and variables:
        task, name = draw.random.choice(variables)
        return f"{{{{ .{task}.{name} {operator} 'true' }}}}"
    if kind == "input":
        return f"{{{{ .inputs.mode {operator} 'a' }}}}"
    if kind == "constant":
        return draw.one_in(2)
    return BROKEN_CONDITION if kind == "broken" else None


def scripts(random: Random, grid: float, group: str, task: Task) -> dict[AttemptId, Script]:
    """What the attempts at a task of the group do."""
    return _scripts(_Draw(random, grid), group, task)


def _scripts(draw: _Draw, group: str, task: Task) -> dict[AttemptId, Script]:
    return {
        AttemptId(group, task.name, number): _script(draw, group, task, number)
        for number in range(1, task.retry.attempts + 1)
    }


def _script(draw: _Draw, group: str, task: Task, attempt: int) -> Script:
    random = draw.random
    kind = draw.pick({"success": 74, "failed": 13, "errored": 6, "unstartable": 3, "slow": 4})
    produced = kind == "success" or draw.one_in(3)
    outputs = {item.name: _value(draw, item, f"{group}-{task.name}-{attempt}") for item in task.exports if produced}
    on_stop = OnStop(draw.pick({"obeys": 6, "finishes": 2, "silent": 2}))
    never = on_stop is OnStop.SILENT and draw.one_in(3)
    return Script(
        start_after=draw.seconds(0.02),
        duration=draw.seconds(40 if kind == "slow" else 1.5),
        outcome=_outcome(random, kind, outputs),
        starts=kind != "unstartable",
        notices=tuple(Notice(after=draw.seconds(0.5)) for _ in range(random.randint(1, 3))) if draw.one_in(8) else (),
        on_stop=on_stop,
        stop_after=math.inf if never else draw.seconds(25 if on_stop is OnStop.SILENT else 3),
        kill_after=draw.seconds(0.05),
        stopped=Outcome(status=Status.ABORTED, exit_code=143, signal=15, outputs=outputs if draw.one_in(3) else {}),
    )


def _outcome(random: Random, kind: str, outputs: Mapping[str, Value]) -> Outcome:
    if kind == "failed":
        return Outcome(status=Status.FAILED, exit_code=random.choice([1, 2, 7]), outputs=outputs)
    if kind == "errored":
        reason = random.choice([Reason.DRIVER_ERROR, Reason.EXPORT_MISSING, Reason.DRIVER_LOST])
        return Outcome(status=Status.ERRORED, reason=reason, outputs=outputs, error="it went wrong")
    if kind == "unstartable":
        return Outcome(status=Status.ERRORED, reason=Reason.START_FAILED, exit_code=125, error="it did not start")
    return Outcome(status=Status.SUCCESS, exit_code=0, outputs=outputs)


def _value(draw: _Draw, export: Export, origin: str) -> Value:
    if export.confidential:
        return Value(f"{SECRET_MARK}{origin}-{export.name}", True)
    return Value(draw.random.choice(["true", "false", f"from {origin}"]))
