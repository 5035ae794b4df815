"""Concurrency keys: whose turn it is, who waits for whom, who takes whose place, and what a restart makes of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from runner.engine import again
from runner.engine.targets import Unreachable
from runner.errors import UsageError
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.group import Concurrency, Input, TaskGroup
from runner.model.result import Outcome, Status, TaskGroupResult, Waiting
from runner.model.task import Forward, Retry, Task, When
from runner.simulator.script import OnStop, Script
from runner.store.base import Batch
from tests.unit.engine import entrusting
from tests.unit.engine.world import World

GOOD = Outcome(status=Status.SUCCESS, exit_code=0)
ANYWHERE = Forward(labels={"os": "linux"})


def task(name: str = "a", **more: Any) -> Task:
    return Task(name=name, **{"type": "scripted", **more})


def submit(at: World, id: str, key: str = "k", *, replaces: bool = False, caller: str = "", **more: Any) -> str:
    """Of one task that takes a second."""
    tasks = more.pop("tasks", (task(),))
    inputs = more.pop("given", None)
    concurrency = Concurrency(key=key, cancel_previous=replaces) if key else None
    group = TaskGroup(id=id, name=id, concurrency=concurrency, tasks=tasks, **more)
    return at.engine.submit(group, inputs, caller=caller)


def world(**more: Any) -> World:
    return World(lambda id: Script(start_after=0.0, duration=1.0), slots=100, **more)


def statuses(at: World, *ids: str) -> list[str]:
    return [at.engine.result(id).status.value for id in ids]


def waits(at: World, *ids: str) -> list[str | None]:
    return [at.engine.result(id).waits_for for id in ids]


def spans(at: World, *ids: str) -> list[tuple[float, float]]:
    events = [{event.kind: event.at for event in at.engine.events(id)} for id in ids]
    return [(each[Kind.TASK_DISPATCHED], each[Kind.GROUP_FINISHED]) for each in events]


def told(at: World, id: str, *kinds: Kind) -> list[Mapping[str, Any]]:
    return [event.fields for event in at.engine.events(id) if event.kind in kinds]


def test_one_runs_at_a_time_in_the_order_of_their_acceptance() -> None:
    at = world()
    ids = [submit(at, id) for id in ("g1", "g2", "g3")]
    at.pass_time(0.5)
    assert statuses(at, *ids) == ["running", "pending", "pending"]
    assert waits(at, *ids) == [None, "g1", "g2"]
    assert at.engine.result("g3").results["a"].waiting is Waiting.CONCURRENCY
    at.pass_time(1.0)
    assert waits(at, *ids) == [None, None, "g2"]
    at.pass_time(10)
    assert statuses(at, *ids) == ["success"] * 3
    ends = spans(at, *ids)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


def test_other_keys_other_callers_and_groups_without_a_key_do_not_wait() -> None:
    at = world()
    ids = [submit(at, "g1"), submit(at, "g2", "other"), submit(at, "g3", caller="bob"), submit(at, "g4", "")]
    at.pass_time(0.5)
    assert statuses(at, *ids) == ["running"] * 4


def test_a_caller_is_told_what_he_calls_his_groups_himself() -> None:
    at = world()
    ids = [submit(at, id, caller="bob") for id in ("g1", "g2")]
    at.pass_time(0.5)
    assert waits(at, *ids) == [None, "g1"]
    assert ids[0] != "g1"


def test_nobody_ends_what_belongs_to_another_caller() -> None:
    at = world()
    ids = [submit(at, "g1"), submit(at, "g2", caller="bob", replaces=True)]
    at.pass_time(10)
    assert statuses(at, *ids) == ["success", "success"]


def test_the_key_is_what_its_templates_give() -> None:
    at = world()
    template = "deploy-{{ .inputs.site }}-{{ .labels.team }}"
    declared = (Input(name="site", default="eu"),)
    ids = [
        submit(at, id, template, inputs=declared, given=given, labels={"team": "web"})
        for id, given in (("g1", {}), ("g2", {"site": "eu"}), ("g3", {"site": "us"}))
    ]
    at.pass_time(0.5)
    assert [at.engine.result(id).concurrency for id in ids] == ["deploy-eu-web", "deploy-eu-web", "deploy-us-web"]
    assert statuses(at, *ids) == ["running", "pending", "running"]


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("{{ .inputs.site }}", {"site": " "}, "must not be empty; look at the inputs and labels that it names"),
        ("{{ .inputs.site }}", {"site": "x" * 257}, "at most 256 bytes, and this one has 257"),
        ("{{ .inputs.site }}", {"site": "a\nb"}, "one line of printable characters"),
        ("{{ .labels.team }}", {}, "a label is given with --label"),
        ("{{ .inputs.password }}", {}, "confidential"),
    ],
)
def test_a_key_that_is_none_is_refused_when_it_is_known(key: str, given: Mapping[str, str], message: str) -> None:
    at = world()
    declared = (Input(name="site"), Input(name="password", confidential=True, default="hush"))
    with pytest.raises(UsageError, match=message) as caught:
        submit(at, "g1", key, inputs=declared, given=given)
    assert "hush" not in str(caught.value)


def test_a_newer_one_ends_those_that_run_and_wait_with_their_clean_up() -> None:
    at = world()
    tasks = (task(), task("b", depends_on=("a",)), task("clean", depends_on=("b",), when=When.ALWAYS))
    ids = [submit(at, "g1", tasks=tasks), submit(at, "g2", tasks=tasks)]
    at.pass_time(0.5)
    ids.append(submit(at, "g3", replaces=True))
    assert told(at, "g3", Kind.GROUP_WAITING) == [
        {"waiting": "concurrency", "why": "for group g1 (concurrency key k)", "waits_for": "g1"}
    ]
    at.pass_time(0.8)
    assert statuses(at, *ids) == ["running", "aborted", "pending"]  # g1 cleans up
    at.pass_time(10)
    results = [at.engine.result(id) for id in ids]
    assert [(it.status.value, it.reason, it.replaced_by) for it in results] == [
        ("aborted", "replaced", "g3"),
        ("aborted", "replaced", "g3"),
        ("success", None, None),
    ]
    assert [it.status.value for it in results[0].results.values()] == ["aborted", "skipped", "success"]
    assert [it.status.value for it in results[1].results.values()] == ["skipped"] * 3  # it had done nothing to clean up
    assert at.engine.result("g2").started_at is not None
    ends = spans(at, "g1", "g3")
    assert ends[0][1] <= ends[1][0]


def test_where_the_first_is_over_at_once_nothing_begins_of_those_that_are_replaced_with_it() -> None:
    failed = Outcome(status=Status.FAILED, exit_code=1)
    at = World(
        lambda id: Script(start_after=0.0, duration=1.0, outcome=failed if id.group == "g1" else GOOD), slots=100
    )
    cleaning = (task(), task("clean", when=When.ALWAYS))
    submit(at, "g1", tasks=(task(retry=Retry(attempts=2, delay=100.0)),))
    ids = [submit(at, id, tasks=cleaning) for id in ("g2", "g3", "g4")]
    at.pass_time(2)
    assert at.engine.result("g1").results["a"].waiting is Waiting.RETRY_DELAY
    submit(at, "g5", tasks=cleaning, replaces=True)
    at.pass_time(10)
    assert statuses(at, "g1", *ids, "g5") == ["aborted"] * 4 + ["success"]
    for id in ids:
        assert {it.status for it in at.engine.result(id).results.values()} == {Status.SKIPPED}
        assert len(told(at, id, Kind.GROUP_WAITING)) == 1


def test_of_one_that_another_runner_carries_out_it_is_not_told_who_stands_here() -> None:
    elsewhere = entrusting.World()
    for id in ("g1", "g2", "g3", "g4", "g5"):
        elsewhere.engine.submit(TaskGroup(id=id, name=id, concurrency=Concurrency(key="k"), tasks=(task(type="t"),)))
    elsewhere.submit(task(type="t"), name="g", concurrency=Concurrency(key="k"))
    elsewhere.peer.tell((Kind.GROUP_WAITING, None, 0, {"waiting": "concurrency", "waits_for": "other"}))
    because = elsewhere.engine.explain(elsewhere.engine.library.head("g")).cause.because
    own = "it waits for group other (concurrency key k): of the groups with this key one runs at a time"
    assert because[-1].text == own


@pytest.mark.parametrize("first", [(), ("first",)])
def test_who_comes_to_be_carried_out_here_behind_a_newer_one_that_replaces_it_is_over_at_once(
    first: Sequence[str],
) -> None:
    at = entrusting.World(Unreachable(why="nobody is there"))
    at.submit(task(type="t"), name="g", concurrency=Concurrency(key="k"), forward=ANYWHERE)
    for id in (*first, "newer"):
        concurrency = Concurrency(key="k", cancel_previous=id == "newer")
        at.engine.submit(TaskGroup(id=id, name=id, tasks=(task(type="t"),), concurrency=concurrency))
    at.targets.chosen = at.here
    at.targets.changed("there", True)
    at.wait(30)
    result = at.engine.result("g")
    assert (result.status, result.reason, result.replaced_by) == (Status.ABORTED, "replaced", "newer")
    assert at.engine.result("newer").status is Status.SUCCESS
    at.check()


def test_what_waits_can_be_cancelled_and_the_next_one_is_told_for_whom_it_waits() -> None:
    at = world()
    ids = [submit(at, id) for id in ("g1", "g2", "g3")]
    at.engine.cancel("g2")
    at.pass_time(0.5)
    assert statuses(at, *ids) == ["running", "aborted", "pending"]
    assert waits(at, *ids) == [None, None, "g1"]
    at.pass_time(10)
    assert statuses(at, *ids) == ["success", "aborted", "success"]
    assert [each["waits_for"] for each in told(at, "g3", Kind.GROUP_WAITING)] == ["g2", "g1"]


def test_the_timeout_counts_from_its_turn_on() -> None:
    at = World(lambda id: Script(start_after=0.0, duration=8.0), slots=100)
    ids = [submit(at, "g1", timeout=10.0), submit(at, "g2", timeout=10.0), submit(at, "g3", timeout=7.0)]
    at.pass_time(4)
    at.restart()
    at.pass_time(60)
    results = [at.engine.result(id) for id in ids]
    assert [(it.status.value, it.reason) for it in results] == [
        ("success", None), ("success", None), ("aborted", "group_timeout"),
    ]  # fmt: skip
    begin, end = spans(at, "g3")[0]
    assert end - begin == pytest.approx(7.0, abs=0.1)


def test_the_same_again_is_the_same_and_takes_no_place() -> None:
    at = world()
    assert [submit(at, id, replaces=True) for id in ("g1", "g1")] == ["g1", "g1"]
    at.pass_time(10)
    assert statuses(at, "g1") == ["success"]


def test_a_restart_keeps_the_order_and_the_turn() -> None:
    at = world()
    ids = [submit(at, id) for id in ("g1", "g2", "g3")]
    at.pass_time(0.5)
    before = [told(at, id, Kind.GROUP_WAITING) for id in ids]
    at.restart()
    at.pass_time(0.1)
    assert statuses(at, *ids) == ["running", "pending", "pending"]
    assert waits(at, *ids) == [None, "g1", "g2"]
    assert [told(at, id, Kind.GROUP_WAITING) for id in ids] == before
    at.pass_time(10)
    assert statuses(at, *ids) == ["success"] * 3


def test_who_was_replaced_is_ended_by_the_next_engine_where_that_was_not_written_down() -> None:
    at = world()
    submit(at, "g1")
    at.pass_time(0.5)
    submit(at, "g2", replaces=True)  # recorded at once; what follows from it is not
    at.restart()
    at.pass_time(10)
    assert [(it.reason, it.replaced_by) for it in (at.engine.result("g1"), at.engine.result("g2"))] == [
        ("replaced", "g2"), (None, None),
    ]  # fmt: skip


def test_what_was_cancelled_while_it_waited_never_begins_also_where_its_turn_would_have_come() -> None:
    at = World(lambda id: Script(start_after=0.0, stop_after=0.0), slots=100, most=1)
    tasks = (*(task(f"t{number}") for number in range(40)), task("clean", when=When.ALWAYS))
    submit(at, "g1")
    submit(at, "g2", tasks=tasks)
    at.pass_time(0.05)

    def die(batch: Batch) -> None:
        if any(event.kind is Kind.GROUP_FINISHED and event.group == "g1" for event in batch.events):
            at.engine.close()

    at.store.recorded = die
    at.engine.cancel("g2")
    at.engine.cancel("g1")
    at.pass_time(1)
    assert statuses(at, "g1", "g2") == ["aborted", "pending"]
    at.restart()
    at.pass_time(10)
    assert {it.status for it in at.engine.result("g2").results.values()} == {Status.SKIPPED}


def test_many_that_are_over_at_once_follow_each_other() -> None:
    at = world()
    ids = [submit(at, f"g{number}", tasks=(task(condition=False),)) for number in range(600)]
    at.pass_time(10)
    assert set(statuses(at, *ids)) == {"success"}


def test_it_is_told_for_whom_a_group_waits_and_who_took_its_place() -> None:
    at = world()
    for id in ("g1", "g2", "g3"):
        submit(at, id)
    at.pass_time(0.5)
    cause = at.engine.explain(at.engine.library.head("g3")).cause
    assert cause.text == "the group g3 has not begun yet"
    assert [(it.kind, it.text) for it in cause.because] == [
        (
            "concurrency",
            (
                "it waits for group g2 (concurrency key k): of the groups with this key one runs at a time; "
                "2 groups stand before it, g1 at the front"
            ),
        )
    ]
    assert at.engine.explain(at.engine.library.head("g3"), "a").cause.text == "a waits for the turn of its group"
    submit(at, "g4", replaces=True)
    at.pass_time(10)
    texts = [it.text for it in at.engine.explain(at.engine.library.head("g1")).cause.because]
    assert texts[0].startswith("group g4 with the same concurrency key (k) and `cancel_previous` took its place at ")


def test_a_group_that_labels_have_chosen_this_runner_for_stands_in_line_here() -> None:
    at = world(up=False)
    ids = [submit(at, "g1"), submit(at, "g2", forward=ANYWHERE, timeout=1.5), submit(at, "g3")]
    at.pass_time(0.5)
    assert statuses(at, *ids) == ["running", "pending", "pending"]
    assert waits(at, *ids) == [None, "g1", "g2"]
    at.restart(up=False)
    at.pass_time(10)
    assert statuses(at, *ids) == ["success"] * 3
    ends = spans(at, *ids)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))


def test_done_again_it_takes_part_as_a_new_group() -> None:
    at = World(lambda id: Script(start_after=0.0, duration=1.0, on_stop=OnStop.OBEYS), slots=100)
    submit(at, "g1")
    at.engine.cancel("g1")
    at.pass_time(5)
    submit(at, "g2")
    prepared = again.prepare(at.engine.record_of("g1"), at.sealer, at.engine.id_for("", "g3"), "g3")
    at.engine.accept(prepared.submission)
    at.pass_time(0.5)
    third: TaskGroupResult = at.engine.result("g3")
    assert (third.concurrency, third.waits_for) == ("k", "g2")
    at.pass_time(10)
    assert statuses(at, "g3") == ["success"]
    assert AttemptId("g3", "a", 1) in at.here.dispatches


def kinds(at: World, id: str) -> Sequence[Kind]:
    return [event.kind for event in at.engine.events(id)]


def test_its_events_tell_when_its_turn_came() -> None:
    at = world()
    submit(at, "g1")
    submit(at, "g2")
    at.pass_time(10)
    assert kinds(at, "g2")[:3] == [Kind.GROUP_ACCEPTED, Kind.GROUP_WAITING, Kind.GROUP_READY]
    assert Kind.GROUP_READY not in kinds(at, "g1")
