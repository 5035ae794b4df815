"""Samples as a picture: panels one below the other, SVG without anything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from msgspec import Struct

from tests.soak.sampling import Sample

_WIDTH, _LEFT, _RIGHT, _TOP = 900, 70, 20, 46
_PANEL, _GAP = 120, 44
_COLOURS = ("#1b6ca8", "#d1495b", "#66a182")
_POINTS = 400


class Line(Struct, frozen=True, kw_only=True):
    name: str
    of: Callable[[Sample], float]


class Panel(Struct, frozen=True, kw_only=True):
    title: str
    lines: Sequence[Line]


PANELS = (
    Panel(
        title="memory, MiB",
        lines=[
            Line(name="node", of=lambda sample: sample.node_memory),
            Line(name="supervisor", of=lambda sample: sample.supervisor_memory),
        ],
    ),
    Panel(
        title="descriptors and threads",
        lines=[
            Line(name="descriptors of the node", of=lambda sample: sample.node_descriptors),
            Line(name="of the supervisor", of=lambda sample: sample.supervisor_descriptors),
            Line(name="threads of the node", of=lambda sample: sample.node_threads),
        ],
    ),
    Panel(title="groups in flight", lines=[Line(name="in flight", of=lambda sample: sample.in_flight)]),
    Panel(
        title="on disk, MiB (history is kept)",
        lines=[
            Line(name="database", of=lambda sample: sample.database),
            Line(name="write-ahead log", of=lambda sample: sample.write_ahead_log),
            Line(name="logs", of=lambda sample: sample.logs),
        ],
    ),
)


def draw(samples: Sequence[Sample], title: str, panels: Sequence[Panel] = PANELS) -> str:
    """An SVG document."""
    height = _TOP + len(panels) * (_PANEL + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(samples, panel, _TOP + number * (_PANEL + _GAP))
    return "\n".join([*parts, "</svg>", ""])


def _panel(samples: Sequence[Sample], panel: Panel, top: float) -> list[str]:
    highest = _round_up(max(line.of(sample) for line in panel.lines for sample in samples))
    seconds = samples[-1].at or 1.0
    wide = _WIDTH - _LEFT - _RIGHT

    def x(at: float) -> float:
        return _LEFT + wide * at / seconds

    def y(value: float) -> float:
        return top + _PANEL * (1 - value / highest)

    parts = [f'<text x="{_LEFT}" y="{top - 6}" font-weight="bold">{escape(panel.title)}</text>']
    for share in (0, 0.5, 1):
        at = y(highest * share)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{highest * share:,g}</text>')
    below = f'y="{top + _PANEL + 15}" text-anchor="middle" fill="#666"'
    parts += [f'<text x="{x(minute * 60):.1f}" {below}>{minute:g} min</text>' for minute in _ticks(seconds)]
    thinned = samples[:: max(1, len(samples) // _POINTS)]
    place = _WIDTH - _RIGHT
    for colour, line in reversed(list(zip(_COLOURS, panel.lines, strict=False))):
        points = " ".join(f"{x(sample.at):.1f},{y(line.of(sample)):.1f}" for sample in thinned)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{place}" y="{top - 6}" text-anchor="end" fill="{colour}">{escape(line.name)}</text>')
        place -= 8 * len(line.name) + 10
    return parts


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, …"""
    size = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= size * factor:
                return size * factor
        size *= 10


def _ticks(seconds: float) -> list[float]:
    minutes = seconds / 60
    step = _round_up(minutes / 8) if minutes > 4 else 0.5
    return [number * step for number in range(int(minutes / step) + 1)]
