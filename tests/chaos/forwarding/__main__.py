"""`python -m tests.chaos.forwarding --seeds 0:100`: two nodes, one of which forwards to the other, killed at random while their line is cut,
stalled and slowed down, and whether everything became of a group that had to; exit status 0 when it has.

A seed plays the same again, but for the time that everything takes: repeat it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.chaos.__main__ import PROGRESS_SECONDS, span
from tests.chaos.forwarding.play import plan, play


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.forwarding", description=__doc__)
    parser.add_argument("--seeds", type=span, default=range(100), metavar="FIRST:END", help="which seeds (0:100)")
    parser.add_argument("--most", type=int, default=5, metavar="N", help="stop after so many failures (5)")
    parser.add_argument("--verbose", action="store_true", help="tell what is played")
    options = parser.parse_args(arguments)
    began = told = time.monotonic()
    count = failed = done = 0
    for seed in options.seeds:
        faults = play(seed)
        count, failed, done = count + 1, failed + bool(faults), done + len(plan(seed))
        if faults or options.verbose:
            print(f"seed {seed}: {', '.join(map(str, plan(seed)))}", *faults, sep="\n", flush=True)
        if failed >= options.most:
            break
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"{count} played, {failed} failed, {told - began:.0f} s", flush=True)
    print(f"{count} played, {done} faults, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
