"""Those who do the same work: who can be measured here, and what a run of one tells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import goals, peers, suites
from bench.peers import Rival
from bench.rivals.contest import WARM_UP_TASKS, Open, RunAll, measured
from bench.samples import Sample

Require = Callable[[str], None]


def environment(folder: Path, packages: list[str]) -> Path:
    """One whose Python finds these packages, and no others but the standard library."""
    for package in packages:
        (folder / "lib" / package).mkdir(parents=True)
        (folder / "lib" / package / "__init__.py").touch()
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder / "lib"}" exec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    return folder


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(folder))


def test_a_rival_is_measured_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "programs", monkeypatch, ["parallel"])
    folder = environment(tmp_path / "env", ["celery", "redis", "doit", "distributed"])
    said: list[str] = []
    found = {rival.name: rival.python for rival in peers.rivals(said.append, folder)}
    own = folder / "bin" / "python"
    assert found == {"doit": own, "dask": own, "parallel": Path(sys.executable)}
    missing = {match.group(1): line for line in said if (match := re.search(r"compared with (\w+)", line))}
    assert missing.keys() == goals.RIVALS.keys() - found.keys()
    assert "apt install redis-server" in missing["celery"]
    assert "make bench-peers" in missing["huey"]


def test_where_nothing_is_installed_every_rival_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path / "programs", monkeypatch, [])
    said: list[str] = []
    assert peers.rivals(said.append, tmp_path / "none") == []
    assert len(said) == len(goals.RIVALS)


def test_every_rival_is_a_script_and_has_its_versions_written_down() -> None:
    lines = peers.VERSIONS.read_text(encoding="ascii").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    pinned = {line.partition("==")[0] for line in pins}
    assert {package for packages in peers.PACKAGES.values() for package in packages} <= pinned
    for name in goals.RIVALS:
        assert (peers.ROOT / "bench" / "rivals" / f"{name}.py").exists()


def counted(runs: list[int], lost: int = 0) -> Open:
    @contextmanager
    def opened(folder: Path) -> Iterator[RunAll]:
        def run_all(count: int) -> int:
            runs.append(count)
            return count - (lost if len(runs) > 1 else 0)

        assert list(folder.iterdir()) == []
        yield run_all
        runs.append(0)

    return opened


def test_a_rival_warms_up_is_measured_and_ended() -> None:
    runs: list[int] = []
    metrics = measured(counted(runs), 7)
    assert runs == [WARM_UP_TASKS, 7, 0]
    assert metrics.keys() == {"tasks_per_s", "machine_cpu_ms_per_task"}


def test_a_rival_that_loses_a_task_has_no_figures() -> None:
    with pytest.raises(RuntimeError, match="6 of 7 tasks succeeded"):
        measured(counted([], lost=1), 7)


def test_gnu_parallel_runs_every_task_and_tells_one_line(require: Require) -> None:
    require("parallel")
    done = subprocess.run(
        [sys.executable, "-m", "bench.rivals.parallel", "20"],
        cwd=peers.ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["tasks_per_s"] > 0


def test_a_rival_that_fails_is_left_out_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripted rivals: a Python that prints figures, and one that ends with an error."""
    programs(tmp_path / "programs", monkeypatch, [])
    monkeypatch.setenv("PATH", os.defpath)
    works, fails = tmp_path / "works", tmp_path / "fails"
    works.write_text("#!/bin/sh\necho '{\"tasks_per_s\": 5}'\n")
    fails.write_text("#!/bin/sh\nexit 3\n")
    works.chmod(0o755)
    fails.chmod(0o755)
    samples: list[Sample] = []
    said: list[str] = []
    plan = suites.Plan(rounds=1, indep=20, rival_rounds=2)
    bench = suites.Bench(plan=plan, floor=None, peers=[], tell=samples.append, say=said.append)
    suites.alternate(
        bench, [Rival(name="ray", python=fails), Rival(name="doit", python=works), Rival(name="luigi", python=works)]
    )
    assert [(sample.round, sample.contestant) for sample in samples] == [
        (1, "doit"), (1, goals.SERVED), (2, "luigi"), (2, goals.SERVED), (3, "doit"), (3, goals.SERVED),
    ]  # fmt: skip
    (line,) = said
    assert "ray" in line
    assert {item.goal.what for item in goals.reached(samples)} == {"`indep` ÷ doit", "`indep` ÷ luigi"}


def test_the_rivals_are_measured_in_full_or_when_they_are_named() -> None:
    assert "rivals" not in suites.unasked(suites.NORMAL)
    assert suites.unasked(suites.FULL) == list(suites.SUITES)
