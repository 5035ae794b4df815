"""The live view as a person sees it: the command at a real terminal, and what an emulator then has on its screen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.acceptance.command import Command, group, shell
from tests.acceptance.screens import Open, Terminal, gate, open_gate, plainly

pytestmark = pytest.mark.timeout(120)


def run_id(terminal: Terminal) -> str:
    found = re.search(r"run ([0-9a-f]{16})", terminal.all_text)
    assert found is not None
    return found[1]


def test_each_task_has_a_line_and_what_waits_its_reason(runner: Command, at_terminal: Open) -> None:
    runner.write(
        group(
            [
                shell("first", "echo one; echo two"),
                shell("work", f"echo hello; {gate(runner, 'gate')}", depends_on=["first"]),
                shell("wide", f"printf '\\r10%%\\r20%% 漢字'; {gate(runner, 'other')}"),
                shell("next", "true", depends_on=["work", "wide"]),
            ],
            name="ship",
        )
    )
    terminal = at_terminal("run", "group.yaml")
    terminal.until(lambda seen: "hello" in seen.text and "20%" in seen.text)
    lines = [plainly(line) for line in terminal.display]
    assert lines[0].startswith("ship: 4 tasks, run ")
    assert lines[1:5] == [
        "✓ first  success  TIME  two",
        "▸ work   running  TIME  hello",
        "▸ wide   running  TIME  20% 漢字",
        "· next   waiting         for work and wide",
    ]
    assert lines[5].endswith("1 of 4 done · 2 running · 1 waiting · TIME")
    open_gate(runner, "other")
    terminal.until("for work\n")
    open_gate(runner, "gate")
    assert terminal.end() == 0
    assert plainly(terminal.display[4]) == "✓ next   success  TIME"
    assert "4 of 4 done" in terminal.display[5]
    assert terminal.display[6] == ""
    assert plainly(terminal.display[7]).startswith("ship: success after ")
    terminal.assert_whole()


@pytest.mark.parametrize("name", [f"a-name-of-a-{'long' * 6}-file.yaml", "漢字" * 20 + ".yaml", "two\nlines.yaml"])
def test_what_is_read_stands_there_until_it_is(runner: Command, at_terminal: Open, name: str) -> None:
    """Who waits for a large document, or a slow machine, sees at once that something goes on; and nothing of that stays."""
    runner.write(group([shell("t", "true")], name="ship"), name)
    terminal = at_terminal("run", name, columns=60)
    assert terminal.end() == 0
    shown = f"reading {name.replace(chr(10), chr(92) + 'n')} …"
    expected = shown if name.isascii() else shown[: 8 + (59 - 8) // 2]
    assert terminal.raw.startswith(expected.encode() + b"\r\x1b[K")
    assert terminal.display[0].startswith("ship: 1 task, run ")
    refused = at_terminal("run", runner.write("taskGroup: []", name), columns=60)
    assert refused.end() == 2
    assert refused.raw.startswith(expected.encode() + b"\r\x1b[K")
    assert refused.display[0].startswith("runner: ")
    assert "reading" not in refused.text


@pytest.mark.parametrize("options", [["--quiet"], ["--progress", "plain"]])
def test_who_wants_no_live_view_is_not_told_what_is_read(
    runner: Command, at_terminal: Open, options: list[str]
) -> None:
    terminal = at_terminal("run", *options, runner.write(group([shell("t", "true")])))
    assert terminal.end() == 0
    assert b"reading" not in terminal.raw


def test_the_readme_shows_what_is_seen(runner: Command, at_terminal: Open) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    found = re.search(
        r"^```yaml\n(name: hello\n.*?)^```\n.*?^```console\n\$ .*?\n(.*?)^```", readme, re.MULTILINE | re.DOTALL
    )
    assert found is not None
    runner.write(found[1], "hello.yaml")
    terminal = at_terminal("run", "hello.yaml", "--set", "who=Ada", columns=80)
    assert terminal.end() == 0
    assert timeless(terminal.text) == timeless(found[2].rstrip())


def timeless(text: str) -> str:
    return re.sub("━+", "━", re.sub(r"run \w+", "run ID", re.sub(r"\d[\d.]* (ms|s)\b", "TIME", text)))


def test_at_the_end_it_is_told_what_failed_and_where_the_rest_is(runner: Command, at_terminal: Open) -> None:
    runner.write(
        group(
            [
                shell("good", "true"),
                shell("lint", "for i in $(seq 20); do echo line $i; done; printf '\\033[31mE501\\033[0m' >&2; exit 2"),
                shell("test", "true", depends_on=["lint"]),
                shell("ship", "true", depends_on=["test"]),
            ],
            name="ship",
        )
    )
    terminal = at_terminal("run", "group.yaml", lines=50)
    assert terminal.end() == 1
    id = run_id(terminal)
    seen = [plainly(line) for line in terminal.text.splitlines()]
    assert seen[2] == "✗ lint  failed   TIME  exit code 2 · E501"
    report = "\n".join(seen[seen.index("") + 2 :])
    expected = [
        "  lint  failed: exit code 2",
        *(f"        | line {number}" for number in range(12, 21)),
        "        | E501",
        "  test  skipped because lint did not succeed",
        "  ship  skipped because test was skipped",
        "to see more:",
        f"  runner logs {id} lint  all that it printed",
        f"  runner explain {id}    why it ended like this",
        f"  runner rerun {id}      again, without what was successful",
    ]
    assert report == "\n".join(expected)
    # The commands do what is said of them.
    for command in re.findall(r"runner (logs|explain|rerun) (\S+(?: lint)?)", report):
        done = runner(command[0], *command[1].split())
        assert done.status == (1 if command[0] == "rerun" else 0), done.stderr
    terminal.assert_whole()


def test_plain_lines_end_with_the_same_report(runner: Command) -> None:
    document = runner.write(group([shell("bad", "echo why; exit 3"), shell("next", "true", depends_on=["bad"])]))
    done = runner("run", document, "--state-dir", "my state")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert "bad  -- failed after" in done.stdout
    assert lines[-7:-3] == [
        "  bad   failed: exit code 3",
        "        | why",
        "  next  skipped because bad did not succeed",
        "to see more:",
    ]
    assert re.fullmatch(r"  runner logs [0-9a-f]+ bad --state-dir 'my state'  all that it printed", lines[-3])
    quiet = runner("run", document, "--quiet")
    assert "        | why" in quiet.stdout.splitlines()
    assert " -- " not in quiet.stdout


def test_commands_say_here_where_they_would_ask_a_node(runner: Command) -> None:
    document = runner.write(group([shell("bad", "exit 3")]))
    done = runner("run", document, environment={"RUNNER_TO": "unix:/nowhere"})
    assert re.search(r"runner explain [0-9a-f]+ --here ", done.stdout)


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        ({"TERM": "dumb"}, []),
        ({"TERM": ""}, []),
        ({"CI": "true"}, []),
        ({}, ["--progress", "plain"]),
        ({}, ["--output", "json"]),
    ],
)
def test_plain_lines_where_they_are_wanted(
    runner: Command, at_terminal: Open, environment: dict[str, str], arguments: list[str]
) -> None:
    document = runner.write(group([shell("t", "echo hello")]))
    terminal = at_terminal("run", document, *arguments, environment=environment)
    assert terminal.end() == 0
    assert "t -- started\nt  | hello\nt -- success after" in terminal.all_text
    assert b"\x1b" not in terminal.raw


def test_quiet_is_quiet(runner: Command, at_terminal: Open) -> None:
    document = runner.write(group([shell("t", "echo hello")]))
    terminal = at_terminal("run", document, "--quiet")
    assert terminal.end() == 0
    assert re.fullmatch(r"task group: success after .*: 1 success", terminal.text)
    assert b"\x1b" not in terminal.raw


def test_no_color_is_live_without_colours(runner: Command, at_terminal: Open) -> None:
    document = runner.write(group([shell("t", "printf '\\033[31mhello'")]))
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)):
        terminal = at_terminal("run", document, environment=environment)
        assert terminal.end() == 0
        assert "✓ t  success" in terminal.text
        assert bool(re.search(rb"\x1b\[[1-9][0-9;]*m", terminal.raw)) is coloured


def test_what_asks_for_a_live_view_gets_it_or_an_error(runner: Command, at_terminal: Open) -> None:
    document = runner.write(group([shell("t", "echo hello; touch ran")]))
    done = runner("run", document, "--progress", "live")
    assert done.status == 2
    assert done.stderr == (
        "runner: --progress live needs a terminal, and standard output is none: leave it away, or say plain\n"
    )
    dumb = at_terminal("run", document, "--progress", "live", environment={"TERM": "dumb"})
    assert dumb.end() == 2
    assert "--progress live needs a terminal whose cursor can be moved, and TERM names none" in dumb.all_text
    assert not (runner.folder / "ran").exists()
    live = at_terminal("run", document, "--progress", "live", environment={"CI": "1"})
    assert live.end() == 0
    assert "✓ t  success" in live.text


def test_a_result_for_a_program_and_a_live_view_for_a_person(runner: Command, at_terminal: Open) -> None:
    document = runner.write(group([shell("t", "echo hello")]))
    with open(runner.folder / "result.json", "wb") as result:
        terminal = at_terminal("run", document, "--output", "json", "--progress", "live", stdout=result.fileno())
        assert terminal.end() == 0
    assert '"status": "success"' in (runner.folder / "result.json").read_text()
    assert "✓ t  success" in terminal.text


def test_it_fits_into_any_window_and_follows_it(runner: Command, at_terminal: Open) -> None:
    tasks = [shell(f"task-{number}", f"echo {'x' * 300}; {gate(runner, f'g{number}')}") for number in range(12)]
    tasks += [shell(f"late-{number}", "true", depends_on=["task-0"]) for number in range(500)]
    runner.write(group(tasks, name="many"))
    terminal = at_terminal("run", "group.yaml", "--max-parallel", "12", columns=100, lines=40)
    terminal.until(lambda seen: "12 running" in seen.text and seen.text.count("▸") == 12)
    for columns, lines in ((60, 10), (20, 6), (8, 3), (120, 40), (80, 24)):
        terminal.resize(columns, lines)

        def is_drawn(seen: Terminal, columns: int = columns, lines: int = lines) -> bool:
            frame = seen.last_frame
            fits = len(frame) < lines and max(map(cell_len, frame), default=0) == columns - 1
            assert not fits or "0 of 512 done"[: columns - 2] in frame[-1]
            return fits and sum(line.startswith("▸") for line in frame) == min(12, lines - 3)

        terminal.until(is_drawn)
    for number in range(12):
        open_gate(runner, f"g{number}")
    assert terminal.end() == 0
    terminal.assert_whole()


def test_a_thousand_tasks_are_no_more_than_a_screen(runner: Command, at_terminal: Open) -> None:
    tasks = [shell(f"t{number}", "exit 3" if number % 100 == 7 else "true") for number in range(900)]
    tasks += [shell(f"after-{number}", "true", depends_on=["t7"]) for number in range(100)]
    runner.write(group(tasks, name="big"))
    terminal = at_terminal("run", "group.yaml", lines=24)
    assert terminal.end() == 1
    frames = terminal.raw.split(b"\x1b[?25l")[1:]
    assert max(frame.partition(b"\x1b[?25h")[0].count(b"\r\n") for frame in frames) <= 23
    assert "1,000 of 1,000 done · 9 failed · 100 skipped" in terminal.all_text
    assert "100 tasks skipped because of it: after-0, after-1, after-2, after-3, after-4 and 95 more" in terminal.text
    assert "… and 100 skipped: `runner get" in terminal.text
    assert terminal.all_text.count("big: 1000 tasks") == 1


def test_a_task_cannot_leave_its_line(runner: Command, at_terminal: Open) -> None:
    hostile = r"printf '\033[2J\033[H\033[41mout\033]0;title\007\033[9A\033[?1049h\n\n\033[999;999H end\033[41m'"
    runner.write(group([shell("evil", f"{hostile}; {gate(runner, 'gate')}"), shell("good", "echo fine")]))
    terminal = at_terminal("run", "group.yaml")
    terminal.until(lambda seen: " end" in seen.text and "fine" in seen.text)
    lines = [plainly(line) for line in terminal.text.splitlines()]
    assert lines[1:3] == ["▸ evil  running  TIME  end", "✓ good  success  TIME  fine"]
    assert terminal.screen.title == ""
    assert {cell.bg for line in terminal.screen.buffer.values() for cell in line.values()} == {"default"}
    open_gate(runner, "gate")
    assert terminal.end() == 0
    terminal.assert_whole()


def test_a_secret_is_masked_in_the_view(runner: Command, at_terminal: Open) -> None:
    tasks = [shell("t", "echo my $PIN; exit 4")]
    tasks[0]["spec"]["envs"] = {"PIN": "{{ .inputs.pin }}"}
    runner.write(group(tasks, inputs={"pin": {"confidential": True}}))
    terminal = at_terminal("run", "group.yaml", "--set-secret", "pin=env:PIN", environment={"PIN": "hunter2-hunter2"})
    assert terminal.end() == 1
    assert terminal.text.count("my ***") == 2
    assert b"hunter2" not in terminal.raw


def test_a_run_is_watched_live_from_beside(runner: Command, at_terminal: Open) -> None:
    runner.write(
        group(
            [shell("work", f"echo ready; {gate(runner, 'gate')}"), shell("next", "true", depends_on=["work"])],
            name="ship",
        )
    )
    process = runner.start("run", "group.yaml", "--id", "one", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    terminal = at_terminal("watch", "one")
    terminal.until(lambda seen: "ready" in seen.text and "for work" in seen.text)
    open_gate(runner, "gate")
    assert terminal.end() == 0
    assert process.wait() == 0
    assert "2 of 2 done" in terminal.text
    terminal.assert_whole()
    again = at_terminal("watch", "one")
    assert again.end() == 0
    assert "✓ next  success" in again.text


def test_a_secret_that_is_typed_is_not_seen(runner: Command, at_terminal: Open) -> None:
    runner.write(
        "inputs: {token: {confidential: true}}\n"
        'taskGroup: [{name: a, type: os_exec, spec: {command: "echo ${#TOKEN} letters", envs: {TOKEN: "{{ .inputs.token }}"}}}]\n'
    )
    terminal = at_terminal("run", "group.yaml", "--set-secret", "token=-")
    terminal.until("--set-secret token:")
    terminal.type("correct-horse\n")
    assert terminal.end() == 0
    assert "13 letters" in terminal.text
    assert b"horse" not in terminal.raw


def test_a_secret_that_nobody_types(runner: Command, at_terminal: Open) -> None:
    runner.write(
        "inputs: {token: {confidential: true}}\ntaskGroup: [{name: a, type: os_exec, spec: {command: echo}}]\n"
    )
    terminal = at_terminal("run", "group.yaml", "--set-secret", "token=-", columns=150)
    terminal.until("--set-secret token:")
    terminal.type("\x04")
    assert terminal.end() == 2
    said = "runner: --set-secret token: nothing was typed; type the value and Enter, or give @file or env:VARIABLE"
    assert said in terminal.text
