"""Logs that pass their limit: what whoever looks on is told, and what the disk holds."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.acceptance.command import TIMEOUT_SECONDS, Command, group, shell

LINES = "i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done"


def logs_of(runner: Command, task: str) -> Path:
    [found] = runner.home.rglob(f"{task}.1.log")
    return found


def test_a_task_sets_its_own_limit(runner: Command) -> None:
    tasks = [shell("t", LINES), shell("whole", LINES)]
    tasks[0]["spec"]["limits"] = {"log": "64KiB"}
    done = runner("run", runner.write(group(tasks)))
    assert done.status == 0
    lines = done.stdout.splitlines()
    warnings = [line for line in lines if "warning" in line]
    assert len(warnings) == 1
    assert re.fullmatch(
        r"t     -- warning: 3\d\d,\d{3} bytes of stdout are not kept: its log has reached its limit", warnings[0]
    )
    assert logs_of(runner, "t").stat().st_blocks * 512 < 80 << 10
    assert logs_of(runner, "whole").stat().st_blocks * 512 > 400_000


def test_whoever_is_slow_is_told_what_he_misses(runner: Command) -> None:
    """And sees all else: what is shown and what is told to be missing are all that was printed."""
    told = runner.folder / "done"
    script = f"yes 'a line that nobody reads in time' | head -c 20000000; echo the end > {told}; echo the end"
    file = runner.write(group([shell("t", script)]))
    process = runner.start(
        "run", file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, environment={"RUNNER_LOG_LIMIT": "1MiB"}
    )
    assert process.stdout is not None
    while not told.exists():
        assert process.poll() is None
    shown, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0
    lines = shown.decode().splitlines()
    missing = [
        int(found[1].replace(",", ""))
        for line in lines
        if (found := re.fullmatch(r"t -- … ([\d,]+) bytes of stdout are not kept …", line))
    ]
    assert missing
    printed = b"".join(line.removeprefix("t  | ").encode() + b"\n" for line in lines if line.startswith("t  | "))
    # Where a line was cut its rest is shown with an end of its own.
    assert 0 <= len(printed) + sum(missing) - 20_000_000 - len("the end\n") <= len(missing)
    assert any(line.startswith("t -- success") for line in lines)
    assert any(line.endswith("the end") for line in lines)


def test_a_limit_that_is_none_is_refused(runner: Command) -> None:
    file = runner.write(group([shell("t", "true")]))
    done = runner("run", file, environment={"RUNNER_LOG_LIMIT": "lots"})
    assert done.status == 2
    assert 'RUNNER_LOG_LIMIT: "lots": expected a size such as 1048576, 512MiB or 1.5GiB' in done.stderr


def test_a_task_may_keep_all_of_it_whatever_is_said_of_others(runner: Command) -> None:
    """And what another one has lost stands in an event, for programs."""
    tasks = [shell("cut", LINES), shell("whole", LINES)]
    tasks[1]["spec"]["limits"] = {"log": 0}
    done = runner("run", runner.write(group(tasks)), environment={"RUNNER_LOG_LIMIT": "64KiB"})
    assert done.status == 0
    printed = "".join(f"line {number}\n" for number in range(40_000))
    assert runner("logs", "@last", "whole", "--stdout").stdout == printed
    events = [json.loads(line) for line in runner("events", "@last", "--output", "json").stdout.splitlines()]
    [gap] = [event for event in events if event["kind"] == "log_gap"]
    assert gap["task"] == "cut"
    assert gap["stream"] == "stdout"
    begin, size = gap["offset"], gap["bytes"]
    kept = runner("logs", "@last", "cut", "--stdout").stdout
    assert kept.startswith(printed[:begin])
    assert kept.endswith(printed[begin + size :])
    assert 16_000 < len(printed) - size <= 70_000


def test_what_is_kept_where_nobody_says_how_much(runner: Command) -> None:
    shown = runner("config", "check").stdout
    assert re.search(r'^log_limit = "4GiB"\s+# default$', shown, re.MULTILINE)
