"""`python -m runner.simulator --seeds 0:10000`: exit status 0 when every seed is as the reference says, 1 when not."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence

from runner.simulator.pair.seeds import PairVerdict, play_pair_seed
from runner.simulator.seeds import Verdict, play_seed

PROGRESS_SECONDS = 5.0


def seeds(text: str) -> range:
    first, colon, end = text.partition(":")
    try:
        span = range(int(first), int(end) if colon else int(first) + 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected FIRST:END, e.g. 0:10000, not {text!r}") from None
    if not span:
        raise argparse.ArgumentTypeError(f"there is no seed in {text!r}: END is the first that is not played")
    return span


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m runner.simulator", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=seeds, default=range(1000), metavar="FIRST:END", help="which seeds (0:1000)")
    which.add_argument("--seed", type=int, metavar="N", help="one seed alone")
    parser.add_argument(
        "--pair", action="store_true", help="two runners, one of which forwards to the other, and the line between them"
    )
    parser.add_argument("--verbose", action="store_true", help="tell the scenario and the events of every seed")
    parser.add_argument("--most", type=int, default=5, metavar="N", help="stop after so many failing seeds (5)")
    options = parser.parse_args(arguments)
    # The engine's log tells of the full disks and lost executors that are played to it.
    logging.disable(logging.CRITICAL)
    try:
        return _play(range(options.seed, options.seed + 1) if options.seed is not None else options.seeds, options)
    finally:
        logging.disable(logging.NOTSET)


def _play(span: range, options: argparse.Namespace) -> int:
    began = told = time.monotonic()
    which = "--pair " if options.pair else ""
    failed = tasks = crashes = 0
    for seed in span:
        verdict: Verdict | PairVerdict = play_pair_seed(seed) if options.pair else play_seed(seed)
        tasks += sum(len(item.group.tasks) for item in verdict.scenario.submissions)
        crashes += verdict.played.crashes
        if options.verbose:
            _say(f"seed {seed}\n{_events(verdict)}")
        if verdict.differences:
            failed += 1
            _say(f"seed {seed} fails; again: python -m runner.simulator {which}--seed {seed} --verbose\n{verdict}\n")
        if failed >= max(1, options.most):
            break
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            _say(f"{seed + 1 - span.start} of {len(span)} seeds, {failed} failed, {told - began:.0f} s")
    played = seed + 1 - span.start
    _say(f"{played} seeds, {tasks} tasks, {crashes} crashes, {time.monotonic() - began:.1f} s: {failed} failed")
    return 1 if failed else 0


def _events(verdict: Verdict | PairVerdict) -> str:
    lines = [str(verdict)]
    for id, events in verdict.played.events.items():
        for event in events:
            who = " ".join(str(part) for part in (event.task, event.attempt) if part is not None)
            fields = " ".join(f"{name}={value}" for name, value in event.fields.items())
            lines.append(
                f"{event.at - verdict.played.began:10.3f} {id} {event.number:4} {event.kind} {who} {fields}".rstrip()
            )
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
