"""`runner run`: who reads what it prints, and who does not."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.acceptance.command import RUNNER, TIMEOUT_SECONDS, Command, group, shell


def test_a_reader_that_leaves_does_not_stop_the_group(runner: Command) -> None:
    document = runner.write(group([shell("t", "echo one; echo two; sleep 0.3; echo three; touch done")]))
    process = runner.start("run", document, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert b"Traceback" not in said
    assert b"runner: standard output was lost (Broken pipe); what the tasks printed is in " in said
    assert (runner.folder / "done").exists()


def test_a_reader_that_rests_does_not_stop_the_group(runner: Command) -> None:
    """More than a pipe holds is printed while nobody reads; the file that the last task makes tells that it came so far."""
    noisy = shell("noisy", "head -c 1000000 /dev/zero | tr '\\0' x; echo")
    document = runner.write(group([noisy, shell("last", "mkfifo gate; echo go > gate", depends_on=["noisy"])]))
    process = runner.start("run", document, stdout=subprocess.PIPE)
    gate = runner.folder / "gate"
    while not gate.exists():
        assert process.poll() is None
        os.sched_yield()
    assert gate.read_text() == "go\n"
    assert process.stdout is not None
    printed = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 0
    assert printed.count(b"x") >= 1_000_000


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_are_harmless(runner: Command, closed: str) -> None:
    document = runner.write(group([shell("t", "echo out; echo err >&2; touch done")]))
    command = ["sh", "-c", f'"$@" {closed}', "sh", *RUNNER, "run", document]
    done = subprocess.run(command, cwd=runner.folder, env=runner.environment, timeout=TIMEOUT_SECONDS, check=False)
    assert done.returncode == 0
    assert (runner.folder / "done").exists()


@pytest.mark.parametrize("command", ["run", "graph", "validate"])
def test_output_that_cannot_be_written_is_no_success(runner: Command, command: str) -> None:
    document = runner.write(group([shell("t", "true")]))
    with open("/dev/full", "wb") as full:
        process = runner.start(command, document, stdout=full, stderr=subprocess.PIPE)
        assert process.stderr is not None
        with process.stderr:
            assert b"Traceback" not in process.stderr.read()
    assert process.wait() == 1


def test_a_locale_that_knows_no_umlauts(runner: Command) -> None:
    document = runner.write(group([shell("t", "echo größe")], name="größe"))
    done = runner("run", document, environment={"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"})
    assert done.status == 0
    assert "t  | größe" in done.stdout
    assert "größe: success" in done.stdout


def test_control_characters_do_not_reach_the_terminal(runner: Command) -> None:
    script = """printf '\\033[2Jx\\r\\n\\033[31mred\\033[0m\\n'; printf 'v=\\033[2J\\n' >> "$OUTPUT_FILE" """
    document = group([shell("t", script, exports=[{"name": "v", "scope": "global"}])])
    done = runner("run", runner.write(document))
    assert "t.v = \\x1b[2J" in done.stdout
    assert "t  | ^[[2Jx" in done.stdout
    assert "t  | \x1b[31mred\x1b[0m" in done.stdout
    assert "\x1b[2J" not in done.stdout
