"""What a driver is given for one attempt."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from drivers.base import LogSink, ProcessHost, Spec
from runner.dispatch.foresight import Foresight, Look
from runner.dispatch.secrets import Secrets
from runner.model.value import Bindings


class AttemptContext(Struct, kw_only=True):
    """The `TaskContext` of `LocalDispatcher`."""

    group_id: str
    group_name: str
    task_name: str
    attempt: int
    spec: Spec
    bindings: Bindings
    env: Mapping[str, str]
    workspace: str
    temp: str
    timeout: float | None
    grace: float
    log: LogSink
    processes: ProcessHost
    secrets: Secrets
    foresight: Foresight | None = None
    """Of a task with confidential exports."""

    def foresee_exports(self, look: Look) -> None:
        if self.foresight is not None:
            self.foresight.look = look

    def add_mask(self, name: str, text: str) -> None:
        given: tuple[object, object] = (name, text)
        if not all(isinstance(one, str) for one in given):
            raise TypeError(f"add_mask wants two texts, and not {type(name).__name__} and {type(text).__name__}")
        self.secrets.add(name, text)

    def is_confidential(self, text: str) -> bool:
        return self.secrets.contains(text)
