"""Logs of which the end of a stream is not kept: whoever reads them is told, though nothing of the stream follows."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator

import pytest

from tests.acceptance.command import Command, group, shell
from tests.acceptance.serving import serving

ERRORS = "".join(f"error {number}\n" for number in range(8000))
SAID = "i=0; while [ $i -lt {count} ]; do echo {word} $i; i=$((i+1)); done"
SCRIPT = SAID.format(count=8000, word="error") + " >&2; " + SAID.format(count=30000, word="line")
NOTE = re.compile(r"… ([\d,]+) bytes of (std\w+) are not kept …\n")


def document() -> str:
    task = shell("t", SCRIPT)
    task["spec"]["limits"] = {"log": "64KiB"}
    return group([task])


@pytest.fixture(params=["here", "node"])
def place(request: pytest.FixtureRequest, runner: Command) -> Iterator[list[str]]:
    """The arguments that name where the group has run."""
    file = runner.write(document())
    if request.param == "here":
        assert runner("run", file).status == 0
        yield []
        return
    # The path of a socket has to be short.
    with tempfile.TemporaryDirectory(prefix="runner-") as state, serving(runner, "--state-dir", state) as node:
        assert runner("submit", "--to", node.address, "--follow", file).status == 0
        yield ["--to", node.address]


@pytest.mark.parametrize("more", [[], ["-f"]], ids=["read", "followed"])
def test_whoever_reads_one_stream_is_told_what_its_end_lacks(
    runner: Command, place: list[str], more: list[str]
) -> None:
    read = runner("logs", *place, "@last", "t", "--stderr", *more).stdout
    [note] = NOTE.finditer(read)
    kept = read[: note.start()]
    assert read == kept + note[0]
    assert ERRORS.startswith(kept)
    assert (int(note[1].replace(",", "")), note[2]) == (len(ERRORS) - len(kept), "stderr")


@pytest.mark.parametrize("more", [[], ["-f"]], ids=["read", "followed"])
def test_whoever_reads_all_is_told_so_of_each_stream(runner: Command, place: list[str], more: list[str]) -> None:
    for task in ([], ["t"]):
        told = [note[2] for note in NOTE.finditer(runner("logs", *place, "@last", *task, *more).stdout)]
        assert told == ["stdout", "stderr"]
    lines = runner("logs", *place, "@last", "t", "--output", "json", *more).stdout.splitlines()
    missing = {piece["stream"]: piece["missing"] for piece in map(json.loads, lines) if "missing" in piece}
    last = json.loads(lines[-1])
    assert (last["stream"], last["offset"], last["text"]) == ("stderr", len(ERRORS), "")
    assert missing.keys() == {"stdout", "stderr"}


def test_whoever_begins_behind_it_is_told_nothing_of_it(runner: Command, place: list[str]) -> None:
    assert runner("logs", *place, "@last", "t", "--stderr", "--offset", str(len(ERRORS))).stdout == ""
