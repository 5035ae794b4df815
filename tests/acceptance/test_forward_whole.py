"""A whole group that another node carries out: two real nodes, one of which forwards to the other over its socket."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.model.event import Kind
from runner.model.result import Status
from tests.acceptance.command import shell
from tests.acceptance.test_forward import ONPREM, SECRET, Pair, impatient, pair

__all__ = ["impatient", "pair"]


def test_it_looks_like_a_group_that_runs_here(pair: Pair) -> None:
    def tasks() -> list[dict[str, object]]:
        first = shell("first", "echo out; echo err >&2; echo url=there >> $OUTPUT_FILE; echo $A")
        first |= {"exports": [{"name": "url", "scope": "global"}]}
        first["spec"]["envs"] = {"A": "{{ .inputs.a }} {{ .group.id }} {{ .group.name }}"}
        second = shell("second", "echo {{ .first.url }}", imports=[{"from": "first", "variable": "url"}])
        third = shell("third", f"echo x >> {pair.folder}/tries-$W; test $(wc -l < {pair.folder}/tries-$W) = 2")
        third |= {"retry": {"attempts": 2, "delay": 0.01}, "depends_on": ["first"]}
        return [
            first,
            second,
            third,
            shell("bad", "exit 7", depends_on=["second"]),
            shell("skipped", "true", depends_on=["bad"]),
            shell("after", "echo cleaned", when="always", depends_on=["bad"]),
            shell("never", "true", **{"if": "{{ .inputs.a == 'z' }}"}),
        ]

    inputs = {"a": {"default": "x y"}}
    there = pair.submit(*tasks(), env={"W": "there"}, inputs=inputs, forward=ONPREM, name="g", id="same-1")
    here = pair.submit(*tasks(), env={"W": "here"}, inputs=inputs, name="g", id="same-2")
    results = pair.finished(there), pair.finished(here)
    spelt = [
        (
            result.status,
            result.reason,
            {
                name: (task.status, task.reason, task.because_of, task.exit_code, task.attempts, dict(task.outputs))
                for name, task in result.results.items()
            },
        )
        for result in results
    ]
    assert spelt[0] == spelt[1]
    assert {task.runner for task in results[0].results.values() if task.attempts} == {"onprem"}
    for name in ("second", "after", "bad"):
        assert pair.log(there, name) == pair.log(here, name)
    assert pair.log(there, "first") == b"out\nx y same-1 g\n"
    told = {
        id: {
            name: [(event.kind, event.attempt) for event in pair.events(id) if event.task == name]
            for name in results[0].results
        }
        for id in (there, here)
    }
    ready = (Kind.TASK_READY, None)
    for name, events in told[here].items():
        assert [one for one in told[there][name] if one != ready] == [one for one in events if one != ready], name
    assert [event.fields["runner"] for event in pair.events(there, Kind.GROUP_DISPATCHED)] == ["onprem"]


def test_a_secret_input_and_a_secret_output_are_in_the_clear_nowhere(pair: Pair) -> None:
    make = shell("make", f"echo it is {SECRET}; echo password={SECRET} >> $OUTPUT_FILE")
    make["exports"] = [{"name": "password", "confidential": True}]
    use = shell("use", "echo $P $I", imports=[{"from": "make", "variable": "password"}])
    use["spec"]["envs"] = {"P": "{{ .make.password }}", "I": "{{ .inputs.token }}"}
    make["spec"]["command"] = make["spec"]["command"].replace(SECRET, "$(cat $F)")
    make["spec"]["envs"] = {"F": f"{pair.folder}/secret"}
    (pair.folder / "secret").write_text(SECRET)
    inputs = {"token": {"confidential": True, "required": True}}
    with pair.client() as client:
        document = json.dumps({"inputs": inputs, "forward": ONPREM, "taskGroup": [make, use]})
        id = client.submit(document, inputs={"token": f"input-{SECRET}"}).id
    assert pair.finished(id).status is Status.SUCCESS
    assert pair.log(id, "use") == b"*** ***\n"
    assert pair.log(id, "make") == b"it is ***\n", "its log was masked again when it was exported"
    pair.has_nowhere(SECRET)


def test_it_goes_on_while_nobody_is_here(pair: Pair) -> None:
    """The edge between two tasks is the executor's affair: no word of this node is needed."""
    os.mkfifo(pair.folder / "go")
    first = shell("first", f"echo first >> {pair.folder}/started; echo begun; read x < {pair.folder}/go; echo done")
    second = shell("second", f"echo second >> {pair.folder}/started; echo 2", depends_on=["first"])
    id = pair.submit(first, second, forward=ONPREM)
    pair.until(lambda: pair.log(id, "first") == b"begun\n")
    pair.cloud.end()
    (pair.folder / "go").write_text("\n")
    pair.until(lambda: pair.grown("started") == ["first", "second"])
    pair.cloud.start()
    result = pair.finished(id)
    assert result.status is Status.SUCCESS, result
    assert (pair.log(id, "first"), pair.log(id, "second")) == (b"begun\ndone\n", b"2\n")
    assert pair.grown("started") == ["first", "second"]


@pytest.mark.parametrize("killed", ["cloud", "onprem", "both"])
def test_killed_in_between_it_goes_on_where_it_was(pair: Pair, killed: str) -> None:
    os.mkfifo(pair.folder / "go")
    tasks = [
        shell("a", f"echo a >> {pair.folder}/started; seq 1000; read x < {pair.folder}/go; echo done; exit 3"),
        shell("b", f"echo b >> {pair.folder}/started", when="always", depends_on=["a"]),
    ]
    id = pair.submit(*tasks, forward=ONPREM)
    pair.until(lambda: pair.log(id, "a").endswith(b"1000\n"))
    nodes = [pair.cloud, pair.onprem] if killed == "both" else [getattr(pair, killed)]
    for node in nodes:
        node.end()
    for node in nodes:
        node.start()
    (pair.folder / "go").write_text("\n")
    result = pair.finished(id)
    assert (result.results["a"].status, result.results["a"].exit_code) == (Status.FAILED, 3)
    assert result.results["b"].status is Status.SUCCESS
    assert pair.log(id, "a") == b"".join(b"%d\n" % n for n in range(1, 1001)) + b"done\n"
    assert pair.grown("started") == ["a", "b"]


def test_a_cancel_runs_its_clean_up_there(pair: Pair) -> None:
    tasks = [
        shell("far", f"echo $$ > {pair.folder}/pid; exec sleep 1000"),
        shell("next", "true", depends_on=["far"]),
        shell("clean", f"echo cleaned > {pair.folder}/cleaned", when="always", depends_on=["far"]),
    ]
    id = pair.submit(*tasks, forward=ONPREM)
    pid = int(pair.until(lambda: pair.grown("pid"))[0])
    with pair.client() as client:
        client.cancel(id)
    result = pair.finished(id)
    assert (result.status, result.reason) == (Status.ABORTED, "cancelled")
    assert [task.status for task in result.results.values()] == [Status.ABORTED, Status.SKIPPED, Status.SUCCESS]
    assert result.results["far"].kill is not None
    assert pair.grown("cleaned") == ["cleaned"]
    assert not Path(f"/proc/{pid}").exists()


def test_a_second_cancel_ends_clean_up_there(pair: Pair) -> None:
    clean = shell("clean", f"echo x > {pair.folder}/cleaning; sleep 1000", when="always", depends_on=["far"])
    id = pair.submit(shell("far", f"echo x > {pair.folder}/far; sleep 1000"), clean, forward=ONPREM)
    pair.until(lambda: pair.grown("far"))
    with pair.client() as client:
        client.cancel(id)
        pair.until(lambda: pair.grown("cleaning"))
        client.cancel(id, at_once=True)
    result = pair.finished(id)
    assert (result.status, result.results["clean"].status) == (Status.ABORTED, Status.ABORTED)


def test_its_timeout_ends_it_there_and_is_told_as_that(pair: Pair) -> None:
    id = pair.submit(shell("far", f"echo $$ > {pair.folder}/pid; exec sleep 1000"), forward=ONPREM, timeout=1)
    pid = int(pair.until(lambda: pair.grown("pid"))[0])
    result = pair.finished(id)
    assert (result.status, result.reason) == (Status.ABORTED, "group_timeout")
    assert (result.results["far"].status, result.results["far"].reason) == (Status.ABORTED, "group_timeout")
    assert not Path(f"/proc/{pid}").exists()


def test_fail_fast_is_decided_there(pair: Pair) -> None:
    tasks = [shell("bad", "sleep 0.2; exit 1"), shell("long", "sleep 1000"), shell("next", "true", depends_on=["long"])]
    result = pair.finished(pair.submit(*tasks, forward=ONPREM, failFast=True))
    assert (result.status, result.reason) == (Status.FAILED, "fail_fast")
    assert [(task.status, task.reason, task.because_of) for task in result.results.values()] == [
        (Status.FAILED, None, None),
        (Status.ABORTED, "fail_fast", "bad"),
        (Status.SKIPPED, "group_aborted", "bad"),
    ]


def test_it_waits_for_a_peer_that_is_away_and_says_why(pair: Pair) -> None:
    pair.onprem.end()
    pair.until(lambda: pair.has_said("peer_lost"))
    id = pair.submit(shell("a", "true"), shell("b", "true", depends_on=["a"]), forward=ONPREM)
    pair.until(lambda: pair.result(id).results["a"].waiting == "peer_unreachable")
    [waiting] = pair.events(id, Kind.GROUP_WAITING)
    assert waiting.fields["why"].startswith("onprem is away since 20")
    pair.onprem.start()
    assert pair.finished(id).status is Status.SUCCESS


def test_cancelled_while_it_waits_nothing_of_it_runs_anywhere(pair: Pair) -> None:
    pair.onprem.end()
    pair.until(lambda: pair.has_said("peer_lost"))
    touch = f"touch {pair.folder}/ran"
    id = pair.submit(shell("a", touch), shell("clean", touch, when="always"), forward=ONPREM)
    with pair.client() as client:
        client.cancel(id)
    result = pair.finished(id)
    assert result.status is Status.ABORTED
    assert {task.reason for task in result.results.values()} == {"group_aborted"}
    pair.onprem.start()
    pair.until(lambda: pair.has_said("peer_back"))
    assert pair.finished(pair.submit(shell("b", "true"), forward=ONPREM)).status is Status.SUCCESS
    assert not (pair.folder / "ran").exists()


def test_a_peer_that_stays_away_is_given_up_and_ends_what_it_has_when_it_is_back(impatient: Pair) -> None:
    pair = impatient
    tasks = [
        shell("far", f"echo $$ >> {pair.folder}/pids; sleep 1000"),
        shell("next", f"touch {pair.folder}/ran", depends_on=["far"]),
        shell("clean", f"touch {pair.folder}/ran", when="always", depends_on=["far"]),
    ]
    id = pair.submit(*tasks, forward=ONPREM)
    pid = int(pair.until(lambda: pair.grown("pids"))[0])
    pair.onprem.end()
    result = pair.finished(id)
    assert result.status is Status.ERRORED
    assert [(task.status, task.reason) for task in result.results.values()] == [
        (Status.ERRORED, "runner_lost"),
        (Status.SKIPPED, "dependency_failed"),
        (Status.ERRORED, "runner_lost"),
    ]
    assert "has been away for 5 s" in (result.results["far"].error or "")
    pair.onprem.start()
    pair.until(lambda: not Path(f"/proc/{pid}").exists())
    assert len(pair.grown("pids")) == 1


def test_pause_and_go_on(pair: Pair) -> None:
    script = f"while :; do echo x >> {pair.folder}/ticks; sleep 0.01; test -e {pair.folder}/enough && exit 0; done"
    id = pair.submit(shell("far", script), forward=ONPREM)
    pair.until(lambda: pair.result(id).results["far"].status is Status.RUNNING)
    with pair.client() as client:
        client.signal(id, "far", "pause")
        pair.until(lambda: client.result(id).results["far"].waiting == "paused")
        client.signal(id, "far", "start")
    pair.until(lambda: pair.events(id, Kind.TASK_RESUMED))
    (pair.folder / "enough").touch()
    assert pair.finished(id).status is Status.SUCCESS


def test_what_its_runner_cannot_do_is_told_of_what_would_have_begun(pair: Pair) -> None:
    """Where it goes is known too late for that to stand in the document."""
    tasks = [{"name": "a", "type": "no_such_type", "spec": {}}, shell("b", "true", depends_on=["a"])]
    where = {"inputs": {"where": {"default": "onprem"}}, "forward": {"to": "{{ .inputs.where }}"}}
    result = pair.finished(pair.submit(*tasks, **where))
    assert [(task.status, task.reason) for task in result.results.values()] == [
        (Status.ERRORED, "unknown_type"),
        (Status.SKIPPED, "dependency_failed"),
    ]
    assert "onprem has no task type 'no_such_type'" in (result.results["a"].error or "")


def test_who_is_no_peer_is_told_in_the_document(pair: Pair) -> None:
    with pair.client() as client:
        told = client.validate(json.dumps({"forward": {"to": "onprem2"}, "taskGroup": [shell("a", "true")]}))
    [fault] = told.faults
    assert "forward.to: this runner has no peer" in str(fault)


def test_the_peer_may_be_computed_from_an_input(pair: Pair) -> None:
    more = {"inputs": {"where": {"default": "onprem"}}, "forward": {"to": "{{ .inputs.where }}"}}
    result = pair.finished(pair.submit(shell("a", "true"), **more))
    assert (result.status, result.results["a"].runner) == (Status.SUCCESS, "onprem")
