"""How faults are spelt."""

from __future__ import annotations

import pytest

from runner.model.fault import Fault, Faults, Path, nearest, no_such_task, quote, spell_path


@pytest.mark.parametrize(
    ("path", "spelt"),
    [
        ((), ""),
        (("tasks", 2, "spec", "envs", "A-b"), "tasks[2].spec.envs.A-b"),
        (("env", "a.b"), 'env["a.b"]'),
        (("env", ""), 'env[""]'),
        (("env", 'x\x1b[31m\n"\\'), 'env["x\\u001b[31m\\n\\"\\\\"]'),
        (("env", "x" * 100), f'env["{"x" * 79}…"]'),
        ((0, "a"), "[0].a"),
    ],
)
def test_paths(path: Path, spelt: str) -> None:
    assert spell_path(path) == spelt


def test_quotes_are_short_and_safe_to_print() -> None:
    assert quote("ä→\u202e\0") == '"ä→\\u202e\\u0000"'
    assert len(quote("x" * 10_000)) == 82


def test_a_fault_in_words_and_as_json() -> None:
    fault = Fault(path=("a", 0), message="is wrong", hint="mend it", source="f.yaml", line=3, column=7)
    assert str(fault) == "f.yaml:3:7: a[0]: is wrong (mend it)"
    assert fault.as_json() == {
        "source": "f.yaml",
        "path": "a[0]",
        "line": 3,
        "column": 7,
        "severity": "error",
        "message": "is wrong",
        "hint": "mend it",
    }
    warning = Fault(path=(), message="look", warning=True)
    assert str(warning) == "<document>: warning: look"
    assert warning.as_json()["severity"] == "warning"


def test_of_a_task_that_there_is_not_it_is_said_what_is_meant_or_which_there_are() -> None:
    assert no_such_task("bild", ["build", "ship"]) == "the group has no task 'bild' (did you mean 'build'?)"
    assert no_such_task("x", ["build", "ship"]) == "the group has no task 'x' (it has build and ship)"
    assert no_such_task("x", {f"t{n}": n for n in range(30)}).endswith(
        "(it has t0, t1, t2, t3, t4, t5, t6, t7 and 22 more)"
    )
    assert no_such_task("x", ()) == "the group has no task 'x'"


def test_nearest() -> None:
    assert nearest("comand", ["command", "envs"]) == "did you mean 'command'?"
    assert nearest("x", ["command"]) is None
    assert nearest("c" * 1000, ["c" * 1000]) is None


def test_hints_end_when_a_document_asks_for_too_many() -> None:
    faults = Faults(10)
    known = [f"name-{number}" for number in range(60_000)]
    known[0] = "needle"
    assert faults.nearest("neeedle", known[:10]) == "did you mean 'needle'?"
    assert faults.nearest("q", known) is None
    assert faults.nearest("neeedle", known) is None


def test_more_faults_than_the_limit_are_counted() -> None:
    faults = Faults(2)
    for number in range(5):
        faults.add((number,), "is wrong")
    assert len(faults) == 2
    assert [fault.message for fault in faults.all()] == ["is wrong", "is wrong"]
    (rest,) = faults.rest("f.yaml")
    assert str(rest) == "f.yaml: 3 more faults are not shown: the limit is 2"


def test_warnings_beyond_the_limit_hide_no_fault_and_are_none() -> None:
    faults = Faults(2)
    for number in range(5):
        faults.add((number,), "look", warning=True)
    assert all(fault.warning for fault in (*faults.all(), *faults.rest("f.yaml")))
    faults.add((), "is wrong")
    assert [fault.message for fault in faults.all()] == ["look", "look", "is wrong"]
    assert [str(rest) for rest in faults.rest("f")] == ["f: warning: 3 more warnings are not shown: the limit is 2"]
