"""What the runner that a task goes to says of it stands in the submitter's document, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import DocumentError
from runner.model.result import Status
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import Pair
from tests.acceptance.test_forward_whole import pair

__all__ = ["pair"]

DOCUMENT = """\
name: checked
inputs: {where: {default: onprem}}
taskGroup:
- name: near
  type: os_exec
  spec: {command: "true"}
- name: far
  type: os_exec
  forward: {to: onprem}
  spec: {command: "true"}
- name: other
  type: unheard_of
  forward: {to: onprem}
- name: later
  type: unheard_of
  forward: {to: "{{ .inputs.where }}"}
"""


def faults(pair: Pair, document: str) -> list[str]:
    with pair.client() as client:
        return [str(fault) for fault in client.validate(document, source="d.yaml").faults]


def test_faults_have_their_places(pair: Pair) -> None:
    told = faults(pair, DOCUMENT)
    [fault] = told
    assert fault.startswith('d.yaml:12:9: taskGroup[2].type: onprem: unknown task type "unheard_of" (known are ')
    with pair.client() as client, pytest.raises(DocumentError) as refused:
        client.submit(DOCUMENT, source="d.yaml")
    assert [str(fault) for fault in refused.value.faults] == told
    assert list(client_ids(pair)) == []


def client_ids(pair: Pair) -> list[str]:
    with pair.client() as client:
        return [group.id for group in client.list()]


def test_a_group_that_goes_as_a_whole_is_looked_at_too(pair: Pair) -> None:
    lines = [line for line in DOCUMENT.splitlines() if "forward:" not in line]
    told = faults(pair, "\n".join(["forward: {to: onprem}", *lines]))
    assert len([fault for fault in told if 'unknown task type "unheard_of"' in fault]) == 2


def test_who_is_away_says_it_when_he_is_back(pair: Pair) -> None:
    pair.onprem.end()
    pair.until(lambda: pair.has_said("peer_lost"))
    document = "taskGroup:\n- {name: far, type: unheard_of, forward: {to: onprem}}\n"
    assert faults(pair, document) == []
    with pair.client() as client:
        id = client.submit(document).id
    pair.onprem.start()
    result = pair.finished(id)
    assert (result.status, result.results["far"].reason) == (Status.ERRORED, "unknown_type")


def test_what_its_rules_do_not_let_this_runner_do_is_told(pair: Pair, tmp_path: Path) -> None:
    config = tmp_path / "onprem" / "runner.toml"
    config.write_text('[[rules]]\ncallers = ["cloud"]\nscopes = ["dispatch"]\ntypes = ["expression_evaluation"]\n')
    pair.onprem.end()
    pair.onprem = Node(tmp_path / "onprem" / "state", "127.0.0.1:0", options=["--config", str(config)])
    pair.onprem.start()
    address = next(it for it in pair.onprem.addresses if not it.startswith("unix:"))
    token = tmp_path / "token"
    token.write_text(pair.dispatch_token())
    cloud = tmp_path / "cloud" / "runner.toml"
    pair.cloud.end()
    cloud.write_text(f'name = "cloud"\n[peers.onprem]\ntarget = "{address}"\ntoken_file = "{token}"\n')
    pair.cloud.start()
    pair.until(lambda: pair.has_said("peer_back"))
    [told] = faults(pair, "taskGroup:\n- {name: far, type: os_exec, forward: {to: onprem}, spec: {command: id}}\n")
    assert """onprem: this runner does not let 'cloud' use the task type "os_exec\"""" in told


def test_what_was_accepted_is_not_asked_about_again(pair: Pair) -> None:
    """A repetition is answered with what was said before, whatever its runner would say by now."""
    document = "id: once\ntaskGroup:\n- {name: far, type: unheard_of, forward: {to: onprem}}\n"
    pair.onprem.end()
    pair.until(lambda: pair.has_said("peer_lost"))
    with pair.client() as client:
        first = client.submit(document)
        pair.onprem.start()
        pair.finished(first.id)
        again = client.submit(document)
    assert (again.id, again.existed) == (first.id, True)
