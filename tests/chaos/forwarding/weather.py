"""What is done to two nodes and the line between them while a scene is on."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

KILLS = ("origin", "executor", "both")
FAULTS = (*KILLS, *KILLS, "cut", "cut", "reset", "stall", "slow")
"""On one machine; a proxy plays those of the line."""

LINE = ("drop", "drop", "deaf-origin", "deaf-executor", "refuse", "narrow", "stall", "slow")
"""Between two network namespaces, and what the proxy can do beside. Who is deaf hears nothing, and is heard."""
LEAST = 3
"""So many of these and of the kills are in each seed."""
FULL = ("full-origin", "full-executor")
"""A full disk."""
JUMPS = ("jump-origin", "jump-executor")
"""A clock on the wall that is wrong from then on."""
EXCUSES = {
    "reboot-origin": ("cloud", frozenset({"host_restarted"})),
    "reboot-executor": ("onprem", frozenset({"host_restarted"})),
    "restore": ("onprem", frozenset({"host_restarted", "runner_lost", "cancelled", "ended_by_runner"})),
    "lost": ("onprem", frozenset({"runner_lost"})),
}
"""What may cost a task on this runner its outcome, and what is said of it then. Nothing may cost it a second start."""

SPACE = {
    "full-origin": ("cloud", frozenset({"log_failed"})),
    "full-executor": ("onprem", frozenset({"log_failed"})),
}
"""The same of a full disk: a task that prints just then is ended, for what it prints cannot be kept."""

LONG_SEEDS = 20
"""Of so many seeds one has a line that is away for more than a minute."""
LOST_SECONDS = 2.0


class Fault(NamedTuple):
    """After so many seconds; what lasts, lasts for so many."""

    after: float
    what: str
    lasts: float

    def __str__(self) -> str:
        return f"{self.what} at +{self.after:.2f} s for {self.lasts:.2f} s"


class Weather(NamedTuple):
    """`lost_after` is the origin's patience, `keepalive` that of a node with a caller who is silent, in seconds."""

    faults: Sequence[Fault]
    lost_after: float = 600.0
    keepalive: float = 30.0

    def __str__(self) -> str:
        more = f"; lost after {self.lost_after:.0f} s, keepalive {self.keepalive:.0f} s"
        return ", ".join(map(str, self.faults)) + more

    @property
    def seconds(self) -> float:
        return sum(fault.after + fault.lasts for fault in self.faults)

    @property
    def excuses(self) -> Mapping[str, frozenset[str]]:
        """By runner, the reasons for which a task may be without the outcome that it would have had."""
        found: dict[str, frozenset[str]] = {}
        for fault in self.faults:
            for runner, reasons in (known[fault.what] for known in (EXCUSES, SPACE) if fault.what in known):
                found[runner] = found.get(runner, frozenset()) | reasons
        return found


def plan(seed: int) -> Weather:
    chance = random.Random(f"faults {seed}")
    return Weather(
        [
            Fault(chance.uniform(0.0, 0.9), chance.choice(FAULTS), chance.uniform(0.05, 1.5))
            for _ in range(chance.randint(3, 6))
        ]
    )


def plan_apart(seed: int) -> Weather:
    """For two nodes with a machine each."""
    chance = random.Random(f"weather {seed}")
    rare = chance.choice((None, None, None, None, *EXCUSES))
    usual = (*KILLS, *KILLS, *LINE)
    more: tuple[str, ...] = (*usual, *FULL, "reset")
    if rare in (None, "lost"):  # across a restart of the machine it is the clock on the wall that counts
        more += JUMPS
    kinds = [chance.choice(usual) for _ in range(LEAST)] + [chance.choice(more) for _ in range(chance.randint(0, 3))]
    chance.shuffle(kinds)
    faults = [Fault(chance.uniform(0.0, 0.9), kind, chance.uniform(0.05, 2.0)) for kind in kinds]
    if rare is not None:
        lasts = chance.uniform(2 * LOST_SECONDS, 3 * LOST_SECONDS) if rare == "lost" else chance.uniform(0.05, 1.5)
        faults.insert(chance.randint(0, len(faults)), Fault(chance.uniform(0.0, 0.9), rare, lasts))
    if seed % LONG_SEEDS == LONG_SEEDS - 1:
        what = chance.choice(("drop", "deaf-origin", "deaf-executor", "stall"))
        faults.insert(chance.randint(0, len(faults)), Fault(0.5, what, chance.uniform(61.0, 90.0)))
    return Weather(
        faults,
        lost_after=LOST_SECONDS if rare == "lost" else 600.0,
        keepalive=chance.choice((1.0, 30.0)),
    )
