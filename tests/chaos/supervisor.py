"""A Python for supervisors: each of them is killed at a point of its own, the one after the last is left alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import sabotage
from tests.chaos.sabotage import Point

_ARGUMENTS_OF_PYTHON = 4
"""-I -S -X utf8: this script has been started with them already, or can do without."""

STARTED = "supervisors"
"""The file with the arguments of each."""

_SCRIPT = """#!{python} -IS
import importlib.util, os, runpy, sys

spec = importlib.util.spec_from_file_location("sabotage", {sabotage!r})
sabotage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sabotage)
sys.argv = sys.argv[{skipped}:]
with open({started!r}, "a") as file:
    print(*sys.argv, file=file)
for number, point in enumerate({points!r}):
    try:
        os.close(os.open({claims!r} + str(number), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        continue
    sabotage.arm(sabotage.Point(*point), 2)
    break
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def make(folder: Path, points: Sequence[Point]) -> Path:
    """The path of the interpreter, in `folder`."""
    path = folder / "python"
    text = _SCRIPT.format(
        python=sys.executable,
        sabotage=sabotage.__file__,
        skipped=1 + _ARGUMENTS_OF_PYTHON,
        points=[tuple(point) for point in points],
        claims=str(folder / "claimed."),
        started=str(folder / STARTED),
    )
    path.write_text(text, encoding="utf-8")
    path.chmod(0o700)
    return path


def kills(folder: Path, points: Sequence[Point], log: Path) -> int:
    """How many supervisors were killed: they have said so in their log, or (those whose time was up) have had a successor."""
    said = log.read_text(errors="replace").count("killed ") if log.exists() else 0
    claimed = [(folder / f"claimed.{number}").exists() for number in range(len(points) + 1)]
    timed = [number for number, point in enumerate(points) if point.kind == sabotage.TIME]
    return said + sum(claimed[number] and claimed[number + 1] for number in timed)
