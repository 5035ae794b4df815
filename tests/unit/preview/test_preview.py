"""What is said of a group beforehand is what the engine makes of it."""

from __future__ import annotations

from msgspec.structs import replace

from drivers.registry import Registry
from runner import preview
from runner.engine.engine import Engine
from runner.model.dispatch import AttemptId
from runner.model.group import Input, TaskGroup
from runner.model.result import Outcome, Status, TaskResult
from runner.model.task import Cell, Export, Import, Scope, Task
from runner.model.value import Value
from runner.preview import Preview, Prospect
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.matrices import with_matrices
from runner.simulator.scenarios import random_scenario
from runner.simulator.script import Script
from runner.store.memory import MemoryStore

STATUSES = {
    Prospect.RUNS: {Status.SUCCESS},
    Prospect.SKIPPED: {Status.SKIPPED},
    Prospect.ERRORED: {Status.ERRORED},
    Prospect.OPEN: {Status.SUCCESS, Status.SKIPPED, Status.ERRORED},
}
SEEDS = 250
LONG_SECONDS = 100_000.0


def played(group: TaskGroup, inputs: dict[str, str], text: str) -> dict[str, TaskResult]:
    """What becomes of the tasks where all that run are successful, and export `text`."""
    tasks = {task.name: task for task in group.tasks}

    def script(id: AttemptId) -> Script:
        outputs = {export.name: Value(text, export.confidential) for export in tasks[id.task].exports}
        return Script(outcome=Outcome(status=Status.SUCCESS, exit_code=0, outputs=outputs))

    clock = VirtualClock()
    engine = Engine(
        store=MemoryStore(clock.call_soon),
        clock=clock,
        dispatcher=ScriptedExecutor(clock, script),
        sealer=Sealer.ephemeral(),
        max_parallel=4,
    )
    id = engine.submit(group, inputs)
    clock.run_until(LONG_SECONDS)
    result = engine.result(id)
    engine.close()
    return dict(result.results)


def previewed(group: TaskGroup, inputs: dict[str, str] | None = None) -> Preview:
    return preview.preview(group, inputs or {}, Registry(()), 40)


def patient(task: Task) -> Cell | None:
    """That of the task, without failFast."""
    return None if task.matrix is None else replace(task.matrix, fail_fast=False)


def test_it_is_what_the_engine_does() -> None:
    seen: set[tuple[Prospect, str | None]] = set()
    for seed in range(SEEDS):
        for submission in with_matrices(seed, random_scenario(seed)).submissions:
            tasks = tuple(replace(task, timeout=None, matrix=patient(task)) for task in submission.group.tasks)
            group = replace(submission.group, timeout=None, fail_fast=False, tasks=tasks)
            foretold = previewed(group, dict(submission.inputs)).tasks
            for text in ("true", "another text"):
                results = played(group, dict(submission.inputs), text)
                for task in foretold:
                    result = results[task.task.name]
                    told = (seed, task.task.name, task.prospect, task.reason, result.status, result.reason)
                    assert result.status in STATUSES[task.prospect], told
                    seen.add((task.prospect, result.reason))
                    if task.prospect is Prospect.OPEN:
                        continue
                    if task.prospect is Prospect.RUNS:
                        assert result.reason is None, told
                    elif not any(before.prospect is Prospect.OPEN for before in foretold):
                        assert (task.reason, task.because_of) == (result.reason, result.because_of), told
    assert seen >= {
        (Prospect.RUNS, None),
        (Prospect.OPEN, None),
        *((Prospect.OPEN, reason) for reason in ("condition_false", "no_data")),
        (Prospect.ERRORED, "bad_template"),
        *((Prospect.SKIPPED, reason) for reason in ("condition_false", "dependency_failed", "no_data", "no_failure")),
    }


def task(name: str, command: str = "", *imports: str, **more: object) -> Task:
    taken = tuple(Import(task=each.split(".")[0], variable=each.split(".")[1]) for each in imports)
    return Task(name=name, type="t", spec={"command": command}, imports=taken, **more)  # type: ignore[arg-type]  # by name


def commands(*tasks: Task, **group: object) -> list[str]:
    inputs = (Input(name="tag", default="1.10"), Input(name="key", confidential=True, default="hush-hush"))
    whole = TaskGroup(tasks=tasks, inputs=inputs, **group)  # type: ignore[arg-type]  # by name
    return [each.spec["command"] if each.spec else str(each.error) for each in previewed(whole).tasks]


EXPORTS = (Export(name="url"), Export(name="token", confidential=True, default="hidden-one", scope=Scope.GLOBAL))


def test_each_template_by_itself_is_rendered_or_left() -> None:
    a = task("a", exports=EXPORTS)
    assert commands(
        a,
        task("b", "{{ .inputs.tag }} {{ .a.url }} {{- .inputs.key -}} !", "a.url"),
        task("c", "{{ .a.url | upper }}{{ 'x' if inputs.tag == '1.10' else a.url }}{{ '{{' }}", "a.url"),
        task("d", "{{ a | tojson }} {{ a.token | b64encode }}", "a.token"),
        task("e", "{{ .group.id }} {{ .env.ID }} {{ .env.TAG }} {{ .task.name }}/{{ .task.attempt }}"),
        task("f", "{{ inputs.tag | fromjson | length }}"),
        task("g", "plain, and hush-hush"),
        task("h", "{{ .inputs.tag }}", template=False),
        env={"ID": "{{ .group.id }}", "TAG": "v{{ .inputs.tag }}"},
    ) == [
        "",
        "1.10 ‹a.url›***!",
        "‹.a.url | upper›x{{",
        "‹a | tojson› ‹a.token | b64encode›",
        "‹group.id› ‹env.ID› v1.10 e/1",
        "spec.command: length: a number has no length",
        "plain, and ***",
        "{{ .inputs.tag }}",
    ]


def test_defaults_of_what_is_skipped_are_known() -> None:
    a = task("a", exports=EXPORTS, condition=False)
    b = task("b", "{{ .a.token }}", "a.token")
    group = TaskGroup(tasks=(a, b, task("c", "{{ .a.url }}", "a.url")))
    skipped, runs, no_data = previewed(group).tasks
    assert (skipped.prospect, skipped.reason) == (Prospect.SKIPPED, "condition_false")
    assert (runs.prospect, runs.spec) == (Prospect.RUNS, {"command": "***"})
    assert (no_data.prospect, no_data.reason, no_data.because_of) == (Prospect.SKIPPED, "no_data", "a")


def test_what_a_condition_wants_from_others_is_named() -> None:
    a = task("a", exports=EXPORTS)
    b = task("b", "{{ .a.token }}", "a.url", "a.token", condition="{{ inputs.x != 'y' and .a.url == 'x' }}")
    whole = TaskGroup(tasks=(a, b), inputs=(Input(name="x"),))
    seen = previewed(whole).tasks[1]
    assert (seen.prospect, seen.reason, seen.open) == (Prospect.OPEN, "if", ("a.url", "a.token"))
    assert previewed(whole, {"x": "y"}).tasks[1].prospect is Prospect.SKIPPED
