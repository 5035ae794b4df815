"""Plays a cast against a node of its own: both are killed again and again, and go on, until all is over."""

from __future__ import annotations

import asyncio
import os
import random
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from runner.cli import main
from runner.config.service import Scope
from runner.tokens import Tokens
from tests.chaos import judge, sabotage, supervisor
from tests.chaos.life import SLOTS, settings_of
from tests.chaos.play import (
    MOST_CALLS_OF_SUPERVISORS,
    a_folder,
    begin,
    in_a_process,
    random_points,
    usual_descriptors,
)
from tests.chaos.sabotage import Point
from tests.chaos.scene import ALONE
from tests.chaos.serving import rpcs
from tests.chaos.serving.caller import Troupe
from tests.chaos.serving.cast import ADA, EVE, Cast, random_cast, small_cast, write_files
from tests.chaos.serving.judge import ServedJudge

MOST_CALLS = {
    sabotage.ANY: 900,
    sabotage.MESSAGE: 60,
    sabotage.FILE: 250,
    sabotage.COMMIT: 60,
    sabotage.PROCESS: 2,
    rpcs.RPC: 200,
}
"""About how many a life of a node has in which all is done."""
MOST_CALLS_OF_CALLERS = {sabotage.FILE: 400}
LONGEST_SECONDS = 120.0
"""How long it may take until all is over."""
_SCOPES = {ADA: frozenset({Scope.SUBMIT, Scope.READ, Scope.CANCEL}), EVE: frozenset({Scope.READ, Scope.CANCEL})}
_KILLED = (-signal.SIGKILL, -signal.SIGALRM)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`nodes`, `callers` and `supervisors` are when each of their lives is killed; the one after the last is left alone."""

    cast: Cast
    nodes: Sequence[Point] = ()
    callers: Sequence[Point] = ()
    supervisors: Sequence[Point] = ()

    def __str__(self) -> str:
        groups = ", ".join(f"{group.id} ({' '.join(group.tasks)})" for group in self.cast.groups)
        told = [groups]
        for whom, points in (("nodes", self.nodes), ("callers", self.callers), ("supervisors", self.supervisors)):
            told.append(f"{whom} killed: {' '.join(map(str, points)) or 'none'}")
        return "; ".join(told)


def random_plan(seed: int, whom: str) -> Plan:
    """`whom`: of `seeds.WHOM`, with node for runner; callers are killed in every second of them."""
    chance = random.Random(f"serving {whom} {seed}")
    nodes = random_points(chance, MOST_CALLS) if whom != "supervisor" else ()
    supervisors = random_points(chance, MOST_CALLS_OF_SUPERVISORS) if whom != "node" else ()
    callers = random_points(chance, MOST_CALLS_OF_CALLERS) if chance.random() < 0.5 else ()
    cast = random_cast(seed, lost=whom != "node")
    return Plan(cast=cast, nodes=nodes, callers=callers, supervisors=supervisors)


def swept(kind: str, first: int, every: int) -> Iterator[tuple[Plan, Played]]:
    """The node of a small cast, killed at the `first` call of a kind, then so many calls later each time, until a life has no such
    call."""
    number, killed = first, True
    while killed:
        plan = Plan(cast=small_cast(), nodes=[Point(kind, number)])
        played = play(plan)
        yield plan, played
        killed = bool(played.nodes_killed)
        number += every


@dataclass(kw_only=True)
class Played:
    """What came of it."""

    nodes_killed: int = 0
    callers_killed: int = 0
    supervisors_killed: int = 0
    faults: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What each life said, for whoever looks for the cause."""


class Lives:
    """One life after the other, of a node or of its callers."""

    def __init__(
        self, name: str, work: Callable[[int, Point], object], points: Sequence[Point], played: Played
    ) -> None:
        """`work` is given the number of its life, and when it is to be killed."""
        self.killed = 0
        self._name = name
        self._work = work
        self._points = list(points)
        self._played = played
        self._number = 0
        self._said = bytearray()
        self._begin()

    def _begin(self) -> None:
        self._point = self._points.pop(0) if self._points else sabotage.NEVER
        self.pid, self.pipe = begin(partial(self._work, self._number, self._point))
        self._number += 1
        self._said.clear()

    @property
    def serves(self) -> bool:
        """Whether a node has come that far."""
        return b'"node_serving"' in self._said

    def listen(self) -> int | None:
        """To what it says; its status, once it has ended."""
        data = os.read(self.pipe, 65536)
        self._said += data
        if data:
            return None
        os.close(self.pipe)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        words = self._said.decode(errors="replace")
        self._played.told.append(f"{self._name} {self._point} ended with {status}: {words}")
        if "never retrieved" in words or '"level": "critical"' in words:
            self._played.faults.append(f"{self._name} {self._point} lost an error")
        return status

    def again(self) -> None:
        self.killed += 1
        self._begin()

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pipe)


def play(plan: Plan) -> Played:
    played = Played()
    with a_folder() as folder:
        state, outside = folder / "state", folder / "outside"
        outside.mkdir()
        for group in plan.cast.groups:
            group.write(outside)
        write_files(outside)
        tokens = {
            name: Tokens(state).create(name, now=time.time(), scopes=scopes)[1] for name, scopes in _SCOPES.items()
        }
        python = supervisor.make(folder, plan.supervisors) if plan.supervisors else None
        nodes = Lives("node", partial(_serve, state, python), plan.nodes, played)
        callers = Lives("callers", partial(_call, plan.cast, outside, state, tokens), plan.callers, played)
        try:
            _until_all_is_over(nodes, callers, outside, plan, played)
        finally:
            played.nodes_killed, played.callers_killed = nodes.killed, callers.killed
            played.supervisors_killed = supervisor.kills(folder, plan.supervisors, state / "supervisor.log")
        if not played.faults:
            judged = ServedJudge(plan.cast, state, outside, usual_descriptors(), folder / supervisor.STARTED)
            status, words = in_a_process(judged.tell)
            played.faults += [words] if status else words.splitlines()
        judge.end_supervisor(state)
        shutil.rmtree(settings_of(state).temp_dir(state), ignore_errors=True)
    return played


def _until_all_is_over(nodes: Lives, callers: Lives, outside: Path, plan: Plan, played: Played) -> None:
    """The callers end when all is over; then the node is asked to end, and does."""
    until = time.monotonic() + LONGEST_SECONDS
    living = {nodes.pipe: nodes, callers.pipe: callers}
    stuck = ending = asked = False
    while living:
        ready, _, _ = select.select(list(living), [], [], max(0.0, until - time.monotonic()))
        if not ready:
            played.faults.append("it takes too long")
            if stuck:
                break
            stuck = True
            for lives in living.values():
                os.kill(lives.pid, signal.SIGABRT)  # it says where it is
            until += LONGEST_SECONDS
        for pipe in ready:
            lives = living[pipe]
            status = lives.listen()
            if status is None:
                continue
            del living[pipe]
            ending = ending or (lives is callers and status not in _KILLED)
            asked = asked and lives is not nodes
            if status in _KILLED and not stuck:
                lives.again()
                living[lives.pipe] = lives
                if lives is nodes:
                    (outside / ALONE).touch()
            elif status and lives is nodes and plan.supervisors and not stuck:
                lives.again()  # the supervisor was killed while the node waited for it
                living[lives.pipe] = lives
            elif status:
                played.faults.append(played.told[-1])
        if ending and nodes.pipe in living and nodes.serves and not asked:
            os.kill(nodes.pid, signal.SIGTERM)
            asked = True
    for lives in living.values():
        lives.end()


def _serve(state: Path, python: Path | None, number: int, point: Point) -> None:
    """One life of the node, as the command has it."""
    if python is not None:
        sys.executable = str(python)
    if point.number:
        rpcs.sabotage(sabotage.arm(point, 2))
    where = ["--state-dir", str(state), "--listen", f"unix:{state}/runner.sock"]
    status = main(["serve", *where, "--max-parallel", str(SLOTS), "--log-format", "json"])
    if status:
        raise SystemExit(status)


def _call(cast: Cast, outside: Path, state: Path, tokens: Mapping[str, str], number: int, point: Point) -> None:
    if point.number:
        sabotage.arm(point, 2)
    asyncio.run(Troupe(cast, outside, f"unix:{state}/runner.sock", tokens, number).live())
