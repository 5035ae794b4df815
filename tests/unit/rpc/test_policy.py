from __future__ import annotations

from typing import Any

import pytest

from runner.config.service import DEFAULT_RULES, DEFAULT_SCOPES, Rule, Scope
from runner.errors import ForbiddenError
from runner.model.fault import spell_path
from runner.model.group import TaskGroup
from runner.model.task import Forward, Task
from runner.rpc import policy
from runner.rpc.identity import Caller, Identity, Kind
from runner.rpc.policy import METHODS, Need, Policy
from tests.guarded import methods

SUBMIT = frozenset({Scope.SUBMIT})


def admitted(name: str, *rules: Rule, most: frozenset[Scope] | None = None) -> Caller:
    kind = Kind.CERTIFICATE if most is None else Kind.TOKEN
    return Policy(rules).admit(Identity(name=name, kind=kind, most=most))


def group(*tasks: tuple[str, dict[str, Any]], template: bool = True) -> TaskGroup:
    return TaskGroup(
        tasks=tuple(Task(name=f"t{n}", type=type, spec=spec, template=template) for n, (type, spec) in enumerate(tasks))
    )


def faults(caller: Caller, *tasks: tuple[str, dict[str, Any]], template: bool = True) -> list[str]:
    found = policy.check(group(*tasks, template=template), caller)
    return [f"{spell_path(fault.path)}: {fault.message} ({fault.hint})" for fault in found]


def test_every_method_of_the_generated_code_is_in_the_table() -> None:
    newer = {
        "/grpc.health.v1.Health/List",  # of health checking since 1.73
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",  # tools ask for it before the older one
    }
    assert METHODS.keys() - newer == methods().keys() - newer


def test_a_method_that_is_not_in_the_table_is_refused_to_everybody() -> None:
    local = Policy(DEFAULT_RULES).admit(Identity(name="local", kind=Kind.SOCKET))
    with pytest.raises(ForbiddenError, match=r"^this runner lets nobody call this method; is it of a newer one\?$"):
        policy.authorize(None, local)


def test_without_a_rule_that_fits_nothing_is_allowed() -> None:
    for caller in (admitted("eve"), admitted("eve", Rule(callers=("ada",), scopes=frozenset(Scope)))):
        assert caller.scopes == frozenset()
        for need in (Need.IDENTITY, *Scope):
            with pytest.raises(ForbiddenError, match="no rule of this runner fits 'eve'"):
                policy.authorize(need, caller)
        assert faults(caller, ("os_exec", {})) == [
            "taskGroup[0].type: this runner does not let 'eve' use the task type \"os_exec\" (None)"
        ]


def test_the_default_lets_everybody_work_with_groups_of_his_own() -> None:
    ada = admitted("ada", *DEFAULT_RULES)
    assert ada.scopes == DEFAULT_SCOPES == frozenset(Scope) - {Scope.ADMIN, Scope.DISPATCH, Scope.SHELL, Scope.REVEAL}
    assert faults(ada, ("os_exec", {}), ("anything", {})) == []


def test_other_nodes_need_a_rule_that_means_them() -> None:
    assert admitted("node/onprem-1", *DEFAULT_RULES).rules == ()
    assert admitted("node/onprem-1", Rule(callers=("node/onprem-?",), scopes=SUBMIT)).scopes == SUBMIT
    assert admitted("onprem-1", Rule(callers=("node/*",), scopes=SUBMIT)).rules == ()


def test_scopes_of_several_rules_join_and_those_of_a_token_narrow_them() -> None:
    rules = (
        Rule(callers=("*",), scopes=frozenset({Scope.READ})),
        Rule(callers=("ops-*", "root"), scopes=frozenset({Scope.ADMIN, Scope.CANCEL})),
    )
    assert admitted("ops-ada", *rules).scopes == {Scope.READ, Scope.CANCEL, Scope.ADMIN}
    assert admitted("bob", *rules).scopes == {Scope.READ}
    narrowed = admitted("ops-ada", *rules, most=frozenset({Scope.READ, Scope.SUBMIT, Scope.ADMIN}))
    assert narrowed.scopes == {Scope.READ, Scope.ADMIN}
    policy.authorize(Scope.READ, narrowed)
    with pytest.raises(ForbiddenError, match="`cancel`, which the token of 'ops-ada' does not have"):
        policy.authorize(Scope.CANCEL, narrowed)
    with pytest.raises(ForbiddenError, match="`submit`, which no rule of this runner gives to 'ops-ada'"):
        policy.authorize(Scope.SUBMIT, narrowed)


def test_the_socket_is_the_owners_whatever_the_rules_say() -> None:
    local = Policy(()).admit(Identity(name="local", kind=Kind.SOCKET))
    assert local.scopes == frozenset(Scope)
    assert faults(local, ("os_exec", {"user": "{{ .inputs.who }}"}), ("anything", {"user": "root"})) == []


def test_task_types_that_are_not_allowed_are_told_at_their_places() -> None:
    ada = admitted("ada", Rule(callers=("ada",), scopes=SUBMIT, types=("expression_*", "http")))
    assert faults(ada, ("http", {}), ("os_exec", {}), ("expression_evaluation", {}), ("https", {})) == [
        "taskGroup[1].type: this runner does not let 'ada' use the task type \"os_exec\" (allowed: expression_*, http)",
        "taskGroup[3].type: this runner does not let 'ada' use the task type \"https\" (allowed: expression_*, http)",
    ]


def test_types_count_only_where_the_same_rule_lets_submit() -> None:
    ada = admitted(
        "ada",
        Rule(callers=("*",), scopes=frozenset({Scope.READ})),
        Rule(callers=("ada",), scopes=SUBMIT, types=("http",)),
    )
    assert len(faults(ada, ("os_exec", {}))) == 1


def test_users_that_are_not_allowed_are_told_at_their_places() -> None:
    ada = admitted("ada", Rule(callers=("ada",), scopes=SUBMIT, users=("build", "ci-*")))
    assert faults(ada, ("os_exec", {}), ("os_exec", {"user": None}), ("os_exec", {"user": "ci-7"})) == []
    assert faults(ada, ("os_exec", {"user": "root"}), ("os_exec", {"user": "1000:1000"})) == [
        "taskGroup[0].spec.user: this runner does not let 'ada' run tasks as \"root\" (allowed: build, ci-*)",
        "taskGroup[1].spec.user: this runner does not let 'ada' run tasks as \"1000:1000\" (allowed: build, ci-*)",
    ]
    eve = admitted("eve", *DEFAULT_RULES)
    assert faults(eve, ("os_exec", {"user": "root"})) == [
        "taskGroup[0].spec.user: this runner does not let 'eve' run tasks as \"root\" (leave `user` away)"
    ]


@pytest.mark.parametrize("user", ["{{ .inputs.who }}", "ci-{{ .greet.text }}", "{{ 'build' }}"])
def test_a_user_by_a_template_needs_any_user_to_be_allowed(user: str) -> None:
    ada = admitted("ada", Rule(callers=("*",), scopes=SUBMIT, users=("build", "ci-*", "?*")))
    assert len(faults(ada, ("os_exec", {"user": user}))) == 1
    assert "not by a template" in faults(ada, ("os_exec", {"user": user}))[0]
    assert "choose the user" in faults(admitted("eve", *DEFAULT_RULES), ("os_exec", {"user": user}))[0]
    anybody = admitted("ada", Rule(callers=("*",), scopes=SUBMIT, users=("*",)))
    assert faults(anybody, ("os_exec", {"user": user})) == []


def test_type_and_user_have_to_be_allowed_by_one_rule() -> None:
    ada = admitted(
        "ada",
        Rule(callers=("*",), scopes=SUBMIT, types=("os_exec",)),
        Rule(callers=("ada",), scopes=SUBMIT, types=("docker",), users=("*",)),
    )
    assert faults(ada, ("docker", {"user": "root"}), ("os_exec", {})) == []
    assert len(faults(ada, ("os_exec", {"user": "root"}))) == 1


def forwarded(caller: Caller, whole: Forward | None, *tasks: Forward | None, type: str = "os_exec") -> list[str]:
    found = policy.check(
        TaskGroup(forward=whole, tasks=tuple(Task(name=f"t{n}", type=type, forward=to) for n, to in enumerate(tasks))),
        caller,
    )
    return [f"{spell_path(fault.path)}: {fault.message} ({fault.hint})" for fault in found]


def test_targets_that_are_not_allowed_are_told_at_their_places() -> None:
    ada = admitted("ada", Rule(callers=("ada",), scopes=SUBMIT, targets=("onprem-*", "10.0.0.?:8443")))
    assert forwarded(ada, None, None, Forward(to="onprem-1"), Forward(to="10.0.0.5:8443")) == []
    assert forwarded(ada, Forward(to="onprem-1"), None) == []
    assert forwarded(ada, None, Forward(to="onprem-1"), Forward(to="cloud"), Forward(to="10.0.0.50:8443")) == [
        "taskGroup[1].forward.to: this runner does not let 'ada' forward to \"cloud\" (allowed: onprem-*, 10.0.0.?:8443)",
        "taskGroup[2].forward.to: this runner does not let 'ada' forward to \"10.0.0.50:8443\" (allowed: onprem-*, 10.0.0.?:8443)",
    ]
    assert forwarded(ada, Forward(to="cloud"), None, Forward(to="elsewhere")) == [
        "forward.to: this runner does not let 'ada' forward to \"cloud\" (allowed: onprem-*, 10.0.0.?:8443)",
        "taskGroup[1].forward.to: this runner does not let 'ada' forward to \"elsewhere\" (allowed: onprem-*, 10.0.0.?:8443)",
    ]
    here = admitted("ada", Rule(callers=("*",), scopes=SUBMIT, targets=()))
    assert forwarded(here, None, None) == []
    assert forwarded(here, None, Forward(to="onprem-1")) == [
        "taskGroup[0].forward.to: this runner does not let 'ada' forward to \"onprem-1\" (leave `forward` away)"
    ]


@pytest.mark.parametrize(
    "target", [Forward(to="{{ .inputs.where }}"), Forward(to="onprem-{{ .a.b }}"), Forward(labels={"site": "eu"})]
)
def test_a_target_that_is_decided_later_needs_any_target_to_be_allowed(target: Forward) -> None:
    ada = admitted("ada", Rule(callers=("*",), scopes=SUBMIT, targets=("onprem-*", "?*")))
    assert len(forwarded(ada, target, None)) == len(forwarded(ada, None, target)) == 1
    anywhere = admitted("ada", *DEFAULT_RULES)
    assert forwarded(anywhere, target, target) == []


def test_type_and_target_have_to_be_allowed_by_one_rule() -> None:
    ada = admitted(
        "ada",
        Rule(callers=("*",), scopes=SUBMIT, types=("os_exec",), targets=()),
        Rule(callers=("ada",), scopes=SUBMIT, types=("vault",), targets=("onprem-1",)),
    )
    there = Forward(to="onprem-1")
    assert forwarded(ada, None, there, type="vault") == forwarded(ada, there, None, type="vault") == []
    assert len(forwarded(ada, None, there)) == len(forwarded(ada, there, None)) == 1
    assert forwarded(admitted("eve"), there, there) == [
        "taskGroup[0].type: this runner does not let 'eve' use the task type \"os_exec\" (None)"
    ]


def test_where_a_hub_passes_things_on_to_the_rule_says_that_lets_it_be_dispatched_to() -> None:
    rules = (
        Rule(callers=("node/*",), scopes=frozenset({Scope.DISPATCH}), targets=("onprem-1",)),
        Rule(callers=("node/*",), scopes=SUBMIT),
    )
    cloud = admitted("node/cloud", *rules)
    for target, faulty in (("onprem-1", 0), ("onprem-2", 1)):
        passed_on = TaskGroup(tasks=(Task(name="t", type="os_exec", forward=Forward(to=target)),))
        assert len(policy.check(passed_on, cloud, scope=Scope.DISPATCH)) == faulty
        assert policy.check(passed_on, cloud) == []


def test_the_key_of_the_list_may_be_the_other_one() -> None:
    found = policy.check(group(("os_exec", {})), admitted("eve"), tasks="tasks")
    assert [spell_path(fault.path) for fault in found] == ["tasks[0].type"]


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("*", "ada", True),
        ("*", "node/ada", False),
        ("a?a", "ada", True),
        ("a?a", "a/a", False),
        ("ada", "adam", False),
        ("ada", "xada", False),
        ("a.a", "aba", False),
        ("[a]da", "ada", False),
        ("[a]da", "[a]da", True),
        ("ada@*.example", "ada@eu.example", True),
        ("*", "", True),
        ("*", "a\nb", True),
    ],
)
def test_patterns(pattern: str, name: str, does: bool) -> None:
    assert policy.fits((pattern,), name) is does
    assert policy.fits(("nobody", pattern), name) is does
    assert not policy.fits((), name)
