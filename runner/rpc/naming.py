"""What a caller calls the group that he submits: its id, and its labels."""

from __future__ import annotations

from collections.abc import Mapping

from runner.config import GROUP_ID
from runner.engine.admission import new_id
from runner.errors import UsageError
from runner.model.group import TaskGroup
from runner.v1 import runner_pb2 as pb

LONGEST_LABELS_CHARS = 16_384
"""Of all names and values together: each list of groups has them all."""


def id_of(group: TaskGroup, request: pb.SubmitTaskGroupRequest) -> str:
    """What the caller calls the group. Raises UsageError."""
    if request.id and group.id not in (None, request.id):
        raise UsageError(f"the document names the group {group.id!r}, and the request {request.id!r}: give one of them")
    return checked_id(request.id or group.id or request.spare_id)


def checked_id(id: str) -> str:
    """What the caller calls the group, or one that is made up where that is empty. Raises UsageError."""
    id = id or new_id()
    if not GROUP_ID.fullmatch(id):
        raise UsageError(
            f"{id[:200]!r} cannot be a group's id: letters, digits, '_' and '-', at most 128, beginning with a letter or digit"
        )
    return id


def labels_of(group: TaskGroup, request: pb.SubmitTaskGroupRequest) -> dict[str, str]:
    """Those of the document, and over them those of the request. Raises UsageError."""
    check_labels(request.labels)
    labels = {**group.labels, **request.labels}
    check_labels(labels)
    return labels


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises UsageError."""
    if "" in labels:
        raise UsageError("there is a label without a name: give it one, or leave it away")
    many = len(labels) > LONGEST_LABELS_CHARS  # which is told without looking at each
    if many or sum(map(len, labels)) + sum(map(len, labels.values())) > LONGEST_LABELS_CHARS:
        raise UsageError(
            f"the labels have more than {LONGEST_LABELS_CHARS:,} characters together, names and values: leave some away"
        )
