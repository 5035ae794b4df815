"""Flat or not: a line is fitted through what was sampled behind the warm-up, and may rise by so much and no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import linear_regression, median

from msgspec import Struct

from tests.soak.sampling import Sample

WARM_UP = 0.25
"""Which part of the time counts as such."""


class Series(Struct, frozen=True, kw_only=True):
    """Something that has to stay as it is. It may rise by `share` of its median, or by `least` where that is more."""

    name: str
    unit: str
    of: Callable[[Sample], float]
    share: float
    least: float


SERIES = (
    Series(name="memory of the node", unit="MiB", of=lambda sample: sample.node_memory, share=0.05, least=4),
    Series(
        name="memory of the supervisor", unit="MiB", of=lambda sample: sample.supervisor_memory, share=0.05, least=2
    ),
    Series(name="descriptors of the node", unit="", of=lambda sample: sample.node_descriptors, share=0.10, least=20),
    Series(
        name="descriptors of the supervisor",
        unit="",
        of=lambda sample: sample.supervisor_descriptors,
        share=0.10,
        least=20,
    ),
    Series(name="threads of the node", unit="", of=lambda sample: sample.node_threads, share=0.10, least=4),
    Series(name="write-ahead log", unit="MiB", of=lambda sample: sample.write_ahead_log, share=0.25, least=8),
)


class Finding(Struct, frozen=True, kw_only=True):
    """`rise` is that of the fitted line over the time that counts, `most` what was allowed."""

    series: Series
    median: float
    highest: float
    rise: float
    most: float

    @property
    def flat(self) -> bool:
        return self.rise <= self.most

    def __str__(self) -> str:
        middle, highest = (f"{value:,.1f} {self.series.unit}".strip() for value in (self.median, self.highest))
        told = f"{self.series.name}: median {middle}, at most {highest}"
        verdict = "flat" if self.flat else "NOT FLAT"
        return f"{told}, fitted line {self.rise:+,.1f} (allowed +{self.most:,.1f}): {verdict}"


def judge(samples: Sequence[Sample]) -> list[Finding]:
    """Needs two samples behind the warm-up."""
    begin = samples[0].at + (samples[-1].at - samples[0].at) * WARM_UP
    counted = [sample for sample in samples if sample.at >= begin]
    return [_finding(series, counted) for series in SERIES]


def _finding(series: Series, samples: Sequence[Sample]) -> Finding:
    times, values = [sample.at for sample in samples], [series.of(sample) for sample in samples]
    slope, _ = linear_regression(times, values)
    middle = median(values)
    return Finding(
        series=series,
        median=middle,
        highest=max(values),
        rise=slope * (times[-1] - times[0]),
        most=max(series.share * middle, series.least),
    )
