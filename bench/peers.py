"""make and ninja on the same graphs, and the rivals on independent tasks. make starts a plain command itself and captures
nothing; ninja captures, and always goes through `sh -c`. A rival is run by the Python of an environment of its own, so that
nothing that it needs comes near the project's: `python -m bench.peers --install` makes it."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import goals, workloads
from bench.measure import Metrics, machine_cpu_seconds, run
from bench.samples import BenchError
from bench.workloads import Workload

JOBS = 2
ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".bench"
VERSIONS = Path(__file__).with_name("peers.txt")
PACKAGES = {name: (name,) for name in ("doit", "luigi", "prefect", "ray")} | {
    "celery": ("celery", "redis"), "dask": ("distributed",), "huey": ("huey", "redis"),
}  # fmt: skip
"""What a rival imports, by the same names as it is installed by."""
PROGRAMS = {"celery": "redis-server", "huey": "redis-server", "parallel": "parallel"}
SLOW = ("luigi", "prefect")
"""These take so long that they run in every second round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    name: str
    program: str
    file_name: str
    text: Callable[[Workload], str]

    def measure(self, workload: Workload, folder: Path) -> Metrics:
        """Metrics of one run, the program's own start included, in the empty folder `folder`."""
        (folder / self.file_name).write_text(self.text(workload), encoding="ascii")
        machine = machine_cpu_seconds()
        done = run([self.program, f"-j{JOBS}", "-f", self.file_name], cwd=folder)
        return {
            "tasks_per_s": workload.count / done.seconds,
            "cpu_ms_per_task": done.cpu_seconds / workload.count * 1e3,
            "machine_cpu_ms_per_task": (machine_cpu_seconds() - machine) / workload.count * 1e3,
            "max_rss_mb": done.max_rss_bytes / 1e6,
        }


def installed() -> list[Peer]:
    """The peers that this machine has; ninja also from the environment of this Python."""
    found = []
    for name, file_name, text in (
        ("make", "Makefile", workloads.makefile),
        ("ninja", "build.ninja", workloads.ninja_file),
    ):
        program = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
        if program is not None:
            found.append(Peer(name=name, program=program, file_name=file_name, text=text))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One of `bench.rivals`, and the Python that runs it."""

    name: str
    python: Path

    def measure(self, count: int) -> Metrics:
        """Metrics of `count` independent tasks. Raises BenchError when not all of them succeeded in time."""
        done = run([str(self.python), "-m", f"bench.rivals.{self.name}", str(count)], cwd=ROOT, keep=True)
        metrics: Metrics = json.loads(done.stdout)
        return metrics


def rivals(say: Callable[[str], None], environment: Path = ENVIRONMENT) -> list[Rival]:
    """Those that can be run here; `say` is told why another one cannot."""
    python = environment / "bin" / "python"
    wanted = sorted({package for packages in PACKAGES.values() for package in packages})
    present = _importable(python, wanted) if python.exists() else set()
    found = []
    for name in goals.RIVALS:
        program = PROGRAMS.get(name)
        if not present.issuperset(PACKAGES.get(name, ())):
            say(f"nothing is compared with {name}: it is not installed in {environment}, `make bench-peers` does that")
        elif program is not None and shutil.which(program) is None:
            say(f"nothing is compared with {name}: there is no {program}; Debian, Ubuntu: apt install {program}")
        else:
            found.append(Rival(name=name, python=python if name in PACKAGES else Path(sys.executable)))
    return found


def _importable(python: Path, packages: list[str]) -> set[str]:
    code = "import importlib.util as u, sys; print(*(name for name in sys.argv[1:] if u.find_spec(name)))"
    return set(run([str(python), "-c", code, *packages], keep=True).stdout.decode().split())


def install(environment: Path) -> None:
    """Make an environment with all rivals that are Python's, in the versions that are written down. Raises BenchError."""
    venv.create(environment, with_pip=True)
    packages = sorted({package for packages in PACKAGES.values() for package in packages})
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "--constraint", str(VERSIONS), *packages], check=False)
    if done.returncode != 0:
        raise BenchError(f"pip ended with {done.returncode}: {environment} is not complete")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Say which rivals can be measured here.")
    parser.add_argument(
        "--install",
        nargs="?",
        type=Path,
        const=ENVIRONMENT,
        metavar="FOLDER",
        help=f"first make an environment with those that are Python's, in {ENVIRONMENT.name} or in FOLDER",
    )
    options = parser.parse_args()
    if options.install is not None:
        try:
            install(options.install)
        except (BenchError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
    found = rivals(print, options.install or ENVIRONMENT)
    print(f"can be measured: {', '.join(rival.name for rival in found) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
