"""One measured run, as a value and as a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


class BenchError(Exception):
    """Something that is needed is missing, or a contestant did not do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run. Samples of one `round` ran one after the other and are compared with each other. The names of `metrics` carry
    their unit, e.g. `tasks_per_s`, `cpu_ms_per_task`."""

    round: int
    contestant: str
    workload: str
    metrics: Mapping[str, float]


def to_line(sample: Sample) -> str:
    return json.dumps(asdict(sample), sort_keys=True)
