from __future__ import annotations

from runner.cli.drawing import MAX_RAILS, draw, draw_rails, in_order, layers_of
from runner.model.group import TaskGroup
from runner.model.task import Import, Task, When


def task(name: str, *depends_on: str, imports: tuple[Import, ...] = (), when: When = When.SUCCESS) -> Task:
    return Task(name=name, type="os_exec", depends_on=depends_on, imports=imports, when=when)


def rails(*tasks: Task) -> list[str]:
    return list(draw_rails(in_order(tasks)))


def test_a_diamond() -> None:
    drawn = rails(task("fetch"), task("left", "fetch"), task("right", "fetch"), task("join", "left", "right"))
    assert drawn == ["●", "├─●", "● │", "●─╯"]


def test_a_chain_is_one_line() -> None:
    assert rails(task("a"), task("b", "a"), task("c", "b")) == ["●", "●", "●"]


def test_tasks_that_have_nothing_to_do_with_each_other_do_not_stand_on_one_line() -> None:
    assert rails(task("a"), task("b"), task("c"), task("d")) == ["●", "  ●", "●", "  ●"]


def test_a_line_passes_behind_what_it_has_nothing_to_do_with() -> None:
    drawn = rails(task("a"), task("b"), task("c", "a"), task("d", "a", "b", "c"))
    assert drawn == ["●", "│ ●", "├─│─●", "●─┴─╯"]


def test_the_order_is_the_documents_where_it_can_be() -> None:
    tasks = (task("last", "first"), task("other"), task("first"))
    assert [item.name for item in in_order(tasks)] == ["other", "first", "last"]


def test_layers_count_the_longest_way() -> None:
    ordered = in_order((task("a"), task("b", "a"), task("c", "a", "b")))
    assert layers_of(ordered) == {"a": 0, "b": 1, "c": 2}


def test_notes_tell_what_is_taken_and_when_it_runs() -> None:
    group = TaskGroup(
        name="deploy",
        tasks=(task("a"), task("b", imports=(Import(task="a", variable="url"),)), task("c", "b", when=When.ALWAYS)),
    )
    assert list(draw(group)) == [
        "deploy: 3 tasks, the longest chain has 3",
        "",
        "●  a  os_exec",
        "●  b  os_exec  ← a (url)",
        "●  c  os_exec  ← b; when always",
    ]


def test_a_wide_group_is_listed_in_layers() -> None:
    wide = tuple(task(f"t{number}") for number in range(MAX_RAILS + 1))
    group = TaskGroup(tasks=(*wide, task("end", *(item.name for item in wide))))
    lines = list(draw(group))
    assert lines[0] == f"task group: {MAX_RAILS + 2} tasks, the longest chain has 2"
    assert lines[2] == "layer 1"
    assert lines[-2] == "layer 2"
    assert lines[-1].startswith("  end  os_exec  ← t0, t1,")
    assert lines[-1].endswith(f"… {MAX_RAILS + 1 - 8} more")


def test_a_large_group_is_drawn_in_bounded_work() -> None:
    tasks = [task("t0")]
    tasks += [task(f"t{number}", f"t{number // 2}", f"t{number - 1}") for number in range(1, 20_000) if number > 1]
    tasks.insert(1, task("t1", "t0"))
    assert len(list(draw(TaskGroup(tasks=tuple(tasks))))) > 20_000
