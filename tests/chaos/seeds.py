"""What is played for a seed, and for the place of a sweep."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.chaos import sabotage
from tests.chaos.play import MOST_CALLS, MOST_CALLS_OF_SUPERVISORS, Plan, Played, play, random_points
from tests.chaos.sabotage import Point
from tests.chaos.scene import random_scene, small

WHOM = ("runner", "supervisor", "both")


def plan(seed: int, whom: str) -> Plan:
    """`whom`: of WHOM, who is killed."""
    chance = random.Random(f"{whom} {seed}")
    lives = random_points(chance, MOST_CALLS) if whom != "supervisor" else ()
    supervisors = random_points(chance, MOST_CALLS_OF_SUPERVISORS) if whom != "runner" else ()
    return Plan(scene=random_scene(seed, lost=whom != "runner"), lives=lives, supervisors=supervisors)


def swept(whom: str, first: int = 1, every: int = 1) -> Iterator[tuple[Plan, Played]]:
    """The small group, killed at call `first` of its life, then so many calls later each time: until a life has no such call.
    All over again with what is written cut in half."""
    scene = small(lost=whom != "runner")
    for mode in ("before", "half"):
        number, killed = first, True
        while killed:
            points = [Point(sabotage.ANY, number, mode)]
            if whom == "runner":
                what = Plan(scene=scene, lives=points)
            elif whom == "supervisor":
                what = Plan(scene=scene, supervisors=points)
            else:
                what = Plan(scene=scene, lives=points, supervisors=points)
            played = play(what)
            yield what, played
            killed = bool(played.runners_killed or played.supervisors_killed)
            number += every
