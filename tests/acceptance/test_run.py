"""`runner run`: what it prints, where it works, and how it ends."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import apart
from tests.acceptance.command import RUNNER, Command, group, shell

DIAMOND = group(
    [
        shell("a", 'echo "v=one" >> "$OUTPUT_FILE"', exports=[{"name": "v"}]),
        shell("b", "echo out; echo err >&2", depends_on=["a"]),
        shell("c", "printf {{ .a.v | shquote }}", imports=[{"from": "a", "variable": "v"}]),
        shell("d", "pwd", depends_on=["b", "c"]),
    ],
    name="diamond",
)

FAILING = group(
    [
        shell("build", "echo half of it; exit 3"),
        shell("deploy", "echo no", depends_on=["build"]),
        shell("clean", "echo cleaning", depends_on=["deploy"], when="always"),
    ],
    name="failing",
)


def test_a_group_that_succeeds(runner: Command) -> None:
    done = runner("run", runner.write(DIAMOND))
    assert done.status == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert "b  | out" in lines
    assert "b  | err" in lines
    assert f"d  | {runner.folder}" in lines
    assert lines.index("a -- started") < lines.index("b -- started") < lines.index("d -- started")
    assert lines[-1].startswith("diamond: success after ")
    assert lines[-1].endswith(": 4 success")


def test_what_a_task_prints_comes_before_its_end(runner: Command) -> None:
    many = group([shell("t", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; printf end")])
    lines = runner("run", runner.write(many)).stdout.splitlines()
    assert [line for line in lines if "|" in line] == [f"t  | line {i}" for i in range(3000)] + ["t  | end"]
    assert lines.index("t  | end") < next(at for at, line in enumerate(lines) if line.startswith("t -- success"))


def test_a_failure_is_explained(runner: Command) -> None:
    done = runner("run", runner.write(FAILING))
    assert done.status == 1
    lines = done.stdout.splitlines()
    assert "deploy -- skipped because build did not succeed" in lines
    assert "clean   | cleaning" in lines
    assert lines[-7:-3] == [
        "  build   failed: exit code 3",
        "          | half of it",
        "  deploy  skipped because build did not succeed",
        "to see more:",
    ]


def test_a_task_that_was_killed_is_told_alike_at_its_end_and_in_the_summary(runner: Command) -> None:
    lines = runner("run", runner.write(group([shell("t", "kill -9 $$")]))).stdout.splitlines()
    assert "  t  failed: ended by SIGKILL" in lines
    assert any(line.startswith("t -- failed after ") and line.endswith(": ended by SIGKILL") for line in lines)


@pytest.mark.parametrize("forward", [{"labels": {"gpu": "x"}}, {"to": "{{ 'x' }}"}, {"to": "{{ 'local' }}"}])
def test_what_is_forwarded_waits_for_nobody(runner: Command, forward: dict[str, object]) -> None:
    """A run has no peers and gets none, which is what its warning says."""
    for document in (group([shell("far", "true", forward=forward)]), group([shell("far", "true")], forward=forward)):
        done = runner("run", "--output", "json", runner.write(document))
        assert done.status == 1
        assert "here what is forwarded ends as errored (no_such_runner)" in done.stderr
        end = done.json["results"]["far"]
        assert (end["status"], end["reason"]) == ("errored", "no_such_runner")


def test_the_result_alone_on_stdout(runner: Command) -> None:
    done = runner("run", "--output", "json", runner.write(FAILING))
    assert done.status == 1
    result = done.json
    assert (result["name"], result["status"]) == ("failing", "failed")
    assert list(result["results"]) == ["build", "deploy", "clean"]
    build, deploy, clean = result["results"].values()
    assert (build["status"], build["exit_code"], build["attempts"]) == ("failed", 3, 1)
    assert (deploy["status"], deploy["reason"], deploy["because_of"]) == ("skipped", "dependency_failed", "build")
    assert clean["status"] == "success"
    assert "build   | half of it" in done.stderr


def test_a_document_from_standard_input(runner: Command) -> None:
    done = runner("run", "-", stdin=DIAMOND.encode())
    assert done.status == 0


def test_an_isolated_workspace_is_fresh_and_goes(runner: Command) -> None:
    document = group([shell("t", "pwd; ls -A; touch left")])
    done = runner("run", "--isolated", runner.write(document))
    assert done.status == 0
    shown = [line.removeprefix("t  | ") for line in done.stdout.splitlines() if "|" in line]
    assert len(shown) == 1
    assert not Path(shown[0]).exists()
    assert os.listdir(runner.folder) == ["group.yaml"]


def test_the_environment_of_a_task_is_small(runner: Command) -> None:
    document = group([shell("t", "env")])
    done = runner("run", runner.write(document), environment={"CLOUD_TOKEN": "x", "TZ": "UTC"})
    names = {line.removeprefix("t  | ").split("=")[0] for line in done.stdout.splitlines() if "|" in line}
    made_by_the_shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    page = (Path(__file__).parents[2] / "docs" / "document.md").read_text()
    told = page.split("Its environment is ")[1].split(" `TRACEPARENT`")[0]
    assert names - made_by_the_shell == set(re.findall(r"`([A-Z_]+)`", told))


def test_the_times_of_a_task_are_in_order(runner: Command) -> None:
    tasks = [shell(f"t{index}", ":") for index in range(20)]
    results = runner("run", runner.write(group(tasks)), "--output", "json").json["results"].values()
    assert all(task["started_at"] <= task["finished_at"] for task in results)


def test_only_this_user_can_read_what_is_kept(runner: Command) -> None:
    runner("run", runner.write(DIAMOND))
    state = runner.home / ".local" / "state" / "runner"
    # The copy of the supervisor's own code is no secret.
    kept = [path for path in state.rglob("*") if "supervisor" not in path.relative_to(state).parts]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in [state, *kept] if path.is_dir()} == {0o700}


def test_the_same_id_and_content_is_the_same_run(runner: Command) -> None:
    document = runner.write(group([shell("t", "echo once >> ran")]))
    first = runner("run", "--id", "one", "--output", "json", document)
    again = runner("run", "--id", "one", "--output", "json", document)
    assert first.json == again.json
    assert (runner.folder / "ran").read_text() == "once\n"


def test_the_same_id_with_other_content_is_refused(runner: Command) -> None:
    runner("run", "--id", "one", runner.write(group([shell("t", "true")])))
    done = runner("run", "--id", "one", runner.write(group([shell("t", "false")])))
    assert done.status == 2
    assert "'one'" in done.stderr


@pytest.mark.parametrize("id", ["../up", "a/b", "."])
def test_an_id_cannot_lead_elsewhere(runner: Command, id: str) -> None:
    done = runner("run", "--id", id, runner.write(DIAMOND))
    assert done.status == 2
    assert "cannot be a group id" in done.stderr


def test_a_damaged_key_is_no_usage_error(runner: Command) -> None:
    state = runner.home / ".local" / "state" / "runner"
    state.mkdir(parents=True, mode=0o700)
    (state / "key").write_bytes(b"short")
    (state / "key").chmod(0o600)
    done = runner("run", runner.write(DIAMOND))
    assert done.status == 1
    assert "a key has 32" in done.stderr


def test_a_state_folder_that_others_use_is_not_taken_from_them(runner: Command) -> None:
    runner.folder.chmod(0o755)
    done = runner("run", runner.write(DIAMOND), "--state-dir", ".")
    assert done.status == 2
    assert "is open to other users" in done.stderr
    assert stat.S_IMODE(runner.folder.stat().st_mode) == 0o755


def test_state_that_cannot_be_kept_is_a_clear_refusal(runner: Command) -> None:
    (runner.home / ".local").write_text("a file where a folder is needed")
    done = runner("run", runner.write(DIAMOND))
    assert done.status in (1, 2)
    assert str(runner.home / ".local") in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_old_runs_are_removed_and_killed_ones_stay(runner: Command) -> None:
    document = runner.write(group([shell("t", "echo done")]))
    state = runner.folder / "state"
    arguments = ("run", "--state-dir", str(state), document)
    for name in ("old", "older", "new"):
        assert runner(*arguments, "--id", name).status == 0
    for name in ("old", "older"):
        os.utime(state / "runs" / name / "state.db", (1_000_000_000, 1_000_000_000))
    assert runner(*arguments, "--id", "last").status == 0
    assert sorted(os.listdir(state / "runs")) == ["last", "new"]
    assert runner(*arguments, "--id", "again", environment={"RUNNER_KEEP_RUNS": "1"}).status == 0
    assert os.listdir(state / "runs") == ["again"]
    refused = runner(*arguments, environment={"RUNNER_KEEP_DAYS": "a month"})
    assert (refused.status, refused.stderr) == (
        2,
        'runner: RUNNER_KEEP_DAYS: expected a whole number from 0 to 100000, found "a month"\n',
    )


def test_more_tasks_at_once_than_files_that_a_process_may_usually_open(runner: Command) -> None:
    """What runs them makes use of what it may open at most; each of them gets the usual limit."""
    count = 100
    wait = "while [ ! -e go ]; do sleep 0.05; done"
    tasks = [shell(f"t{number}", f"ulimit -Sn; echo >&2; echo > s{number}; {wait}") for number in range(count)]
    last = f"while [ $(ls | grep -c '^s') -lt {count} ]; do sleep 0.05; done; echo > go"
    name = runner.write(group([*tasks, shell("go", last)]))
    done = subprocess.run(
        ["sh", "-c", 'ulimit -Sn 128; exec "$@"', "sh", *RUNNER, "run", name, "--max-parallel", str(count + 1)],
        cwd=runner.folder,
        env=runner.environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done
    assert done.stdout.count(" | 128\n") == count


def test_on_a_system_that_forbids_much(runner: Command, require: Callable[[str], None]) -> None:
    """It has no tee, no pidfd, no memfd, and orphans go to init."""
    require("seccomp")
    script = (
        "echo ::add-mask::asked-for >&2; echo it is asked-for; cat; echo a=1 > $OUTPUT_FILE; setsid sleep 1000 & exit 0"
    )
    first = {"name": "t", "type": "os_exec", "spec": {"command": script, "stdin": "read\n"}}
    second = shell("u", "echo {{ .t.a }}", imports=[{"from": "t", "variable": "a"}])
    name = runner.write(group([{**first, "exports": [{"name": "a"}]}, second]))

    def work() -> None:
        done = runner("run", name)
        assert done.status == 0, done
        for line in ("t  | it is ***\n", "t  | read\n", "u -- success", "u  | 1\n"):
            assert line in done.stdout
        assert runner("run", "--output", "json", name).json["results"]["t"]["kill"]["leftovers"] == 1

    calls = ("tee", "splice", "pidfd_open", "pidfd_send_signal", "memfd_create", "subreaper")
    apart.run(work, apart.without(*calls, error=errno.EPERM))
