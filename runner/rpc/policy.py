"""Who may do what: which scope every method wants, what the rules of a node give whom, and what a group may ask for.

All of it fails closed: a method that is not in the table is refused, and so is a caller whom no rule fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache

from msgspec.structs import replace

from runner.config.service import Rule, Scope
from runner.errors import ForbiddenError
from runner.model.caller import LOCAL
from runner.model.fault import Fault, quote
from runner.model.group import TaskGroup
from runner.model.task import Forward, Task
from runner.rpc.identity import Caller, Identity, Kind

ANYTHING = "*"
_TEMPLATE = "{{"
_CALLERS_KEPT = 4096


class Need(StrEnum):
    """What a method wants of whoever calls it, where that is no scope."""

    NOTHING = "nothing"
    """Also of those of whom nobody knows who they are: a load balancer asks for the node's health."""
    IDENTITY = "identity"
    """That some rule fits him."""


METHODS: Mapping[str, Scope | Need] = {
    "/runner.v1.RunnerService/SubmitTaskGroup": Scope.SUBMIT,
    "/runner.v1.RunnerService/RerunTaskGroup": Scope.SUBMIT,
    "/runner.v1.RunnerService/ValidateTaskGroup": Scope.SUBMIT,
    "/runner.v1.RunnerService/UploadWorkspace": Scope.SUBMIT,
    "/runner.v1.RunnerService/GetTaskGroup": Scope.READ,
    "/runner.v1.RunnerService/ExplainTaskGroup": Scope.READ,
    "/runner.v1.RunnerService/ListTaskGroups": Scope.READ,
    "/runner.v1.RunnerService/WatchTaskGroup": Scope.READ,
    "/runner.v1.RunnerService/ReadLog": Scope.READ,
    "/runner.v1.RunnerService/CancelTaskGroup": Scope.CANCEL,
    "/runner.v1.RunnerService/SignalTask": Scope.CANCEL,
    "/runner.v1.RunnerService/RemoveTaskGroup": Scope.REMOVE,
    "/runner.v1.RunnerService/Shell": Scope.SHELL,
    "/runner.v1.RunnerService/DescribeRunner": Need.IDENTITY,
    "/runner.v1.PeerService/Session": Scope.DISPATCH,
    "/runner.v1.PeerService/Shell": Scope.SHELL,
    "/grpc.health.v1.Health/Check": Need.NOTHING,
    "/grpc.health.v1.Health/List": Need.NOTHING,
    "/grpc.health.v1.Health/Watch": Need.NOTHING,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Need.IDENTITY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Need.IDENTITY,
}
"""By the path of a call."""

OWNER = Rule(callers=(LOCAL,), scopes=frozenset(Scope), users=(ANYTHING,))
"""What `local` may do, whatever the rules say: he could change them."""


class Policy:
    """What the rules of a node give whom."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._of = lru_cache(_CALLERS_KEPT)(self._find)

    def admit(self, identity: Identity) -> Caller:
        """The caller with what he may do. Scopes of several rules that fit him join; a token's only narrow them."""
        rules = (OWNER,) if identity.kind is Kind.SOCKET else self._of(identity.name)
        scopes = _joined(rules)
        if identity.most is not None:
            scopes &= identity.most
        return Caller(name=identity.name, kind=identity.kind, scopes=scopes, rules=rules)

    def _find(self, name: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self._rules if fits(rule.callers, name))


def authorize(need: Scope | Need | None, caller: Caller) -> None:
    """Raises ForbiddenError unless `caller` has what a method wants; None is what one wants that is not in the table."""
    if need is None:
        raise ForbiddenError("this runner lets nobody call this method; is it of a newer one?")
    if not caller.rules:
        raise ForbiddenError(f"no rule of this runner fits {caller.name!r}: ask whoever runs it for one")
    if isinstance(need, Scope) and need not in caller.scopes:
        if need in _joined(caller.rules):
            raise ForbiddenError(f"this needs the scope `{need}`, which the token of {caller.name!r} does not have")
        raise ForbiddenError(f"this needs the scope `{need}`, which no rule of this runner gives to {caller.name!r}")


def on_behalf_of(caller: Caller, submitter: str) -> Caller:
    """`caller`, who dispatches what `submitter` has submitted to him, with the rules that hold for that."""
    rules = tuple(rule for rule in caller.rules if Scope.DISPATCH in rule.scopes and fits(rule.on_behalf_of, submitter))
    return replace(caller, rules=rules)


def check(group: TaskGroup, caller: Caller, tasks: str = "taskGroup", scope: Scope = Scope.SUBMIT) -> list[Fault]:
    """What of the group its submitter may not use, in the order of the document, whose list of tasks has the key `tasks`. A
    task is allowed whose type, user and target one rule gives together, which gives the `scope`, too."""
    rules = [rule for rule in caller.rules if scope in rule.scopes]
    faults = []
    if group.forward is not None:
        rules, found = _check_target(group.forward, ("forward",), rules, caller)
        faults += found
    for number, task in enumerate(group.tasks):
        if task.joins:
            continue  # nothing is run for it
        allowing = [rule for rule in rules if fits(rule.types, task.type)]
        if not allowing:
            faults.append(
                Fault(
                    path=(tasks, number, "type"),
                    message=f"this runner does not let {caller.name!r} use the task type {quote(task.type)}",
                    hint=_allowed(rule.types for rule in rules),
                )
            )
            continue
        if task.forward is not None:
            allowing, found = _check_target(task.forward, (tasks, number, "forward"), allowing, caller)
            faults += found
        fault = _check_user(task, (tasks, number, "spec", "user"), allowing, caller)
        if fault is not None:
            faults.append(fault)
    return faults


def _check_target(
    forward: Forward, path: tuple[str | int, ...], rules: list[Rule], caller: Caller
) -> tuple[list[Rule], list[Fault]]:
    """Those of `rules` that let it go there; where none does all of them, and what is wrong."""
    anywhere = [rule for rule in rules if ANYTHING in rule.targets]
    if forward.to is None:
        key, allowing = "labels", anywhere
        message = f"this runner does not let {caller.name!r} leave to labels where something runs"
    elif _TEMPLATE in forward.to:
        key, allowing = "to", anywhere
        message = f"this runner does not let {caller.name!r} say by a template where something runs"
    else:
        key, allowing = "to", [rule for rule in rules if rule in anywhere or fits(rule.targets, forward.to)]
        message = f"this runner does not let {caller.name!r} forward to {quote(forward.to)}"
    if allowing or not rules:
        return allowing, []
    hint = _allowed(rule.targets for rule in rules) or "leave `forward` away"
    return rules, [Fault(path=(*path, key), message=message, hint=hint)]


def _check_user(task: Task, path: tuple[str | int, ...], rules: list[Rule], caller: Caller) -> Fault | None:
    """`spec.user` of a task of any type that has one."""
    user = task.spec.get("user")
    if user is None or any(ANYTHING in rule.users for rule in rules):
        return None
    text = str(user)
    if task.template and _TEMPLATE in text:
        message = f"this runner lets {caller.name!r} name a user for a task, but not by a template"
        if not any(rule.users for rule in rules):
            message = f"this runner does not let {caller.name!r} choose the user of a task"
    elif any(fits(rule.users, text) for rule in rules):
        return None
    else:
        message = f"this runner does not let {caller.name!r} run tasks as {quote(text)}"
    return Fault(path=path, message=message, hint=_allowed(rule.users for rule in rules) or "leave `user` away")


def _allowed(patterns: Iterable[tuple[str, ...]]) -> str | None:
    """What a hint says is allowed; None where nothing is."""
    names = dict.fromkeys(pattern for some in patterns for pattern in some)
    return f"allowed: {', '.join(names)}" if names else None


def fits(patterns: Iterable[str], name: str) -> bool:
    """Whether one of `patterns` fits the whole of `name`; `*` and `?` fit no `/`."""
    return any(_compiled(pattern).fullmatch(name) for pattern in patterns)


@lru_cache(_CALLERS_KEPT)
def _compiled(pattern: str) -> re.Pattern[str]:
    wild = {"*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(wild.get(character) or re.escape(character) for character in pattern))


def _joined(rules: tuple[Rule, ...]) -> frozenset[Scope]:
    return frozenset().union(*(rule.scopes for rule in rules))
