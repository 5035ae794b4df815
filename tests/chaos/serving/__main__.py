"""`python -m tests.chaos.serving --seeds 0:1000`: a node that serves, killed at random with its callers and its supervisors, and whether
it has kept its word; exit status 0 when it has.

A seed plays the same again, but for the time that everything takes: repeat it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

from tests.chaos.__main__ import PROGRESS_SECONDS, span
from tests.chaos.serving.play import MOST_CALLS, Played, play, random_plan, swept

WHOM = ("node", "supervisor", "both")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.serving", description=__doc__)
    parser.add_argument("--seeds", type=span, default=range(100), metavar="FIRST:END", help="which seeds (0:100)")
    parser.add_argument("--kill", choices=WHOM, default="node", help="who is killed, beside callers (node)")
    parser.add_argument(
        "--sweep", choices=list(MOST_CALLS), help="the node at one such call after the other, in place of seeds"
    )
    parser.add_argument("--first", type=int, default=1, metavar="N", help="where the sweep begins (1)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth call of the sweep (1)")
    parser.add_argument("--most", type=int, default=5, metavar="N", help="stop after so many failures (5)")
    parser.add_argument("--verbose", action="store_true", help="tell what is played, and what everybody said")
    options = parser.parse_args(arguments)
    if options.sweep:
        return _told(
            ((str(plan), played) for plan, played in swept(options.sweep, options.first, options.every)), options
        )
    plans = ((seed, random_plan(seed, options.kill)) for seed in options.seeds)
    return _told(((f"seed {seed}: {plan}", play(plan)) for seed, plan in plans), options)


def _told(all_of_it: Iterable[tuple[str, Played]], options: argparse.Namespace) -> int:
    began = told = time.monotonic()
    nodes = callers = supervisors = failed = count = 0
    for name, played in all_of_it:
        count += 1
        nodes += played.nodes_killed
        callers += played.callers_killed
        supervisors += played.supervisors_killed
        failed += bool(played.faults)
        if played.faults or options.verbose:
            lives = played.told if options.verbose else ()
            print(name, *lives, *played.faults, sep="\n", flush=True)
        if failed >= options.most:
            break
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"{count} played, {failed} failed, {told - began:.0f} s", flush=True)
    killed = f"{nodes} nodes, {callers} callers and {supervisors} supervisors killed"
    print(f"{count} played, {killed}, {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
