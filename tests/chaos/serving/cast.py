"""Who submits what to the node that is killed: the groups of a scene, one that works in what was uploaded, some that are cancelled at
any moment."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.scene import Actor, Group, Scene, Script, random_scene, small

ADA = "ada"
"""Who submits everything."""
EVE = "eve"
"""Who is to see nothing of it."""
BROUGHT = "brought"
DOOMED = "doomed"
FILES = {"one": b"in a file\n", "deep/er/two": b"x" * 70_000 + b"\n"}
"""What is uploaded."""


@dataclass(frozen=True, kw_only=True)
class Cast:
    """`scene` has all groups whose end is known; `doomed` those that somebody cancels whenever he likes."""

    scene: Scene
    doomed: Sequence[Group]

    @property
    def groups(self) -> Sequence[Group]:
        return [*self.scene.groups, *self.doomed]


def random_cast(seed: int, *, lost: bool) -> Cast:
    """`lost`: supervisors are killed too."""
    chance = random.Random(f"cast {seed}")
    scene = random_scene(seed, lost=lost)
    groups = list(scene.groups)
    if chance.random() < 0.5:
        groups.append(_brought())
    doomed = [_doomed(chance, f"{DOOMED}{number}") for number in range(chance.choice([0, 1, 1, 2]))]
    return Cast(scene=Scene(groups=groups, lost=lost), doomed=doomed)


def small_cast(least: float = 0.05) -> Cast:
    """Little of every kind, and always the same. What is to be cancelled works for `least` seconds a task."""
    chance = random.Random(0)
    scene = small()
    return Cast(scene=Scene(groups=[*scene.groups, _brought()]), doomed=[_doomed(chance, DOOMED, least)])


def write_files(folder: Path) -> Path:
    """What is uploaded, in a folder of its own."""
    root = folder / "given"
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def _brought() -> Group:
    script = Script()
    for name, data in FILES.items():
        script.show(1, name, data)
    return Group(id=BROUGHT, actors=[Actor(name="shows", tries=[script.ends()])])


def _doomed(chance: random.Random, id: str, least: float = 0.05) -> Group:
    """Tasks one behind the other, and clean-up."""
    actors: list[Actor] = []
    more: dict[str, Any]
    for number in range(3):
        script = Script().say(1, b"works ").do("await", "never", chance.uniform(least, least + 0.35)).say(2, b"done")
        more = {"depends_on": [f"{id}_{number - 1}"]} if number else {}
        actors.append(Actor(name=f"{id}_{number}", tries=[script.ends()], more=more))
    last = Script().say(1, b"cleans up")
    more = {"when": "always", "depends_on": [actors[-1].name]}
    actors.append(Actor(name=f"{id}_clean", tries=[last.ends()], more=more))
    return Group(id=id, actors=actors)
