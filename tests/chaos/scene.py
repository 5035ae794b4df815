"""Groups of tasks that do every kind of thing, and what must become of them however often their runner is killed.

What is expected is told by a model that is too simple to be wrong in the same way: each task is a list of steps for the
puppet, and what it may show is what it says with every secret replaced.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.model.log import STREAMS, Stream

PUPPET = Path(__file__).with_name("puppet.py")
MARK = b"***"

INPUTS = {
    "password": "Kq7/VAULT/Zp2/QXL9",
    "certificate": "-----BEGIN KEY-----\nQUJD0ZZ1YXWVUTS2\nLMN3KJIHG4FEDCBA\n-----END KEY-----",
}
EXPORTED = "XPORTED/T0KEN/55/YZ"
ASKED = "ASKED/F0R/77/MASKZ"
PIN = "47"
"""Confidential, and too short to be masked."""
SECRETS = (*INPUTS.values(), EXPORTED, ASKED, *INPUTS["certificate"].splitlines()[1:3])
"""None of them shares a byte with the noise."""

NOISE = b"abcdefgh \n\xff\xc3."
ALONE = "alone"
"""The file that is there once a runner was killed."""
LOST = "supervisor_lost"


@dataclass(frozen=True, kw_only=True)
class Try:
    """One attempt: what it does, what it may show, how it ends."""

    steps: Sequence[Sequence[Any]]
    shown: Mapping[Stream, bytes]
    status: str
    exit_code: int | None
    signal: int | None = None
    reason: str | None = None
    cut: bool = False
    """It is ended from outside, at a moment that nobody knows: what it shows may end anywhere behind what it has marked."""
    starts: bool = True
    unmasked: Sequence[str] = ()
    """What is told to be too short to be masked, beside the PIN."""
    paused: bool = False
    """From outside, once it is ready, and started again."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A task. `more` are fields of its document; `spec` goes over what runs the puppet."""

    name: str
    tries: Sequence[Try]
    more: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    leftovers: bool = False
    shortened: bool = False
    """Its log passes its limit."""

    @property
    def retries(self) -> tuple[int, Sequence[str]]:
        """How many attempts it may have, and which ends are followed by another."""
        retry = self.more.get("retry", {})
        return retry.get("attempts", 1), retry.get("on", ["failed", "errored"])

    def document(self, folder: Path) -> dict[str, Any]:
        command = [sys.executable, "-I", "-S", str(PUPPET), str(folder / f"{self.name}.plan"), str(folder)]
        envs = {"PASSWORD": "{{ .inputs.password }}", **self.spec.get("envs", {})}
        spec = {"command": command, **self.spec, "envs": envs}
        return {"name": self.name, "type": "os_exec", "allow_failure": True, **self.more, "spec": spec}


@dataclass(frozen=True, kw_only=True)
class Group:
    """`cancelled`: from outside, twice, the second time once the first task is over. What is to be paused stands
    first."""

    id: str
    actors: Sequence[Actor]
    cancelled: bool = False

    @property
    def tasks(self) -> Mapping[str, Actor]:
        return {actor.name: actor for actor in self.actors}

    def document(self, folder: Path) -> str:
        inputs = {name: {"required": True, "confidential": True} for name in (*INPUTS, "pin")}
        tasks = [actor.document(folder) for actor in self.actors]
        return json.dumps({"id": self.id, "name": self.id, "inputs": inputs, "taskGroup": tasks})

    def write(self, folder: Path) -> None:
        """The plans, where the tasks find them, and the document."""
        for actor in self.actors:
            plan = json.dumps([one.steps for one in actor.tries])
            (folder / f"{actor.name}.plan").write_text(plan, encoding="ascii")
        (folder / f"{self.id}.json").write_text(self.document(folder), encoding="ascii")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """`lost`: supervisors are killed too, so that attempts may be lost."""

    groups: Sequence[Group]
    lost: bool = False


class Script:
    """The steps of one attempt as they are thought of, and what they say."""

    def __init__(self) -> None:
        self.steps: list[list[Any]] = []
        self._said: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}

    def say(self, descriptor: int, data: bytes, *cuts: int) -> Script:
        """In several writes, cut at these places."""
        self._said[descriptor] += data
        edges = [0, *sorted(cuts), len(data)]
        for start, end in itertools.pairwise(edges):
            self.steps.append(["write", descriptor, base64.b64encode(data[start:end]).decode()])
        return self

    def variable(self, descriptor: int, name: str, value: str) -> Script:
        self._said[descriptor] += value.encode()
        return self.do("variable", descriptor, name)

    def show(self, descriptor: int, path: str, data: bytes) -> Script:
        """A file of the workspace, which holds `data`."""
        self._said[descriptor] += data
        return self.do("show", descriptor, path)

    def hide(self, descriptor: int, said: bytes, shown: bytes) -> Script:
        """What has been said is shown otherwise."""
        self._said[descriptor] = self._said[descriptor].replace(said, shown)
        return self

    def farewell(self, data: bytes) -> Script:
        """What it says when it gets SIGTERM, behind all else."""
        self._said[1] += data
        return self.do("on_term", base64.b64encode(data).decode())

    def do(self, *step: Any) -> Script:
        self.steps.append(list(step))
        return self

    def ends(self, code: int | None = 0, *, signal: int | None = None, status: str | None = None, **more: Any) -> Try:
        """The attempt; `status` where it does not follow from the exit code."""
        told = status or ("failed" if code else "success")
        shown = {stream: hidden(bytes(self._said[1 + index])) for index, stream in enumerate(STREAMS)}
        return Try(steps=self.steps, shown=shown, status=told, exit_code=code, signal=signal, **more)


def hidden(data: bytes) -> bytes:
    """With one mark in the place of secrets, however many of them stand side by side. `data` has no NUL."""
    for secret in sorted(SECRETS, key=len, reverse=True):
        data = data.replace(secret.encode(), b"\0")
    return re.sub(b"\0+", MARK, data)


def small(*, lost: bool = False) -> Scene:
    """A group in which little happens, but of every kind that has messages and frames of its own."""
    says = (
        Script()
        .say(1, b"begins ")
        .variable(1, "PASSWORD", INPUTS["password"])
        .say(2, f"::add-mask::{ASKED}\n".encode())
    )
    says.say(1, f" then {ASKED} then {ASKED} ends in {INPUTS['password'][:6]}".encode(), 9, 40)
    fails = Actor(name="fails", tries=[Script().do("exit", 3).ends(3)])
    actors = [Actor(name="says", tries=[says.ends()]), *_passes(random.Random(0), "passes"), fails]
    return Scene(groups=[Group(id="small", actors=_patient(actors, lost))], lost=lost)


def random_scene(seed: int, *, lost: bool = False) -> Scene:
    chance = random.Random(seed)
    kinds = chance.sample(list(KINDS), chance.randint(3, 5))
    if chance.random() < 0.12:
        kinds.append("timed")
    actors = [actor for kind in kinds for actor in {**KINDS, "timed": _timed}[kind](chance, kind)]
    chance.shuffle(actors)
    if not lost and chance.random() < 0.3:
        actors = [*_paused(chance, "paused"), *actors]
    groups = [Group(id="many", actors=_patient(actors, lost))]
    if chance.random() < 0.3:
        groups.append(_stopped())
    return Scene(groups=groups, lost=lost)


def _patient(actors: Sequence[Actor], lost: bool) -> Sequence[Actor]:
    """Where supervisors are killed, every second one asks to be tried again."""
    if not lost:
        return actors
    retry = {"attempts": 9, "delay": 0.01, "on": [LOST]}
    return [
        replace(actor, more={**actor.more, "retry": retry}) if index % 2 and "retry" not in actor.more else actor
        for index, actor in enumerate(actors)
    ]


def _quiet(chance: random.Random, name: str) -> Sequence[Actor]:
    return [Actor(name=name, tries=[Script().ends()])]


def _code(chance: random.Random, name: str) -> Sequence[Actor]:
    code = chance.choice([1, 7, 42, 126, 127, 130, 255])
    return [Actor(name=name, tries=[Script().say(2, b"no").do("exit", code).ends(code)])]


def _dies(chance: random.Random, name: str) -> Sequence[Actor]:
    number = chance.choice([signal.SIGSEGV, signal.SIGKILL, signal.SIGUSR1, signal.SIGTERM])
    script = Script().say(1, b"before").do("signal", int(number))
    return [Actor(name=name, tries=[script.ends(128 + number, signal=int(number))])]


def _noise(chance: random.Random, name: str) -> Sequence[Actor]:
    """Much, on both streams, with secrets in it, in writes of all sizes."""
    script = Script()
    left = int(10 ** chance.uniform(3, 6.5))
    secrets = [secret.encode() for secret in INPUTS.values()]
    while left > 0:
        size = min(int(chance.paretovariate(0.5)), 200_000)
        data = bytes(chance.choices(NOISE, k=min(size, 997))) * (size // 997 + 1)
        data += chance.choice(secrets) * chance.randint(0, 2) + chance.choice(secrets)[: chance.randint(0, 9)]
        script.say(chance.choice((1, 1, 2)), data, *(chance.randint(0, len(data)) for _ in range(chance.randint(0, 2))))
        left -= len(data) + 100
    return [Actor(name=name, tries=[script.ends()])]


def _cuts(chance: random.Random, name: str) -> Sequence[Actor]:
    """Every secret cut at every place, the streams by turns."""
    script = Script()
    for number, secret in enumerate(INPUTS.values()):
        data = b"<" + secret.encode() + b">"
        for cut in range(1, len(data)):
            script.say(1 + (cut + number) % 2, data, cut)
    return [Actor(name=name, tries=[script.ends()])]


def _tail(chance: random.Random, name: str) -> Sequence[Actor]:
    """The last thing that it says may be the beginning of a secret, and is none."""
    secret = chance.choice(list(INPUTS.values())).encode()
    end = secret[: chance.randrange(1, len(secret))]
    if end.startswith(b"-----BEGIN KEY-----\nQUJD0ZZ1YXWVUTS2"):
        end = end[:25]  # that line would be one
    script = Script().say(1, b"ends in " + end, 9).say(2, secret + end[:4])
    return [Actor(name=name, tries=[script.ends()])]


def _asks(chance: random.Random, name: str) -> Sequence[Actor]:
    """What it asks to mask was said before, is said again, and by the other stream."""
    ask, other = chance.choice([(1, 2), (2, 1)])
    script = Script().say(other, f"first {ASKED}\n".encode())
    if chance.random() < 0.5:
        script.do("await", ALONE, 0.1)
    line = f"  ::add-mask::{ASKED}\n".encode()
    script.say(ask, line, chance.randint(1, len(line) - 1)).say(other, f"then {ASKED}\n".encode(), 12)
    script.say(ask, f"and {ASKED}".encode())
    short = chance.random() < 0.5
    for _ in range(2 * short):
        script.say(ask, b"\n::add-mask::")
        script.say(ask, b"no\n", 1).hide(ask, b"::add-mask::no", b"::add-mask::" + MARK)
    return [Actor(name=name, tries=[script.ends(unmasked=["::add-mask::"] if short else [])])]


def _long(chance: random.Random, name: str) -> Sequence[Actor]:
    """More than may be kept of it."""
    script = Script()
    for number in range(chance.randint(12, 24)):
        script.say(1 + number % 2, bytes(chance.choices(NOISE, k=9_997)) + INPUTS["password"].encode())
    return [Actor(name=name, tries=[script.ends()], spec={"limits": {"log": 65536}}, shortened=True)]


def _paused(chance: random.Random, name: str) -> Sequence[Actor]:
    script = Script().say(1, b"before").do("mark", "ready").do("await", "go", 60).do("mark", "went")
    return [Actor(name=name, tries=[script.say(1, INPUTS["password"].encode()).ends(paused=True)])]


def _passes(chance: random.Random, name: str) -> Sequence[Actor]:
    """What one exports, another is given."""
    source, sink = f"{name}_source", f"{name}_sink"
    said = Script().say(1, f"it is {EXPORTED}\n".encode())
    said.do("export", f"token={EXPORTED}\nurl=http://here/{chance.randrange(1000)}\n")
    url = str(said.steps[-1][1]).split("url=")[1].strip()
    heard = Script().variable(1, "TOKEN", EXPORTED).say(1, b" at ").variable(1, "URL", url)
    exports = [{"name": "token", "confidential": True, "scope": "local"}, {"name": "url", "scope": "global"}]
    imports = [{"from": source, "variable": variable} for variable in ("token", "url")]
    envs = {"TOKEN": f"{{{{ .{source}.token }}}}", "URL": f"{{{{ .{source}.url }}}}"}
    return [
        Actor(name=source, tries=[said.ends()], more={"exports": exports}, outputs={"url": url}),
        Actor(name=sink, tries=[heard.ends()], more={"imports": imports}, spec={"envs": envs}),
    ]


def _retried(chance: random.Random, name: str) -> Sequence[Actor]:
    codes = [chance.randint(1, 99) for _ in range(chance.randint(1, 2))]
    tries = [Script().say(1, f"try {code} {INPUTS['password']}".encode()).do("exit", code).ends(code) for code in codes]
    tries.append(Script().say(1, b"well").ends())
    return [Actor(name=name, tries=tries, more={"retry": {"attempts": len(tries), "delay": 0.01}})]


def _sleeper(chance: random.Random, name: str) -> Sequence[Actor]:
    """Much of what it does happens while no runner lives."""
    secret = INPUTS["password"].encode()
    script = Script().say(1, b"begins " + secret[:8]).do("mark", "sleeps").do("await", ALONE, 0.3)
    script.say(1, secret[8:] + b" alone " * chance.choice([1, 4000, 20_000])).say(2, secret, 5)
    code = chance.choice([0, 9])
    return [Actor(name=name, tries=[script.do("exit", code).ends(code)])]


def _missing(chance: random.Random, name: str) -> Sequence[Actor]:
    path, code = chance.choice([("/no/such/program", 127), ("/etc/passwd", 126)])
    attempt = Script().ends(code, starts=False)
    return [Actor(name=name, tries=[attempt], spec={"command": [path]})]


def _leaves(chance: random.Random, name: str) -> Sequence[Actor]:
    """A process that outlives it, and has its pipes, or has done all to be lost."""
    script = Script().say(1, b"leaves " + INPUTS["password"].encode(), 11).do(chance.choice(["leave", "escape"]))
    script.do("exit", 4)
    return [Actor(name=name, tries=[script.ends(4)], leftovers=True)]


def _timed(chance: random.Random, name: str) -> Sequence[Actor]:
    script = Script().say(1, b"slow").do("mark", "ready").do("stay")
    attempt = script.ends(124, status="failed", reason="timeout", signal=int(signal.SIGTERM), cut=True)
    return [Actor(name=name, tries=[attempt], more={"timeout": 1.5})]


def _stopped() -> Group:
    polite = Script().farewell(b"bye " + INPUTS["password"].encode()).do("mark", "ready").do("stay")
    stubborn = Script().do("on_term", None).do("escape").say(2, b"no " + INPUTS["password"].encode())
    stubborn.do("mark", "ready").do("stay")
    actors = [
        Actor(name="polite", tries=[polite.ends(0, status="aborted", reason="cancelled")]),
        Actor(name="stubborn", tries=[stubborn.ends(137, signal=9, status="aborted", reason="cancelled")]),
    ]
    return Group(id="stopped", actors=actors, cancelled=True)


KINDS: Mapping[str, Callable[[random.Random, str], Sequence[Actor]]] = {
    "quiet": _quiet,
    "code": _code,
    "dies": _dies,
    "noise": _noise,
    "cuts": _cuts,
    "tail": _tail,
    "asks": _asks,
    "passes": _passes,
    "retried": _retried,
    "sleeper": _sleeper,
    "missing": _missing,
    "leaves": _leaves,
    "long": _long,
}
