"""Every kind of event survives its way over the wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.event import Event, Kind
from runner.rpc.events import event_from_proto, event_to_proto
from runner.v1 import runner_pb2 as pb

TEXT = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable())
COUNT = st.integers(0, 1 << 40)
SMALL = st.integers(0, 255)
STATUS = st.sampled_from(["success", "failed", "errored", "aborted"])
STREAM = st.sampled_from(["stdout", "stderr"])
SECONDS = st.integers(0, 10_000_000).map(lambda milliseconds: milliseconds / 1000)
ENDING: dict[str, Any] = {"reason": TEXT, "exit_code": SMALL, "signal": SMALL, "error": TEXT}
KILL = st.fixed_dictionaries(
    {
        "signals": st.lists(st.tuples(TEXT, SECONDS).map(list), max_size=3),
        "containment": TEXT,
        "leftovers": SMALL,
        "left": st.lists(st.fixed_dictionaries({"pid": SMALL, "name": TEXT, "state": TEXT}), max_size=2),
    },
    optional={"survivors": SMALL},
) | st.just({"confirmed": False})

FIELDS: dict[Kind, st.SearchStrategy[dict[str, Any]]] = {
    Kind.GROUP_ACCEPTED: st.fixed_dictionaries({"name": st.just("") | TEXT, "caller": TEXT}),
    Kind.GROUP_WAITING: st.fixed_dictionaries({"waiting": TEXT}, optional={"why": TEXT, "waits_for": TEXT}),
    Kind.GROUP_READY: st.just({}),
    Kind.GROUP_DISPATCHED: st.fixed_dictionaries({"runner": TEXT}),
    Kind.GROUP_STARTED: st.just({}),
    Kind.GROUP_FINISHED: st.fixed_dictionaries({"status": STATUS}, optional={"reason": TEXT}),
    Kind.CANCEL_REQUESTED: st.fixed_dictionaries(
        {"reason": TEXT}, optional={"because_of": TEXT, "count": st.integers(1, 9), "replaced_by": TEXT}
    ),
    Kind.TASK_WAITING: st.fixed_dictionaries({"waiting": TEXT}, optional={"seconds": SECONDS, "why": TEXT}),
    Kind.TASK_READY: st.fixed_dictionaries({"waiting": TEXT}),
    Kind.TASK_DISPATCHED: st.fixed_dictionaries({"runner": TEXT}),
    Kind.TASK_STARTED: st.just({}),
    Kind.TASK_EXPORT: st.fixed_dictionaries({"name": TEXT, "confidential": st.booleans()}, optional={"cause": TEXT}),
    Kind.TASK_PAUSED: st.just({}),
    Kind.TASK_RESUMED: st.just({}),
    Kind.TASK_RETRYING: st.fixed_dictionaries({"status": STATUS, "seconds": SECONDS}, optional=ENDING),
    Kind.TASK_HELD: st.fixed_dictionaries({"status": STATUS}, optional=ENDING),
    Kind.TASK_FINISHED: st.fixed_dictionaries({"status": STATUS}, optional={**ENDING, "because_of": TEXT}),
    Kind.TASK_SKIPPED: st.fixed_dictionaries({"reason": TEXT}, optional={"because_of": TEXT}),
    Kind.KILL_REPORT: KILL,
    Kind.MASK_SKIPPED: st.fixed_dictionaries({"name": TEXT}),
    Kind.LOG_REDACTED: st.fixed_dictionaries({"stream": STREAM, "marks": COUNT, "offset": COUNT}),
    Kind.LOG_GAP: st.fixed_dictionaries({"stream": STREAM, "offset": COUNT, "bytes": COUNT}),
    Kind.PEER_LOST: st.fixed_dictionaries({"runner": TEXT}),
    Kind.PEER_BACK: st.fixed_dictionaries({"runner": TEXT}),
    Kind.LATE_RESULT: st.fixed_dictionaries({"status": STATUS}, optional={"reason": TEXT}),
}


@st.composite
def events(draw: st.DrawFn, kind: Kind) -> Event:
    of_a_task = draw(st.booleans())
    return Event(
        group="g",
        number=draw(st.integers(1, 1 << 50)),
        at=draw(st.integers(0, 4_000_000_000_000)) / 1000,
        kind=kind,
        task=draw(TEXT) if of_a_task else None,
        attempt=draw(st.integers(1, 9)) if of_a_task else None,
        fields=draw(FIELDS[kind]),
    )


def test_every_kind_is_tried_and_has_its_message() -> None:
    assert set(FIELDS) == set(Kind)
    assert {field.name for field in pb.Event.DESCRIPTOR.oneofs_by_name["fact"].fields} == {kind.value for kind in Kind}


@pytest.mark.parametrize("kind", Kind)
@given(data=st.data())
def test_there_and_back(kind: Kind, data: st.DataObject) -> None:
    event = data.draw(events(kind))
    sent = pb.Event.FromString(event_to_proto(event).SerializeToString())
    back = event_from_proto(sent, "g")
    assert back is not None
    assert abs(back.at - event.at) < 1e-6
    assert Event(**{**{name: getattr(back, name) for name in Event.__struct_fields__}, "at": event.at}) == event


def test_an_event_of_a_newer_runner_is_passed_over() -> None:
    assert event_from_proto(pb.Event(number=1), "g") is None
