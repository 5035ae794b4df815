"""`python -m tests.fuzz documents --runs 1000000`: inputs nobody would think of, until one of them finds a fault.

Without `--engine` atheris makes them, guided by the lines of the product that they reach, and where it is not installed hypothesis does. It begins
with tests/fuzz/corpus and keeps what it learns in build/fuzz, so that the next run goes on there. An input that finds a fault is kept there too, and
its name printed; `python -m tests.fuzz documents FILE` plays it again, and `--minimise` makes it as short as it finds the same.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tests.fuzz import targets

KEPT = Path(__file__).parents[2] / "build" / "fuzz"
LONGEST_BYTES = 512
"""Of an input: most faults are found by short ones, and those are many times faster."""
SECONDS_OF_ONE = 10
"""What takes longer is a fault."""
MEMORY_MB = 2048
PRODUCT = ("runner", "taskimpl")
"""The packages whose lines guide it."""

SLOW = ("runner.masking.encodings", "runner.masking.matcher")
"""Loops in which guidance costs more than it tells."""


class Options(Protocol):
    target: str
    files: list[Path]
    engine: str | None
    runs: int
    seconds: int
    seed: int
    minimise: bool


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=targets.NAMES)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="judge these, and nothing else")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), help="what makes the inputs")
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many (1,000,000)")
    parser.add_argument("--seconds", type=int, default=0, help="end after so many (0: never before --runs)")
    parser.add_argument("--seed", type=int, default=1, help="the same one makes the same inputs of the same corpus (1)")
    parser.add_argument("--minimise", action="store_true", help="make them shorter, as long as they find the same")
    options: Options = parser.parse_intermixed_args(arguments, namespace=argparse.Namespace())
    if options.minimise and not options.files:
        parser.error("--minimise takes a FILE")
    if options.files:
        return _replay(options)
    engine = options.engine or ("atheris" if _has_atheris() else "hypothesis")
    if engine == "hypothesis":
        if options.minimise:
            parser.error(
                "hypothesis minimises what it finds by itself; of a FILE atheris can (pip install -e '.[fuzz]')"
            )
        return _with_hypothesis(options)
    if not _has_atheris():
        parser.error("atheris is not installed here: pip install -e '.[fuzz]'")
    return _with_atheris(options)


def _replay(options: Options) -> int:
    check = targets.load(options.target)
    for path in options.files:
        data = path.read_bytes()
        if _fault_of(check, data) is None:
            print(f"{path}: nothing is wrong with it")
        elif options.minimise:
            shorter = path.with_name(f"{path.name}.shorter")
            shorter.write_bytes(minimised(check, data))
            print(shorter)
        else:
            check(data)
    return 0


def _fault_of(check: targets.Check, data: bytes) -> tuple[str, int] | None:
    """By its kind, and where it is raised, two faults are told apart."""
    try:
        check(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} {place.filename}", place.lineno or 0
    return None


def minimised(check: targets.Check, data: bytes) -> bytes:
    """What is left when nothing more can go: halves first, then single bytes."""
    fault = _fault_of(check, data)
    size = len(data)
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if _fault_of(check, shorter) == fault:
                data = shorter
            else:
                at += size
        size //= 2
    return data


def _has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def _with_atheris(options: Options) -> int:
    import atheris

    with atheris.instrument_imports(include=list(PRODUCT), exclude=list(SLOW)):
        check = targets.load(options.target)
    found = KEPT / options.target
    learnt = found / "corpus"
    learnt.mkdir(parents=True, exist_ok=True)
    words = found / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in targets.words(options.target)), encoding="ascii")
    command = [
        sys.argv[0],
        f"-artifact_prefix={found}/",
        f"-dict={words}",
        f"-timeout={SECONDS_OF_ONE}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={LONGEST_BYTES}",
        f"-seed={options.seed}",
        f"-runs={options.runs}",
        f"-max_total_time={options.seconds}",
        "-print_final_stats=1",
    ]
    command += [str(learnt), *map(str, targets.seeds(options.target))]
    atheris.Setup(command, check)
    atheris.Fuzz()  # ends the process
    return 0


def _escaped(word: bytes) -> str:
    """As libFuzzer reads it."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)


def _with_hypothesis(options: Options) -> int:
    from hypothesis import HealthCheck, Phase, given, seed, settings

    check = targets.load(options.target)
    play = settings(
        max_examples=options.runs,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
    )(seed(options.seed)(given(targets.inputs(options.target, LONGEST_BYTES))(check)))
    play()
    print(f"{options.runs:,} inputs, and nothing is wrong with them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
