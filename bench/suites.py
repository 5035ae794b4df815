"""Who runs what. Contestants that are compared run one after the other, round after round, so that a drift of the machine
meets all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import floor, goals, ours, peers, workloads
from bench.measure import Metrics
from bench.samples import BenchError, Sample
from bench.workloads import GRAPHS, Workload

IN_FLIGHT = 8
ASKED_OF_ONE_NODE = 5
"""How often a command asks one node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is run. `rounds` of everything but `starts`, which is how often a command is started; the other numbers are
    tasks. `engine_sizes` and `node_sizes` are what the rates of large groups are measured at, the first is the measure."""

    rounds: int = 5
    indep: int = 1000
    chain: int = 200
    dag: int = 1000
    load: int = 10_000
    load_rounds: int = 3
    starts: int = 30
    queued: int = 20_000
    scale_rounds: int = 2
    engine_sizes: tuple[int, ...] = (1000, 10_000, 100_000)
    node_sizes: tuple[int, ...] = ()
    output: int = 256 << 20
    """Bytes."""
    lines: int = 500
    questions: int = 1000
    rival_rounds: int = 3
    rivals_unasked: bool = False


QUICK = Plan(
    rounds=2, indep=300, chain=100, dag=300, load=1000, load_rounds=2, starts=10, queued=5000, scale_rounds=1, rival_rounds=1,
    engine_sizes=(1000, 10_000), output=64 << 20, lines=200,
)  # fmt: skip
NORMAL = Plan()
FULL = Plan(
    rounds=11, load_rounds=7, starts=100, queued=100_000, scale_rounds=5, node_sizes=(1000, 10_000), rival_rounds=5,
    rivals_unasked=True,
)  # fmt: skip

Tell = Callable[[Sample], None]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run of the benchmark. `floor` is None where there is no C compiler. Every sample goes to `tell` at once,
    and what a person should know to `say`."""

    plan: Plan
    floor: Path | None
    peers: list[peers.Peer]
    tell: Tell
    say: Say

    def add(self, number: int, contestant: str, workload: str, metrics: Metrics) -> None:
        self.tell(Sample(round=number, contestant=contestant, workload=workload, metrics=metrics))

    def add_floor(self, number: int, workload: Workload, in_flight: int) -> None:
        if self.floor is not None:
            name = goals.FLOOR if in_flight > 1 else goals.FLOOR_SEQUENTIAL
            self.add(number, name, workload.name, floor.measure(self.floor, workload.count, in_flight))

    def add_peers(self, number: int, workload: Workload) -> None:
        for peer in self.peers:
            with _folder() as folder:
                self.add(number, f"{peer.name} -j{peers.JOBS}", workload.name, peer.measure(workload, folder))

    def add_node(self, number: int, workload: Workload, name: str = "", *options: str) -> None:
        metrics = ours.worker("node", workload.name, workload.count, *options)
        self.add(number, goals.NODE, name or workload.name, metrics)

    def add_served(
        self, number: int, workload: Workload, transport: str = "plain", *options: str, name: str = ""
    ) -> None:
        name = name or (f"{workload.name}-sh" if "shell" in options else workload.name)
        metrics = ours.worker("served", workload.name, workload.count, transport, *options)
        self.add(number, goals.SERVED if transport == "plain" else goals.SERVED_TLS, name, metrics)

    def add_command(self, number: int, workload: Workload) -> None:
        with _folder() as folder:
            self.add(number, goals.COMMAND, workload.name, ours.run_command(workload, folder))


def spawn(bench: Bench) -> None:
    """Real processes: the runner, the limit, the peers."""
    plan = bench.plan
    indep, chain, dag = GRAPHS["indep"](plan.indep), GRAPHS["chain"](plan.chain), GRAPHS["dag"](plan.dag)
    for number in range(plan.rounds):
        bench.add_floor(number, indep, IN_FLIGHT)
        bench.add_peers(number, indep)
        bench.add_node(number, indep)
        bench.add_served(number, indep)
        bench.add_served(number, indep, "mtls")
        bench.add_served(number, indep, "plain", "shell")
        bench.add_served(number, dag)
        bench.add_floor(number, chain, 1)
        bench.add_peers(number, chain)
        bench.add_node(number, chain)
        bench.add_served(number, chain)
        bench.add_peers(number, workloads.one())
        bench.add_command(number, workloads.one())
        bench.add_command(number, indep)


def parts(bench: Bench) -> None:
    """The engine without processes, with and without a disk; processes without an engine."""
    for number in range(bench.plan.rounds):
        for name, store in ((goals.ENGINE_MEMORY, "memory"), (goals.ENGINE, "sqlite")):
            bench.add(number, name, "indep", ours.worker("engine", "indep", bench.plan.indep, store))
        bench.add(number, goals.SPAWN, "indep", ours.worker("spawning", bench.plan.indep))
        bench.add(number, goals.HOST, "indep", ours.worker("host", bench.plan.indep, IN_FLIGHT))


def load(bench: Bench) -> None:
    """From text to a validated group."""
    for number in range(bench.plan.load_rounds):
        bench.add(number, goals.YAML, "load", ours.worker("yaml", bench.plan.load))
        bench.add(number, goals.LOAD, "load", ours.worker("load", bench.plan.load))


def start(bench: Bench) -> None:
    """Commands that do nothing, or little."""
    for number in range(bench.plan.starts):
        bench.add(number, goals.PYTHON, "start", {"seconds": ours.python_seconds()})
        bench.add(number, goals.VERSION, "start", {"seconds": ours.version_seconds()})
        with _folder() as folder:
            first, line = ours.first_lines_seconds(folder)
            bench.add(number, goals.FIRST_LINE, "one", {"first_ms": first * 1e3, "ms": line * 1e3})
    for number in range(bench.plan.rounds):
        bench.add(number, goals.ASKING, "start", ours.worker("info", ASKED_OF_ONE_NODE))


def memory(bench: Bench) -> None:
    """What waits."""
    for number in range(bench.plan.scale_rounds):
        bench.add(number, goals.QUEUED, "queued", ours.worker("queued", bench.plan.queued))
        bench.add(number, goals.IDLE, "idle", ours.worker("idle"))
        with _folder() as folder:
            bench.add(number, goals.WAITING, "one", ours.waiting_rss(folder))


def service(bench: Bench) -> None:
    """Small questions."""
    for number in range(bench.plan.rounds):
        for transport, name in (("plain", goals.SERVED), ("mtls", goals.SERVED_TLS)):
            bench.add(number, name, "asked", ours.worker("asked", bench.plan.questions, transport))


def forward(bench: Bench) -> None:
    """Two nodes."""
    for number in range(bench.plan.rounds):
        bench.add(number, goals.FORWARDED, "indep", ours.worker("forwarded", "indep", bench.plan.indep))


def output(bench: Bench) -> None:
    """What a task prints, with and without secrets to be masked in it."""
    size = bench.plan.output
    for number in range(bench.plan.rounds):
        bench.add(number, goals.CAT, "output", ours.worker("copied", size))
        for secrets, name in goals.OUTPUTS.items():
            bench.add(number, name, "output", ours.worker("followed", size, secrets, "served"))
            bench.add(number, goals.alone(name), "output", ours.worker("followed", size, secrets, "node"))
        bench.add(number, goals.LINES, "lines", ours.worker("stamped", bench.plan.lines, "served"))
        bench.add(number, goals.alone(goals.LINES), "lines", ours.worker("stamped", bench.plan.lines, "node"))


def scale(bench: Bench) -> None:
    """Large groups."""
    for number in range(bench.plan.scale_rounds):
        for size in bench.plan.engine_sizes:
            bench.add(number, goals.ENGINE, f"indep-{size}", ours.worker("engine", "indep", size, "sqlite"))
        for size in bench.plan.node_sizes:
            bench.add_served(number, GRAPHS["indep"](size), name=f"indep-{size}")


def rivals(bench: Bench) -> None:
    """Others that do the same work, where they are installed."""
    alternate(bench, peers.rivals(bench.say))


def alternate(bench: Bench, present: Sequence[peers.Rival]) -> None:
    """One of our runs follows each run of a rival, and the two are a round: what all of them take together is long enough for the
    machine to change. A rival that fails is left out from then on."""
    indep = GRAPHS["indep"](bench.plan.indep)
    number = bench.plan.rounds  # those before are those of `spawn`
    failed = set()
    for turn in range(bench.plan.rival_rounds):
        for rival in present:
            if rival.name in failed or (turn % 2 and rival.name in peers.SLOW):
                continue
            try:
                metrics = rival.measure(indep.count)
            except BenchError as error:
                bench.say(f"nothing more is compared with {rival.name}: {error}")
                failed.add(rival.name)
                continue
            bench.add(number, rival.name, indep.name, metrics)
            bench.add_served(number, indep)
            number += 1


SUITES: dict[str, Callable[[Bench], None]] = {
    "spawn": spawn,
    "parts": parts,
    "load": load,
    "start": start,
    "memory": memory,
    "service": service,
    "forward": forward,
    "output": output,
    "scale": scale,
    "rivals": rivals,
}


def unasked(plan: Plan) -> list[str]:
    """The suites that are run when none is named."""
    return [name for name in SUITES if name != "rivals" or plan.rivals_unasked]


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)
