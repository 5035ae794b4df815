"""`python -m tests.chaos --seeds 0:1000`: kills runners (and supervisors) at random; exit status 0 when all is as it should be.

With `--sweep` the same small group is killed at one call of its life after the other; with `--stops` nobody is, but programs that
do not want to end are ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.chaos import seeds, stops
from tests.chaos.play import Plan, Played, play

PROGRESS_SECONDS = 10.0


def span(text: str) -> range:
    first, colon, end = text.partition(":")
    try:
        numbers = range(int(first), int(end) if colon else int(first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected FIRST:END, e.g. 0:1000, not {text!r}") from None
    if not numbers:
        raise argparse.ArgumentTypeError(f"there is no seed in {text!r}: END is the first that is not played")
    return numbers


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=span, default=range(100), metavar="FIRST:END", help="which seeds (0:100)")
    parser.add_argument("--kill", choices=seeds.WHOM, default="runner", help="who is killed (runner)")
    parser.add_argument("--sweep", action="store_true", help="one call after the other, in place of seeds")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="where the sweep begins (1)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth call of the sweep (1)")
    parser.add_argument("--stops", type=span, metavar="FIRST:END", help="which scenarios of a stop, in place of seeds")
    parser.add_argument("--most", type=int, default=5, metavar="N", help="stop after so many failures (5)")
    parser.add_argument("--verbose", action="store_true", help="tell what is played")
    options = parser.parse_args(arguments)
    if options.stops:
        return _stopped(options)
    if options.sweep:
        all_of_it: Iterable[tuple[Plan, Played]] = seeds.swept(options.kill, options.first, options.every)
    else:
        plans = (seeds.plan(seed, options.kill) for seed in options.seeds)
        all_of_it = ((plan, play(plan)) for plan in plans)
    return _told(all_of_it, options)


def _told(all_of_it: Iterable[tuple[Plan, Played]], options: argparse.Namespace) -> int:
    began = told = time.monotonic()
    count = runners = supervisors = failed = 0
    for plan, played in all_of_it:
        name = "" if options.sweep else f"seed {options.seeds[count]}: "
        count += 1
        runners += played.runners_killed
        supervisors += played.supervisors_killed
        if played.faults:
            failed += 1
            print(f"{name}fails; {plan}", *played.told, *played.faults, sep="\n", flush=True)
        elif options.verbose:
            print(f"{name}{plan}", flush=True)
        if failed >= options.most:
            break
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"{count} played, {failed} failed, {told - began:.0f} s", flush=True)
    seconds = time.monotonic() - began
    print(f"{count} played, {runners} runners and {supervisors} supervisors killed, {failed} failed, {seconds:.0f} s")
    return 1 if failed else 0


def _stopped(options: argparse.Namespace) -> int:
    scenarios = stops.everything()[options.stops.start : options.stops.stop]
    if not scenarios:
        print(f"there are {len(stops.everything())} stops, and none of these", file=sys.stderr)
        return 2
    began = told = time.monotonic()
    failed = 0
    for number, stop in enumerate(scenarios, start=options.stops.start):
        faults = stops.play(stop)
        failed += bool(faults)
        if faults or options.verbose:
            print(f"stop {number}: {stop}", *faults, sep="\n", flush=True)
        if failed >= options.most:
            break
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"{number + 1 - options.stops.start} played, {failed} failed, {told - began:.0f} s", flush=True)
    played = Counter(stop.containment for stop in scenarios[: number + 1 - options.stops.start])
    under = ", ".join(f"{count} under {containment}" for containment, count in sorted(played.items()))
    print(f"{played.total()} stops ({under}), {failed} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
