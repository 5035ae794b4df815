"""Whether a document names runners that there are, judged where it is submitted."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import pytest

from drivers.registry import Registry
from runner.errors import DocumentError
from runner.model.fault import Fault
from runner.validation import Judge, Loaded, load
from runner.validation.forwarding import unknown_runners, without_peers
from taskimpl import built_in_drivers

DOCUMENT = b"""\
inputs: {site: onprem-1}
taskGroup:
- {name: a, type: os_exec, spec: {command: "true"}}
- {name: b, type: os_exec, spec: {command: "true"}, forward: {to: onprem-l}}
- {name: c, type: os_exec, spec: {command: "true"}, forward: {to: "{{ .inputs.site }}"}}
- {name: d, type: gpu, forward: {labels: {site: eu}}}
- {name: e, type: gpu, template: false, forward: {to: "{{ .inputs.site }}"}}
"""


def judged(judge: Judge) -> Loaded:
    return load(DOCUMENT, source="d.yaml", registry=Registry(built_in_drivers({})), judge=judge)


def faults(judge: Judge) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        judged(judge)
    return [str(fault) for fault in caught.value.faults if isinstance(fault, Fault)]


def knowing(peers: Collection[str]) -> Judge:
    return partial(unknown_runners, peers=peers)


def test_who_is_known_may_be_named() -> None:
    names = ["b", "c", "d", "e"]
    group = judged(knowing({"onprem-l", "{{ .inputs.site }}"})).group
    assert [task.name for task in group.tasks if task.forward is not None] == names


def test_the_nearest_name_is_told() -> None:
    assert faults(knowing({"onprem-1", "far-away"})) == [
        "d.yaml:4:67: taskGroup[1].forward.to: this runner has no peer \"onprem-l\" (did you mean 'onprem-1'?)",
        'd.yaml:7:55: taskGroup[4].forward.to: this runner has no peer "{{ .inputs.site }}" (it has far-away, onprem-1)',
    ]


def test_where_there_are_no_peers_that_is_said() -> None:
    assert faults(without_peers) == [
        'd.yaml:4:67: taskGroup[1].forward.to: this runner has no peer "onprem-l"',
        "d.yaml:5:62: warning: taskGroup[2].forward: this runner has no peers: here what is forwarded ends as errored (no_such_runner)",
        "d.yaml:6:33: warning: taskGroup[3].forward: this runner has no peers: here what is forwarded ends as errored (no_such_runner)",
        'd.yaml:7:55: taskGroup[4].forward.to: this runner has no peer "{{ .inputs.site }}"',
    ]
