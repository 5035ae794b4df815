"""`runner shell` on what `runner run` has kept: where a task ran, what is there, how it ends, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import visits
from runner.errors import GroupInUseError
from runner.runs.runs import Runs
from tests.acceptance.command import Command, group, shell
from tests.acceptance.screens import Open, Terminal
from tests.acceptance.shelling import is_alive, until, until_written

SECRET = "correct horse battery staple"
DOCUMENT = group(
    [
        {
            "name": "build",
            "type": "os_exec",
            "spec": {
                "command": "mkdir -p site; echo made > site/made; exit 3",
                "envs": {
                    "PLAIN": "{{ .inputs.plain }}",
                    "TOKEN": "{{ .inputs.token }}",
                    "BOTH": "a-{{ .inputs.token }}-b",
                },
                "files": {"open": "nothing special", "kubeconfig": "token: {{ .inputs.token }}"},
            },
        },
        {
            **shell("in-site", "exit 1"),
            "when": "always",
            "depends_on": ["build"],
            "spec": {"command": "exit 1", "workdir": "site"},
        },
        shell("later", "true", depends_on=["build"]),
        {"name": "evaluated", "type": "expression_evaluation", "spec": {"string_to_evaluate": "x"}},
        {**shell("each", "true"), "matrix": {"os": ["a", "b"]}},
    ],
    name="shelled",
    env={"OF": "{{ .group.name }}"},
    inputs={"plain": {"default": "seen"}, "token": {"confidential": True, "default": SECRET}},
)

WAITS_FOR_A_SIZE = "sh -c 'trap \"stty size; exit\" WINCH; echo waits; while :; do sleep 0.02; done'\r"


@pytest.fixture
def kept(runner: Command) -> Command:
    """With a run that has failed."""
    assert runner("run", runner.write(DOCUMENT)).status == 1
    return runner


def prompts(terminal: Terminal) -> bool:
    return terminal.text.endswith(("#", "$"))


def test_a_pipe_finds_the_folder_the_environment_and_the_streams_apart(kept: Command) -> None:
    script = b"pwd; cat site/made; echo $PLAIN $OF $RUNNER_TASK_NAME; cat $FILE_OPEN; echo x=1 >> $OUTPUT_FILE; echo bad >&2; exit 7"
    done = kept("shell", "@last", "build", stdin=script)
    assert done.status == 7
    assert done.stdout == f"{kept.folder}\nmade\nseen shelled build\nnothing special"
    assert done.stderr.splitlines() == [
        "runner: not in this environment, for it is confidential: BOTH, TOKEN, FILE_KUBECONFIG (--secrets gives it)",
        "bad",
    ]


def test_what_is_confidential_is_there_with_secrets_alone(kept: Command) -> None:
    script = b'env; cat "$FILE_KUBECONFIG"; ls -A "$(dirname "$FILE_OPEN")"'
    without = kept("shell", "@last", "build", stdin=script)
    assert SECRET not in without.stdout + without.stderr
    assert "kubeconfig" not in without.stdout
    for name in ("TOKEN", "BOTH", "FILE_KUBECONFIG"):
        assert f"{name}=" not in without.stdout
    with_them = kept("shell", "--secrets", "@last", "build", "--", "sh", "-c", 'echo "$BOTH"; cat "$FILE_KUBECONFIG"')
    assert (with_them.status, with_them.stdout) == (0, f"a-{SECRET}-b\ntoken: {SECRET}")
    assert with_them.stderr == ""


def test_a_command_in_its_place(kept: Command) -> None:
    assert kept("shell", "@last", "in-site", "--", "cat", "made").stdout == "made\n"
    assert kept("shell", "@last", "in-site", "--attempt", "1", "--", "sh", "-c", "exit 9").status == 9
    assert kept("shell", "@last", "in-site", "--", "sh", "-c", "kill -9 $$").status == 137
    absent = kept("shell", "@last", "in-site", "--", "no-such-program")
    assert absent.status == 127
    assert "'no-such-program' was not found in PATH" in absent.stderr
    assert kept("shell", "@last", "in-site", "--", "./made").status == 126
    assert kept("shell", "@last", "build", "pwd").stdout == f"{kept.folder}\n"


def test_the_shell_is_the_users_own(kept: Command, tmp_path: Path) -> None:
    own = tmp_path / "own-shell"
    own.write_text("#!/bin/sh\necho this is mine\n")
    own.chmod(0o755)
    done = kept("shell", "@last", "build", environment={"SHELL": str(own)})
    assert done.stdout == "this is mine\n"


def test_bytes_are_left_as_they_are(kept: Command) -> None:
    everything = os.urandom(3 << 20)
    process = kept.start("shell", "@last", "build", "--", "cat", stdin=-1, stdout=-1)
    out, _ = process.communicate(everything, timeout=40)
    assert process.returncode == 0
    assert out == everything


def test_a_reader_who_has_enough_ends_it(kept: Command) -> None:
    process = kept.start("shell", "@last", "build", "--", "sh", "-c", "echo $$; exec yes", stdout=-1, stderr=-1)
    assert process.stdout is not None
    assert process.stderr is not None
    pid = int(process.stdout.readline())
    process.stdout.close()
    assert process.wait(40) == 128 + signal.SIGPIPE
    assert b"lost" not in process.stderr.read()
    assert not is_alive(pid)


def test_what_cannot_be_written_ends_it(kept: Command) -> None:
    command = ["shell", "@last", "in-site", "--", "sh", "-c", "echo x; sleep 1000"]
    with open("/dev/full", "wb") as full:
        process = kept.start(*command, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE)
    assert process.communicate(timeout=30)[1] == b"runner: stdout was lost: No space left on device\n"
    assert process.returncode == 1


def test_a_run_that_somebody_looks_at_and_goes_on_looking_at_stays(
    kept: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is asked to leave, and does not."""
    state = kept.home / ".local/state/runner"
    (folder,) = [path.parent for path in (state / "runs").glob("*/state.db")]
    monkeypatch.setattr(visits, "END_SECONDS", 0.1)
    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    with visits.visit(folder), pytest.raises(GroupInUseError) as caught:
        asyncio.run(Runs(state / "runs", state / "key").remove(folder.name))
    assert caught.value.message == "somebody looks at it by `runner shell`, which does not end"


def test_what_is_missing_on_the_line_is_named(runner: Command) -> None:
    done = runner("shell", "it", "--", "ls")
    assert done.status == 2
    assert "the following arguments are required: TASK" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["@last", "later"],
            "the task 'later' has not run, so there is no place to look at: it is skipped; `runner explain` says why",
        ),
        (["@last", "evaluated"], 'a task of the type "expression_evaluation" has no shell; `runner driver ls` shows'),
        (["@last", "each"], "nothing runs for 'each' itself: name one of its instances, as `runner get` shows them"),
        (["@last", "biuld"], "the group has no task 'biuld' (did you mean 'build'?)"),
        (["@last", "build", "--attempt", "2"], "the task 'build' has no attempt 2: the last one was 1"),
        (["zz", "build"], "there is no run 'zz'"),
    ],
)
def test_what_there_is_no_shell_for(kept: Command, arguments: list[str], words: str) -> None:
    done = kept("shell", *arguments)
    assert done.status == 2
    assert done.stderr.startswith(f"runner: {words}")
    assert done.stderr.count("\n") == 1


def test_a_workspace_that_is_gone_is_named_with_what_keeps_it(runner: Command) -> None:
    assert runner("run", "--isolated", runner.write(DOCUMENT)).status == 1
    done = runner("shell", "@last", "build")
    assert done.status == 2
    assert "the workspace of the group is gone (" in done.stderr
    assert "`runner run --isolated` leaves it there with --keep-workspace" in done.stderr
    assert runner("run", "--isolated", "--keep-workspace", "group.yaml").status == 1
    assert runner("shell", "@last", "build", "--", "cat", "site/made").stdout == "made\n"


def test_driver_ls_says_which_types_have_one(runner: Command) -> None:
    head, *rows = runner("driver", "ls").stdout.splitlines()
    at = head.index("SHELL")
    assert {row.split()[0]: row[at:].split()[0] for row in rows} == {"os_exec": "yes", "expression_evaluation": "-"}
    assert "shell      `runner shell` has one" in runner("driver", "show", "os_exec").stdout
    assert "shell      none" in runner("driver", "show", "expression_evaluation").stdout


def test_nothing_is_left_in_memory(kept: Command) -> None:
    done = kept("shell", "@last", "build", "--", "sh", "-c", "echo $OUTPUT_FILE")
    assert not Path(done.stdout.strip()).parent.exists()
    (run_dir,) = (kept.home / ".local/state/runner/runs").iterdir()
    assert list(run_dir.glob("shell-*")) == []


# At a terminal.


def keys_and_sizes_arrive(terminal: Terminal) -> None:
    """At one where `cat` runs, to the shell's end."""
    terminal.type("\x03")
    terminal.until(lambda one: any(line.startswith("^C") for line in one.display) and prompts(one))
    terminal.type("echo 'the shell' goes on\r")
    terminal.until(lambda one: "the shell goes on" in one.display)
    terminal.type(WAITS_FOR_A_SIZE)
    terminal.until(lambda one: "waits" in one.display)
    terminal.resize(70, 20)
    terminal.until(lambda one: "20 70" in one.display)
    terminal.until(prompts)
    terminal.type("exit 5\r")
    assert terminal.end() == 5
    terminal.assert_whole()


def test_a_terminal_has_the_size_the_kind_and_the_keys_of_ours(kept: Command, at_terminal: Open) -> None:
    terminal = at_terminal("shell", "@last", "build", columns=91, lines=23)
    terminal.until(prompts)
    terminal.type("stty size; echo $TERM; tty >/dev/null && echo is one\r")
    terminal.until(lambda one: "is one" in one.display)
    assert "23 91" in terminal.display
    assert "xterm-256color" in terminal.display
    terminal.type("cat\rtyped back\r")
    terminal.until(lambda one: one.display.count("typed back") == 2)
    keys_and_sizes_arrive(terminal)


def test_an_end_of_what_is_typed_ends_the_shell(kept: Command, at_terminal: Open) -> None:
    terminal = at_terminal("shell", "@last", "build")
    terminal.until(prompts)
    terminal.type("\x04")
    assert terminal.end() == 0
    terminal.assert_whole()


def test_a_program_may_use_the_terminal_raw(kept: Command, at_terminal: Open) -> None:
    program = "import sys, tty; tty.setraw(0); sys.stdout.write('ready'); sys.stdout.flush(); print(repr(sys.stdin.buffer.raw.read(1)), end='\\r\\n')"
    for key in ("\x03", "\x1a", "\x1c", "\x11", "\x7f"):
        terminal = at_terminal("shell", "@last", "build", "--", "python3", "-c", program)
        terminal.until("ready")
        terminal.type(key)
        assert terminal.end() == 0
        assert repr(key.encode()) in terminal.text
        terminal.assert_whole()


def test_much_output_of_a_terminal_comes_whole(kept: Command) -> None:
    ours, inner = os.openpty()
    script = "test -t 1 && head -c 10485760 /dev/zero | tr '\\0' x"
    process = kept.start("shell", "@last", "build", "--", "sh", "-c", script, stdin=inner, stdout=-1)
    out, _ = process.communicate(timeout=40)
    os.close(ours)
    os.close(inner)
    assert process.returncode == 0
    assert out == b"x" * 10485760


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_leaves_the_terminal_whole_and_nothing_running(
    kept: Command, at_terminal: Open, number: signal.Signals
) -> None:
    terminal = at_terminal("shell", "@last", "build")
    terminal.until(prompts)
    terminal.type("trap '' HUP TERM; setsid sleep 1000 & echo $! $$ > pids\r")
    pids = until_written(kept.folder / "pids")
    terminal.process.send_signal(number)
    assert terminal.end() == 128 + number
    terminal.assert_whole()
    assert not any(map(is_alive, pids))


def says_for_ever(kept: Command) -> tuple[list[str], Callable[[], int]]:
    """A command that shows more than anybody takes, and what gives its process, once it does not get rid of it."""
    (kept.folder / "print").write_text("echo $$ > pids; exec yes > /dev/stdout")

    def stuck() -> int:
        (pid,) = until_written(kept.folder / "pids")
        until(lambda: has_paused(pid))  # once everything on the way is full
        return pid

    return ["shell", "@last", "build", "--", "sh", str(kept.folder / "print")], stuck


def has_paused(pid: int) -> bool:
    """Whether it has written nothing for a while."""
    before = written(pid)
    time.sleep(0.2)
    return written(pid) == before


def written(pid: int) -> str:
    return next(line for line in Path(f"/proc/{pid}/io").read_text().splitlines() if line.startswith("wchar"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_terminal_that_takes_nothing_does_not_keep_it(
    kept: Command, at_terminal: Open, number: signal.Signals
) -> None:
    command, stuck = says_for_ever(kept)
    terminal = at_terminal(*command)
    pid = stuck()
    terminal.process.send_signal(number)
    assert terminal.process.wait(20) == 128 + number
    assert termios.tcgetattr(terminal._inner) == terminal.settings
    assert not is_alive(pid)


def test_a_pipe_that_takes_nothing_does_not_keep_it(kept: Command) -> None:
    command, stuck = says_for_ever(kept)
    process = kept.start(*command, stdin=-1, stdout=-1)
    pid = stuck()
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM
    assert not is_alive(pid)


def test_a_window_that_is_closed_ends_it(kept: Command, at_terminal: Open) -> None:
    terminal = at_terminal("shell", "@last", "build")
    terminal.until(prompts)
    terminal.type("trap '' HUP; setsid sleep 1000 & echo $! $$ > pids\r")
    pids = until_written(kept.folder / "pids")
    terminal.hang_up()
    until(lambda: terminal.process.poll() is not None and not any(map(is_alive, pids)))


def test_killed_it_leaves_nothing(kept: Command) -> None:
    process = kept.start("shell", "@last", "build", stdin=-1)
    assert process.stdin is not None
    process.stdin.write(b"trap '' HUP TERM; setsid sleep 1000 & echo $! $$ > pids; wait\n")
    process.stdin.flush()
    pids = until_written(kept.folder / "pids")
    assert all(map(is_alive, pids))
    process.kill()
    until(lambda: not any(map(is_alive, pids)))


def test_a_supervisor_that_is_killed_ends_it_with_a_word(kept: Command) -> None:
    process = kept.start("shell", "@last", "build", stdin=-1, stderr=-1)
    assert process.stdin is not None
    process.stdin.write(b"trap '' HUP TERM; setsid sleep 1000 & echo $! $$ $PPID > pids; wait\n")
    process.stdin.flush()
    *pids, supervisor = until_written(kept.folder / "pids")
    os.kill(supervisor, signal.SIGKILL)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 1
    assert b"the supervisor that kept its processes ended" in said
    assert not any(map(is_alive, pids))


def test_a_run_that_is_removed_ends_its_shells(kept: Command) -> None:
    process = kept.start("shell", "@last", "build", stdin=-1)
    assert process.stdin is not None
    process.stdin.write(b"echo $$ > pids\n")
    process.stdin.flush()
    pids = until_written(kept.folder / "pids")
    assert kept("rm", "--all", "--force").status == 0
    assert process.wait(40) == 128 + signal.SIGHUP
    assert not any(map(is_alive, pids))
    assert list((kept.home / ".local/state/runner/runs").iterdir()) == []
