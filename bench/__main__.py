"""`python -m bench`: measure, print the ratios, and on request write them down."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench import floor, peers, report, suites
from bench.samples import BenchError, Sample, to_line

BUSY_LOAD_PER_CORE = 0.25


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (BenchError, OSError) as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the runner beside the limit and its peers."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", dest="plan", action="store_const", const=suites.QUICK, help="half a minute, rough figures"
    )
    size.add_argument(
        "--full", dest="plan", action="store_const", const=suites.FULL, help="many rounds, large groups and rivals too"
    )
    parser.set_defaults(plan=suites.NORMAL)
    parser.add_argument("--only", action="append", choices=suites.SUITES, help="this suite alone; may be repeated")
    parser.add_argument("--json", metavar="FILE", type=Path, help="append one JSON line for each measured run")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {report.RESULTS.name}")
    return parser


def _run(options: argparse.Namespace) -> int:
    where = report.machine()
    _say(where)
    busy = os.getloadavg()[0] > BUSY_LOAD_PER_CORE * (os.cpu_count() or 1)
    if busy:
        _say("the machine is busy with something else: the figures will be worse and vary more")
    samples: list[Sample] = []
    begin = time.perf_counter()
    with ExitStack() as stack:
        lines = stack.enter_context(options.json.open("a", encoding="utf-8")) if options.json else None

        def tell(sample: Sample) -> None:
            samples.append(sample)
            if lines is not None:
                print(to_line(sample), file=lines, flush=True)

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bench = suites.Bench(plan=options.plan, floor=_floor(folder), peers=_peers(), tell=tell, say=_say)
        for name in options.only or suites.unasked(options.plan):
            _say(f"{name} …")
            suites.SUITES[name](bench)
    tables = report.render(samples)
    print(tables)
    _say(f"{len(samples)} runs in {time.perf_counter() - begin:.0f} s")
    if options.write:
        warning = " **The machine was busy with something else: do not rely on these figures.**" if busy else ""
        report.write(report.RESULTS, f"{where}.{warning}\n\n{tables}")
    return 0


def _floor(folder: Path) -> Path | None:
    try:
        return floor.compile_floor(folder)
    except BenchError as error:
        _say(str(error))
        return None


def _peers() -> list[peers.Peer]:
    found = peers.installed()
    for name in ("make", "ninja"):
        if name not in {peer.name for peer in found}:
            _say(f"{name} is not installed: nothing is compared with it")
    return found


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
