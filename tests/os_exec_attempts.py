"""Attempts of `os_exec`, put together as `LocalDispatcher` does it, for the tests of the driver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivers.base import LogSink, ProcessHost
from runner.dispatch.context import AttemptContext
from runner.dispatch.secrets import Secrets
from runner.model.value import Bindings
from taskimpl.os_exec import OsExecDriver, OsExecSpec
from tests.contract.process_labs import PATH, Sink

BASE_ENV = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TZ": "UTC", "SECRET_OF_THE_RUNNER": "x"}
KEY = "group-1/build/1"


def driver() -> OsExecDriver:
    return OsExecDriver(BASE_ENV)


def context(
    folder: Path,
    host: ProcessHost,
    spec: Mapping[str, Any],
    *,
    log: LogSink | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    grace: float = 10.0,
) -> AttemptContext:
    """One attempt of the task `build`: its workspace is `folder/workspace`, its private folder `folder/temp`."""
    for name in ("workspace", "temp"):
        (folder / name).mkdir(exist_ok=True, mode=0o700)
    bindings = Bindings(group_id="group-1", group_name="deploy", task_name="build", task_attempt=1)
    return AttemptContext(
        group_id="group-1",
        group_name="deploy",
        task_name="build",
        attempt=1,
        spec=OsExecSpec.model_validate(spec),
        bindings=bindings,
        env=env or {},
        workspace=str(folder / "workspace"),
        temp=str(folder / "temp"),
        timeout=timeout,
        grace=grace,
        log=log or Sink(),
        processes=host,
        secrets=Secrets(lambda name: None),
    )
