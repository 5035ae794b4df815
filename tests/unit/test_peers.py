"""Where a task goes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from runner.dispatch.base import Dispatcher
from runner.dispatch.remote import RemoteDispatcher
from runner.engine.targets import Refusal, Unreachable
from runner.logs.memory import MemoryLogStore
from runner.model.dispatch import AttemptId, Dispatch
from runner.model.load import Load
from runner.model.session import ExecutorHello
from runner.model.task import Forward, Task
from runner.peers import Own, Peers
from runner.simulator.clock import VirtualClock
from tests.unit.dispatch.harness import bindings

TASK = Task(name="t", type="probe")
IDLE = Load(slots=4, taken=0, waiting=0)
AT_REST = Load(slots=4, taken=0, waiting=0)


class Types:
    types = frozenset({"probe"})

    def trouble(self, type: str) -> str | None:
        return "plugin torn 1.0: it is broken" if type == "torn" else None


class Here:
    name = "cloud"


def peer(
    name: str,
    *,
    there: bool = True,
    load: Load = IDLE,
    types: str = "probe",
    unusable: Mapping[str, str] | None = None,
    **labels: str,
) -> RemoteDispatcher:
    clock = VirtualClock()
    dispatcher = RemoteDispatcher(
        name, node="n", own_name="cloud", clock=clock, logs=MemoryLogStore(call_soon=clock.call_soon), lost_after=300.0
    )
    if there:
        hello = ExecutorHello(
            node=name,
            name=name,
            instance=f"i-{name}",
            types=frozenset({types}),
            unusable=unusable or {},
            labels=labels,
            load=load,
        )
        dispatcher.connected(hello, lambda message: None)
    return dispatcher


def peers(*others: RemoteDispatcher, labels: Mapping[str, str] | None = None, load: Load = AT_REST) -> Peers:
    here: Dispatcher = Here()  # type: ignore[assignment] # nothing of it is asked for but its name
    own = Own(dispatcher=here, types=Types(), labels=lambda: labels or {}, load=lambda: load)
    return Peers(own, others)


def chosen(targets: Peers, forward: Forward, task: Task = TASK) -> str:
    """The name of the runner, or why there is none."""
    choice = targets.choose(forward, (task.type,))
    if isinstance(choice, Unreachable):
        return f"away: {choice.why}"
    if isinstance(choice, Refusal):
        return f"{choice.reason}: {choice.message}"
    return choice.name


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("onprem-1", "onprem-1"),
        ("cloud", "cloud"),
        ("onprem-3", "away: onprem-3 is away since 2023-11-14T22:13:20Z"),
        ("onprem-2x", "no_such_runner: this runner has no peer 'onprem-2x' (did you mean 'onprem-3'?)"),
        ("nothing-of-the-kind", "no_such_runner: this runner has no peer 'nothing-of-the-kind' (known are cloud, onprem-1, onprem-3, other)"),
        ("other", "unknown_type: other has no task type 'probe': it can do vault"),
    ],
)  # fmt: skip
def test_by_its_name(to: str, expected: str) -> None:
    targets = peers(peer("onprem-1"), peer("onprem-3", there=False), peer("other", types="vault"))
    assert chosen(targets, Forward(to=to)) == expected


def test_by_labels_it_is_the_one_with_the_least_to_do() -> None:
    busy, idle = Load(slots=4, taken=4, waiting=4), Load(slots=40, taken=4, waiting=0)
    targets = peers(peer("a", load=busy, site="eu"), peer("b", load=idle, site="eu"), peer("c", site="us"))
    assert chosen(targets, Forward(labels={"site": "eu"})) == "b"


def test_names_break_ties() -> None:
    targets = peers(peer("b", site="eu"), peer("a", site="eu"), labels={"site": "eu"})
    assert chosen(targets, Forward(labels={"site": "eu"})) == "a"


def test_it_may_be_this_runner_itself() -> None:
    targets = peers(peer("onprem", gpu="false"), labels={"gpu": "true"})
    assert chosen(targets, Forward(labels={"gpu": "true"})) == "cloud"


def test_what_each_lacks_is_told() -> None:
    targets = peers(
        peer("a", site="us"), peer("b", site="eu", types="vault"), peer("c", there=False), labels={"gpu": "true"}
    )
    why = chosen(targets, Forward(labels={"site": "eu"}))
    assert why.startswith(
        "away: no runner fits site=eu: cloud has no label site; a has site=us; b has no task type 'probe'; c is away since "
    )


def test_why_a_type_cannot_be_used_is_told() -> None:
    targets = peers(peer("a", unusable={"torn": "its service is down"}), peer("b"))
    task = Task(name="t", type="torn")
    assert chosen(targets, Forward(to="a"), task) == (
        "unknown_type: a cannot carry out the task type 'torn': its service is down"
    )
    assert chosen(targets, Forward(labels={}), task) == (
        "away: no runner fits : cloud cannot carry out the task type 'torn' (plugin torn 1.0: it is broken); "
        "a cannot carry out the task type 'torn' (its service is down); b has no task type 'torn'"
    )


def test_of_many_the_first_are_told() -> None:
    why = chosen(peers(*(peer(f"p{number:02}") for number in range(50))), Forward(labels={"site": "eu"}))
    assert why.endswith("p18 has no label site; and 31 more")


def test_an_executor_is_found_by_the_name_that_was_written_down() -> None:
    onprem = peer("onprem", there=False)
    targets = peers(onprem)
    assert targets.named("onprem") is onprem
    assert targets.named("cloud") is targets.here
    assert targets.named("a-former-name-of-this-runner") is targets.here
    assert [dispatcher.name for dispatcher in targets.all()] == ["cloud", "onprem"]


def test_who_comes_and_goes_is_told() -> None:
    told: list[tuple[str, bool]] = []
    onprem = peer("onprem", there=False)
    peers(onprem).subscribe(lambda name, there: told.append((name, there)), lambda executor: None)
    hello = ExecutorHello(node="n", name="their-own-name", instance="i", load=IDLE)
    onprem.connected(hello, lambda message: None)
    onprem.disconnected("cut")
    assert told == [("onprem", True), ("onprem", False)]


def test_what_was_given_since_its_load_was_told_counts() -> None:
    """A burst of tasks does not all go to who had the least to do when it began."""
    targets = peers(peer("a", site="eu"), peer("b", site="eu"))
    took: list[str] = []
    for number in range(6):
        choice = targets.choose(Forward(labels={"site": "eu"}), (TASK.type,))
        assert isinstance(choice, RemoteDispatcher)
        took.append(choice.name)
        id = AttemptId("g", f"t{number}", 1)
        choice.submit(Dispatch(id=id, instance="i", task=TASK, bindings=bindings(), workspace=""))
    assert took == ["a", "b", "a", "b", "a", "b"]


def test_who_fits_is_asked_anew_when_somebody_comes_goes_or_is_called_otherwise() -> None:
    a, b = peer("a", site="eu"), peer("b", there=False)
    own = {"site": "us"}
    targets = peers(a, b, labels=own)
    targets.subscribe(lambda name, there: None, lambda executor: None)
    eu = Forward(labels={"site": "eu"})
    assert chosen(targets, eu) == "a"
    a.disconnected("cut")
    assert chosen(targets, eu).startswith("away: no runner fits site=eu")
    hello = ExecutorHello(
        node="b", name="b", instance="i", types=frozenset({"probe"}), labels={"site": "eu"}, load=IDLE
    )
    b.connected(hello, lambda message: None)
    assert chosen(targets, eu) == "b"
    targets.remove("b", "it is gone")
    assert chosen(targets, eu).startswith("away: ")
    own["site"] = "eu"
    assert chosen(targets, eu) == "cloud"
    targets.add(peer("c", site="eu"))
    assert chosen(targets, eu) == "c"


def test_labels_do_not_choose_a_runner_that_the_group_came_by() -> None:
    targets = peers(peer("a", site="eu"), peer("b", site="eu"))
    eu = Forward(labels={"site": "eu"})
    for hops, told in (((), "a"), (("first (x)", "whatever-it-is-called (a)"), "b")):
        choice = targets.choose(eu, (TASK.type,), hops)
        assert isinstance(choice, RemoteDispatcher)
        assert choice.name == told
    nobody = targets.choose(eu, (TASK.type,), ("one (a)", "two (b)"))
    assert isinstance(nobody, Unreachable)
    assert nobody.why == (
        "no runner fits site=eu: cloud has no label site; a is one of the runners that the group came by; "
        "b is one of the runners that the group came by"
    )


def test_an_address_is_asked_for_once() -> None:
    asked: list[str] = []

    def reach(address: str) -> RemoteDispatcher | None:
        asked.append(address)
        return peer(address) if address.startswith("10.") else None

    here: Dispatcher = Here()  # type: ignore[assignment] # nothing of it is asked for but its name
    own = Own(dispatcher=here, types=Types(), labels=dict, load=lambda: AT_REST)
    targets = Peers(own, reach=reach)
    for _ in range(2):
        assert chosen(targets, Forward(to="10.0.0.5:8443")) == "10.0.0.5:8443"
    assert asked == ["10.0.0.5:8443"]
    assert targets.named("10.0.0.6:8443").name == "10.0.0.6:8443"
    assert targets.named("192.168.0.1:1").name == "cloud"
    assert chosen(targets, Forward(to="192.168.0.1:1")).startswith("no_such_runner")


@pytest.mark.parametrize(
    ("first", "second", "refused"), [("a", "b", "a"), ("a", "10.0.0.1:1", "a"), ("10.0.0.1:1", "a", None)]
)
def test_a_runner_of_two_names_is_known_by_the_first_and_an_address_gives_way(
    first: str, second: str, refused: str | None
) -> None:
    one, other = peer(first), peer(second, there=False)
    peers(one, other)
    hello = one.hello
    assert hello is not None
    assert other.namesake(hello) == refused
    assert other.namesake(replace(hello, node="another")) is None
    one.submit(Dispatch(id=AttemptId("g", "t", 1), instance="i", task=TASK, bindings=bindings(), workspace=""))
    one.disconnected("cut")
    assert other.namesake(hello) == first, "it has something, which would be ended"
