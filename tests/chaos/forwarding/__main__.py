"""`python -m tests.chaos.forwarding --seeds 0:100`: two nodes, one of which forwards to the other, killed at random while their line is cut,
stalled and slowed down, and whether everything became of a group that had to; exit status 0 when it has.

With `--netns` each has a machine for itself: network namespaces with a line between them whose packets are dropped in one direction or both,
refused or slowed down; disks that are full, clocks that are wrong, machines that boot anew and a disk that comes from a backup; and there are
groups that are forwarded as a whole. That takes root, iproute2 and nftables.

A seed plays the same again, but for the time that everything takes: repeat it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.chaos.__main__ import PROGRESS_SECONDS, span
from tests.chaos.forwarding import apart
from tests.chaos.forwarding.play import NONE, play
from tests.chaos.forwarding.weather import plan, plan_apart
from tests.chaos.forwarding.wrongs import WRONGS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.forwarding", description=__doc__)
    parser.add_argument("--seeds", type=span, default=range(100), metavar="FIRST:END", help="which seeds (0:100)")
    parser.add_argument("--most", type=int, default=5, metavar="N", help="stop after so many failures (5)")
    parser.add_argument("--netns", action="store_true", help="each node has a machine for itself")
    parser.add_argument("--sabotage", choices=WRONGS, metavar="NAME", help="something is wrong with a node")
    parser.add_argument("--verbose", action="store_true", help="tell what is played")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.netns and not options.alone:
        if missing := apart.missing():
            parser.error(missing)
        command = apart.alone([*sys.orig_argv, "--alone"])
        os.execvp(command[0], [*command])
    began = told = time.monotonic()
    count = failed = done = 0
    seen: Counter[str] = Counter()
    sabotage = WRONGS[options.sabotage].sabotage if options.sabotage else NONE
    for seed in options.seeds:
        faults = play(seed, sabotage, apart=options.netns, seen=seen)
        weather = sabotage.faults or (plan_apart if options.netns else plan)(seed)
        count, failed, done = count + 1, failed + bool(faults), done + len(weather.faults)
        if faults or options.verbose:
            print(f"seed {seed}: {weather}", *faults, sep="\n", flush=True)
        if failed >= options.most:
            break
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"{count} played, {failed} failed, {told - began:.0f} s", flush=True)
    print(f"{count} played, {done} faults, {failed} failed, {time.monotonic() - began:.0f} s")
    print(*(f"{number} {name}" for name, number in seen.items()), sep=", ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
