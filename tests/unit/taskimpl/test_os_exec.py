"""The driver `os_exec` without processes: its spec, its warnings, and what it asks a process host for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.base import ProcessLimits, Recovery
from runner.errors import DriverError, OutputFileError, RecoverError, StartError
from runner.model import wording
from runner.model.fault import spell_path
from runner.model.result import Status
from runner.model.value import Value
from runner.process.fake import FakeHost, FakeRun
from taskimpl.os_exec import OsExecDriver, OsExecSpec
from taskimpl.os_exec.outputfiles import MAX_LOOKED_BYTES, AttemptFiles
from tests.contract.process_labs import Sink
from tests.os_exec_attempts import KEY, context, driver

Scenario = Callable[[FakeHost], Awaitable[None]]


def message(spec: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        OsExecSpec.model_validate(spec)
    return "; ".join(
        f"{spell_path(problem.path)}: {problem.message}" for problem in wording.problems(caught.value.errors(), spec)
    )


class TestSpec:
    @pytest.mark.parametrize(
        "envs",
        [
            {"A": "1", "EMPTY": "", "B": "x=y"},
            {"A": "1", "EMPTY": None, "B": "x=y"},
            [{"key": "A", "value": "1"}, {"key": "EMPTY"}, {"key": "B", "value": "x=y"}],
            ["A=1", "EMPTY=", "B=x=y"],
            ["A=0", {"key": "EMPTY", "value": ""}, "A=1", "B=x=y"],
        ],
    )
    @pytest.mark.parametrize("name", ["envs", "env", "data"])
    def test_every_spelling_of_the_environment(self, name: str, envs: Any) -> None:
        spec = OsExecSpec.model_validate({"command": ["true"], name: envs})
        assert spec.environment == {"A": "1", "EMPTY": "", "B": "x=y"}

    def test_two_spellings_at_once_are_refused(self) -> None:
        assert "env: " in message({"command": ["true"], "envs": {}, "env": {}})

    @pytest.mark.parametrize(
        ("envs", "expected"),
        [
            ("A=1", "envs: expected a mapping or a list"),
            ({"A=B": "x"}, "envs[\"A=B\"]: the name 'A=B' must not contain '=' or NUL"),
            ({"": "x"}, 'envs[""]: the name of the variable is empty'),
            ({"A\0": "x"}, "envs[\"A\\u0000\"]: the name 'A\\x00' must not contain '=' or NUL"),
            ({"A": "x\0"}, "envs.A: a NUL byte is not allowed"),
            ({"A": 1, "B": ["x"], "C": "y"}, "envs.A: expected text; envs.B: expected text"),
            (["A", "B=1", 2], "envs[0]: expected KEY=VALUE or {key, value}; envs[2]: expected a mapping"),
            (["=x"], "envs[0]: the name of the variable is empty"),
            ([{"key": "A", "vale": "x"}, {"value": "x"}], "envs[0].vale: unknown key; envs[1].key: is required"),
            ({"A": "x" * 131_072}, "envs.A: 131,072 bytes; at most 131,071 are possible, with the name: use files"),
            (
                {"A": "ä" * 65_535},
                "envs: A: 131,072 bytes with its name; at most 131,071 are possible: use files",
            ),
        ],
    )
    def test_bad_environment(self, envs: Any, expected: str) -> None:
        assert message({"command": ["true"], "envs": envs}) == expected

    def test_the_longest_value(self) -> None:
        OsExecSpec.model_validate({"command": ["true"], "envs": {"A": "x" * 131_069}})

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            ([], "command: the command is empty"),
            ("", "command: the command is empty"),
            (" \n", "command: the command is empty"),
            (["", "x"], "command: the program's name (item 0) is empty"),
            (["a", 1, "b", ["c"]], "command[1]: expected text; command[3]: expected text"),
            (["a", "b\0"], "command[1]: a NUL byte is not allowed"),
            ("a\0", "command: a NUL byte is not allowed"),
            ({"a": "b"}, "command: expected text or a list"),
            (None, "command: expected text or a list"),
        ],
    )
    def test_bad_command(self, command: Any, expected: str) -> None:
        assert message({"command": command}) == expected

    @pytest.mark.parametrize("user", ["nobody", "0", "1000", "www-data:33", "1000:users", "svc_a$", "{{ .a.b }}"])
    def test_users(self, user: str) -> None:
        assert OsExecSpec.model_validate({"command": ["true"], "user": user}).user == user

    @pytest.mark.parametrize("user", ["", ":", "a:", ":b", "a:b:c", "a b", "a/b", "a\0", "4294967295", "0:4294967295"])
    def test_what_names_no_user(self, user: str) -> None:
        assert message({"command": ["true"], "user": user}).startswith("user: ")

    def test_limits(self) -> None:
        """As a document gives them, and as a template does: as text."""
        for given in (
            {"memory": "512MiB", "nofile": 100, "nice": -5, "oom_score_adj": 500, "log": "1MiB"},
            {"memory": 512 << 20, "nofile": "100", "nice": "-5", "oom_score_adj": "500", "log": "1048576"},
        ):
            limits = OsExecSpec.model_validate({"command": ["true"], "limits": given}).limits
            assert limits is not None
            assert limits.model_dump() == {
                "memory": 512 << 20,
                "nofile": 100,
                "nice": -5,
                "oom_score_adj": 500,
                "log": 1 << 20,
            }

    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            ("512MiB", "limits: expected a mapping"),
            ({"memory": "512m"}, "limits.memory: unknown unit 'm'; known are B, KiB, MiB, GiB, TiB, kB, MB, GB, TB"),
            ({"memory": 1.5}, "limits.memory: expected a size such as 1048576, 512MiB or 1.5GiB"),
            ({"memory": [1]}, "limits.memory: expected a size such as 1048576, 512MiB or 1.5GiB"),
            ({"memory": True}, "limits.memory: expected a size such as 1048576, 512MiB or 1.5GiB"),
            ({"memory": 512}, "limits.memory: 512 bytes are too few for any program; expected at least 1MiB"),
            ({"log": 1}, "limits.log: 1 bytes are too few for a log; expected at least 64KiB, or 0 to keep all of it"),
            ({"log": "much"}, "limits.log: expected a size such as 1048576, 512MiB or 1.5GiB"),
            ({"nofile": 3}, "limits.nofile: expected at least 4"),
            ({"nice": 20}, "limits.nice: expected at most 19"),
            ({"nice": "kind"}, "limits.nice: expected a whole number"),
            ({"oom_score_adj": -1001}, "limits.oom_score_adj: expected at least -1000"),
            ({"cpu": 1}, "limits.cpu: unknown key"),
        ],
    )
    def test_bad_limits(self, limits: Any, expected: str) -> None:
        assert message({"command": ["true"], "limits": limits}) == expected

    def test_unknown_keys_are_refused(self) -> None:
        assert message({"command": ["true"], "comand": "x"}).startswith("comand: ")

    @pytest.mark.parametrize("workdir", ["..", "../x", "a/../../b", "a/./../..", "", "a\0"])
    def test_a_folder_outside_the_workspace_is_refused(self, workdir: str) -> None:
        assert message({"command": ["true"], "workdir": workdir}).startswith("workdir: ")

    @pytest.mark.parametrize("workdir", [".", "a", "a/../b", "..a", "{{ .x.y }}/..", "/somewhere/known/later"])
    def test_a_folder_that_may_be_in_the_workspace(self, workdir: str) -> None:
        OsExecSpec.model_validate({"command": ["true"], "workdir": workdir})

    @pytest.mark.parametrize("shell", ["zsh", "", "bash -x", "sh 'x {0}"])
    def test_bad_shell(self, shell: str) -> None:
        assert message({"command": "x", "shell": shell}).startswith("shell: ")

    def test_a_shell_needs_a_script(self) -> None:
        assert "a list is run without one" in message({"command": ["true"], "shell": "bash"})


class TestWarnings:
    def found(self, spec: dict[str, Any], *confidential: str) -> list[tuple[tuple[str | int, ...], str]]:
        findings = driver().check(spec, (), confidential)
        assert all(found.warning for found in findings)
        return [(found.path, found.message) for found in findings]

    def test_a_value_that_stands_in_many_places_is_told_once(self) -> None:
        (found,) = driver().check({"command": "echo '{{ .a.b }}' {{ .a.b }} {{ .a.b }}; cat {{ .a.b }}"}, ())
        assert found.offset == len("echo '{{ .a.b }}' ")

    @pytest.mark.parametrize(
        ("script", "unquoted"),
        [
            ("echo {{ .a.b }}", True),
            ("echo {{ .a.b | upper }}", True),
            ("echo 'x'{{ .a.b }}", True),
            ("echo \\'{{ .a.b }}", True),
            ('echo "it\'s" {{ .a.b }}', True),
            ("# it's\necho {{ .a.b }}", True),
            ("# {{ .a.b }}", True),
            ("echo ${x#'}'} {{ .a.b }}", True),
            ("echo '{{ .a.b }}'", False),
            ("echo {{ .a.b | shquote }}", False),
            ("echo {{ .a.b | upper | shquote }}", False),
            ("echo {{ .a.b }}".replace("a.b", "group.id"), False),
            ("echo {{ 'constant' }}", False),
            ("echo $A", False),
            ("echo {{ broken", False),
        ],
    )
    def test_unquoted_in_a_script(self, script: str, unquoted: bool) -> None:
        expected = [("command",)] if unquoted else []
        assert [path for path, text in self.found({"command": script}) if "unquoted" in text] == expected
        in_list = self.found({"command": ["/bin/bash", "-euc", script]})
        assert [path for path, text in in_list if "unquoted" in text] == [("command", 2)] * unquoted

    def test_another_user_where_the_runner_is_not_root(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for uid, expected in ((0, []), (1000, [("user",)])):
            monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
            assert [path for path, _ in self.found({"command": ["true"], "user": "nobody"})] == expected

    def test_between_double_quotes(self) -> None:
        [(path, text)] = self.found({"command": 'echo "{{ .a.b }}"'})
        assert path == ("command",)
        assert "double quotes" in text
        assert "envs" in text

    def test_other_programs_read_no_shell(self) -> None:
        assert self.found({"command": ["echo", "{{ .a.b }}"]}) == []
        assert self.found({"command": "print({{ .a.b }})", "shell": "python"}) == []
        assert self.found({"command": ["sh", "script.sh", "{{ .a.b }}"]}) == []

    def test_confidential_in_a_command_line(self) -> None:
        spec = {"command": ["login", "--password={{ .fetch-secret.password | trim }}", "{{ .fetch-secret.user }}"]}
        [(path, text)] = self.found(spec, "fetch-secret.password", "inputs.token")
        assert path == ("command", 1)
        assert text.startswith("fetch-secret.password is confidential")
        assert self.found({"command": ["x"], "envs": {"A": "{{ .inputs.token }}"}}, "inputs.token") == []
        assert len(self.found({"command": "x '{{ inputs.token }}'"}, "inputs.token")) == 1

    @pytest.mark.parametrize(
        "spec",
        [{}, {"command": None}, {"command": [1, None]}, {"command": {}, "shell": 3}, {"command": "x", "shell": []}],
    )
    def test_nothing_is_too_wrong_for_it(self, spec: dict[str, Any]) -> None:
        assert self.found(spec) == []


def play(scenario: Scenario) -> None:
    async def ends(run: FakeRun) -> int:
        Path(run.spec.env["OUTPUT_FILE"]).write_text(run.spec.env.get("WRITES", ""))
        return int(run.spec.env.get("CODE", "0"))

    async def stays(run: FakeRun) -> int:
        await run.write("stdout", b"ready")
        return await run.forever()

    async def main() -> None:
        async with asyncio.timeout(20), FakeHost({"ends": ends, "stays": stays, "sh": stays, "bash": stays}) as host:
            await scenario(host)

    asyncio.run(main())


class TestDriver:
    def test_capabilities(self) -> None:
        capabilities = OsExecDriver.capabilities
        assert capabilities.recovery is Recovery.ATTACH
        assert capabilities.deadline
        assert capabilities.signals == {"pause", "start", "destroy"}

    def test_the_environment_and_nothing_else(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            spec = {"command": ["ends", "a"], "envs": {"B": "task", "LANG": "de", "RUNNER_TASK_NAME": "lie"}}
            ctx = context(tmp_path, host, spec, env={"A": "group", "B": "group"}, timeout=7.0, grace=3.0)
            await driver().start(ctx, KEY)
            [(key, asked)] = host.spawned
            assert key == KEY
            output = asked.env["OUTPUT_FILE"]
            assert asked.env == {
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": "/root",
                "LANG": "de",
                "TZ": "UTC",
                "A": "group",
                "B": "task",
                "RUNNER_GROUP_ID": "group-1",
                "RUNNER_GROUP_NAME": "deploy",
                "RUNNER_TASK_NAME": "build",
                "RUNNER_TASK_ATTEMPT": "1",
                "RUNNER_WORKSPACE": str(tmp_path / "workspace"),
                "OUTPUT_FILE": output,
            }
            assert (asked.argv, asked.cwd) == (["ends", "a"], str(tmp_path / "workspace"))
            assert (asked.timeout, asked.grace) == (7.0, 3.0)
            assert Path(output).parent == tmp_path / "temp"
            assert Path(output).stat().st_mode & 0o777 == 0o600

        play(scenario)

    def test_what_it_reads_and_its_limits(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            spec = {"command": ["ends"], "stdin": "a\nb", "limits": {"nice": 3}}
            await driver().start(context(tmp_path, host, spec), KEY)
            await driver().start(context(tmp_path, host, {"command": ["ends"]}), "plain")
            (_, asked), (_, plain) = host.spawned
            assert (asked.stdin, asked.limits, asked.user) == ("a\nb", ProcessLimits(nice=3), None)
            assert (plain.stdin, plain.limits, plain.user) == (None, None, None)

        play(scenario)

    def test_a_user_that_is_not_there(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            for user, said in (
                ("no-such-user", "there is no user 'no-such-user'"),
                ("0:no-such-group", "there is no group 'no-such-group'"),
                ("4294967000", "has no entry on this machine"),
            ):
                with pytest.raises(StartError, match=said) as caught:
                    await driver().start(context(tmp_path, host, {"command": ["ends"], "user": user}), KEY)
                assert (caught.value.exit_code, caught.value.reason) == (125, "start_failed")
            assert host.spawned == []
            assert list((tmp_path / "temp").iterdir()) == []

        play(scenario)

    def test_another_user_is_for_root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(os, "getegid", lambda: 1000)

        async def scenario(host: FakeHost) -> None:
            with pytest.raises(StartError, match="only a runner that is root"):
                await driver().start(context(tmp_path, host, {"command": ["ends"], "user": "1001:1001"}), KEY)
            assert host.spawned == []

        play(scenario)

    def test_a_private_folder_that_the_user_cannot_reach(self, tmp_path: Path, require: Callable[[str], None]) -> None:
        require("root")
        tmp_path.chmod(0o700)

        async def scenario(host: FakeHost) -> None:
            with pytest.raises(StartError, match=r"cannot reach the runner's private folder, for /.* is closed to it"):
                await driver().start(context(tmp_path, host, {"command": ["ends"], "user": "12345:12345"}), KEY)
            assert host.spawned == []

        play(scenario)

    def test_only_what_the_runner_has_is_inherited(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            await OsExecDriver({"HOME": "/h", "X": "y"}).start(context(tmp_path, host, {"command": ["ends"]}), KEY)
            [(_, asked)] = host.spawned
            assert {name for name in asked.env if not name.startswith("RUNNER_")} == {"HOME", "OUTPUT_FILE"}

        play(scenario)

    @pytest.mark.parametrize(
        ("shell", "argv"),
        [
            (None, ["sh", "-e", "-c", "echo hi\n"]),
            ("sh", ["sh", "-e", "-c", "echo hi\n"]),
            ("bash", ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", "echo hi\n"]),
        ],
    )
    def test_shells(self, tmp_path: Path, shell: str | None, argv: list[str]) -> None:
        async def scenario(host: FakeHost) -> None:
            await driver().start(context(tmp_path, host, {"command": "echo hi\n", "shell": shell}), KEY)
            [(_, asked)] = host.spawned
            assert asked.argv == argv

        play(scenario)

    def test_a_shell_that_wants_a_file(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            handle = await one.start(context(tmp_path, host, {"command": "1 + 1", "shell": "ends -x {0} 'a b'"}), KEY)
            [(_, asked)] = host.spawned
            assert asked.argv[:2] == ["ends", "-x"]
            assert asked.argv[3] == "a b"
            script = Path(asked.argv[2])
            assert script.read_text() == "1 + 1"
            assert script.stat().st_mode & 0o777 == 0o600
            await one.wait(handle)
            await one.destroy(handle)
            assert not script.exists()

        play(scenario)

    def test_success_and_its_outputs(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            handle = await one.start(
                context(tmp_path, host, {"command": ["ends"], "envs": {"WRITES": "a=1\nb=\n"}}), KEY
            )
            outcome = await one.wait(handle)
            assert (outcome.status, outcome.exit_code, outcome.reason) == (Status.SUCCESS, 0, None)
            assert outcome.outputs == {"a": Value("1"), "b": Value("")}
            assert outcome.started_at is not None
            assert outcome.finished_at is not None
            assert await one.wait(handle) == outcome, "until it is destroyed, the same can be found again"
            await one.destroy(handle)
            await one.destroy(handle)
            assert list((tmp_path / "temp").iterdir()) == []
            assert await host.list() == ()

        play(scenario)

    def test_failure_keeps_its_outputs(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            spec = {"command": ["ends"], "envs": {"WRITES": "a=1\n", "CODE": "3"}}
            outcome = await one.wait(await one.start(context(tmp_path, host, spec), KEY))
            assert (outcome.status, outcome.exit_code, outcome.reason) == (Status.FAILED, 3, None)
            assert outcome.outputs == {"a": Value("1")}

        play(scenario)

    def test_malformed_outputs(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            spec = {"command": ["ends"], "envs": {"WRITES": "a=1\nnonsense\n"}}
            outcome = await one.wait(await one.start(context(tmp_path, host, spec), KEY))
            assert (outcome.status, outcome.exit_code, outcome.reason) == (Status.FAILED, 0, "bad_output")
            assert outcome.outputs == {}
            assert outcome.error is not None
            assert "$OUTPUT_FILE" in outcome.error
            assert "2" in outcome.error
            assert str(tmp_path) not in outcome.error

        play(scenario)

    def test_stopped(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            log = Sink()
            handle = await one.start(context(tmp_path, host, {"command": ["stays"]}, log=log), KEY)
            await log.until(b"ready")
            await one.stop(handle, 5.0)
            outcome = await one.wait(handle)
            assert (outcome.status, outcome.exit_code, outcome.signal) == (Status.ABORTED, 143, 15)
            assert outcome.kill is not None

        play(scenario)

    def test_timeout(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            handle = await one.start(context(tmp_path, host, {"command": ["stays"]}, timeout=0.02), KEY)
            outcome = await one.wait(handle)
            assert (outcome.status, outcome.reason) == (Status.FAILED, "timeout")
            assert (outcome.exit_code, outcome.signal) == (124, 15)
            assert outcome.kill is not None

        play(scenario)

    def test_not_found_is_failed_and_survives_the_runner(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            ctx = context(tmp_path, host, {"command": ["no-such-program"]})
            handle = await one.start(ctx, KEY)
            assert b"no-such-program" not in handle, (
                "a handle is stored as it is, and what was rendered may be a secret"
            )
            outcome = await one.wait(handle)
            assert (outcome.status, outcome.exit_code) == (Status.FAILED, 127)
            assert outcome.error is not None
            assert "no-such-program" in outcome.error
            next_runner = driver()
            await next_runner.recover(ctx, handle)
            again = await next_runner.wait(handle)
            assert (again.status, again.exit_code) == (outcome.status, outcome.exit_code)
            assert again.error == "the program was not found"

        play(scenario)

    def test_found_again_by_the_next_runner(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            ctx = context(tmp_path, host, {"command": ["ends"], "envs": {"WRITES": "a=1\n"}})
            handle = await driver().start(ctx, KEY)
            next_runner = driver()
            await next_runner.recover(ctx, handle)
            assert (await next_runner.wait(handle)).outputs == {"a": Value("1")}

            without_handle = driver()
            again = await without_handle.start(ctx, KEY)
            assert again == handle
            assert (await without_handle.wait(again)).outputs == {"a": Value("1")}
            assert len(host.spawned) == 1

        play(scenario)

    def test_another_life_of_the_host(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            ctx = context(tmp_path, host, {"command": ["stays"]})
            handle = await one.start(ctx, KEY)
            waiting = asyncio.ensure_future(one.wait(handle))
            await asyncio.sleep(0)
            await host.restart()
            with pytest.raises(DriverError) as lost:
                await waiting
            assert lost.value.reason == "supervisor_lost"
            with pytest.raises(RecoverError) as gone:
                await driver().recover(ctx, handle)
            assert gone.value.reason == "supervisor_lost"
            temp = tmp_path / "temp"
            assert list(temp.iterdir()), "what it has exported is still to be masked"
            assert await driver().salvage(str(temp), KEY, "t") == []
            await driver().clear(str(temp), KEY)
            assert list(temp.iterdir()) == []

        play(scenario)

    def test_a_forgotten_process(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            ctx = context(tmp_path, host, {"command": ["stays"]})
            handle = await driver().start(ctx, KEY)
            await host.forget(KEY)
            with pytest.raises(RecoverError) as gone:
                await driver().recover(ctx, handle)
            assert gone.value.reason == "driver_lost"

        play(scenario)

    def test_a_start_that_was_given_up_is_freed_by_its_key(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            await one.start(context(tmp_path, host, {"command": ["stays"]}), KEY)
            await one.destroy(KEY.encode())
            assert await host.list() == ()
            assert list((tmp_path / "temp").iterdir()) == []

        play(scenario)

    def test_folders(self, tmp_path: Path) -> None:
        workspace = tmp_path / "workspace"
        (workspace / "in").mkdir(parents=True)
        (tmp_path / "outside").mkdir()
        (workspace / "link-out").symlink_to(tmp_path / "outside")
        (workspace / "link-in").symlink_to("in")

        async def scenario(host: FakeHost) -> None:
            for number, workdir in enumerate(["in", "link-in", str(workspace / "in"), "in/../link-in/."]):
                ctx = context(tmp_path, host, {"command": ["ends"], "workdir": workdir})
                await driver().start(ctx, f"k{number}")
                assert host.spawned[-1][1].cwd == str(workspace / "in")
            for workdir in ["link-out", "/", str(tmp_path / "outside"), str(tmp_path / "workspace-2")]:
                with pytest.raises(DriverError, match="outside the workspace") as caught:
                    await driver().start(context(tmp_path, host, {"command": ["ends"], "workdir": workdir}), "bad")
                assert caught.value.reason == "bad_spec"

        play(scenario)

    def test_the_private_folder_is_gone(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            ctx = context(tmp_path, host, {"command": ["ends"]})
            (tmp_path / "temp").rmdir()
            with pytest.raises(DriverError, match="cannot make the attempt's files"):
                await driver().start(ctx, KEY)
            assert host.spawned == []

        play(scenario)

    def test_signals(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            handle = await one.start(context(tmp_path, host, {"command": ["stays"]}), KEY)
            await one.signal(handle, "pause")
            await one.signal(handle, "start")
            with pytest.raises(DriverError, match="dance"):
                await one.signal(handle, "dance")
            await one.signal(handle, "destroy")
            outcome = await one.wait(handle)
            assert (outcome.status, outcome.exit_code) == (Status.ABORTED, 137)

        play(scenario)

    def test_what_could_not_start_is_an_error(self, tmp_path: Path) -> None:
        class Broken(FakeHost):
            async def spawn(self, key: str, spec: Any, sink: Any) -> Any:
                raise StartError("no room", exit_code=125)

        async def scenario(_: FakeHost) -> None:
            with pytest.raises(StartError):
                await driver().start(context(tmp_path, Broken({}), {"command": ["ends"]}), KEY)
            assert list((tmp_path / "temp").iterdir()) == []

        play(scenario)


OWN = (os.geteuid(), os.getegid())


def test_folders_in_the_place_of_files_go_too(tmp_path: Path) -> None:
    files = AttemptFiles.of(str(tmp_path), "g/a/1", "a")
    files.make(None, {})
    Path(files.output).unlink()
    for path in (files.output, files.named_output):
        Path(path, "deep").mkdir(parents=True)
        Path(path, "deep", "file").touch()
    asyncio.run(files.remove())
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_attempts_that_nobody_knows_are_swept_away(tmp_path: Path) -> None:
    for key, owner in (("g/a/1", None), ("g/b/1", None), ("g/c/1", OWN), ("g/d/1", OWN)):
        files = AttemptFiles.of(str(tmp_path), key, key[2], ".ps1", owner)
        files.make("echo", {"x": "1"})
        Path(files.named_output).write_text("v=1")
    (tmp_path / "other.output").touch()
    (tmp_path / ("0" * 32 + ".output")).mkdir()
    OsExecDriver({}).sweep(str(tmp_path), {"g/b/1", "g/d/1"})
    kept = [
        AttemptFiles.of(str(tmp_path), "g/b/1", "b", ".ps1"),
        AttemptFiles.of(str(tmp_path), "g/d/1", "d", ".ps1", OWN),
    ]
    left = {
        path for files in kept for path in (files.output, files.named_output, files.script, f"{files.given.folder}/x")
    }
    assert {str(path) for path in tmp_path.rglob("*") if path.is_file()} == {*left, str(tmp_path / "other.output")}


@pytest.mark.parametrize("owner", [None, OWN])
@pytest.mark.parametrize(
    ("written", "known"),
    [
        ("v=1", [("v", "1")]),
        ("v=1\nv=2", [("v", "1"), ("v", "2")]),
        ("no variable", [("no", "variable")]),
        ("v=1\nw<<EOF\n2\n", [("v", "1"), ("w", "2\n"), ("w", "2")]),
    ],
)
def test_what_a_lost_attempt_exported_is_read_before_its_files_are_removed(
    tmp_path: Path, owner: tuple[int, int] | None, written: str, known: list[tuple[str, str]]
) -> None:
    for key in ("g/a/1", "g/b/1"):
        files = AttemptFiles.of(str(tmp_path), key, key[2], ".ps1", owner)
        files.make("echo", {"x": "1"})
        Path(files.output).write_text(written)
    for _ in range(2):  # a runner may be killed behind the first time
        lost = asyncio.run(OsExecDriver({}).salvage(str(tmp_path), "g/a/1", "a"))
        assert [(name, value.text) for name, value in lost] == known
    asyncio.run(OsExecDriver({}).clear(str(tmp_path), "g/a/1"))
    assert asyncio.run(OsExecDriver({}).salvage(str(tmp_path), "g/a/1", "a")) == []
    kept = AttemptFiles.of(str(tmp_path), "g/b/1", "b", ".ps1", owner)
    left = {kept.output, kept.script, f"{kept.given.folder}/x"}
    assert {str(path) for path in tmp_path.rglob("*") if path.is_file()} == left


def test_a_file_of_somebody_else_in_a_users_own_folder_is_not_read(tmp_path: Path) -> None:
    files = AttemptFiles.of(str(tmp_path), "k", "t", owner=OWN)
    files.make(None, {})
    Path(files.output).write_text("v=1")
    assert files.read() == {"v": "1"}
    files.owner = (OWN[0] + 1, OWN[1])
    with pytest.raises(OutputFileError, match="belongs to another user"):
        files.read()


class TestLooks:
    """At what an attempt exports while it runs."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> AttemptFiles:
        files = AttemptFiles.of(str(tmp_path), "g/a/1", "a")
        files.make(None, {})
        return files

    def write(self, files: AttemptFiles, data: bytes, *, age: float = 100.0) -> None:
        """As if it had been written `age` seconds ago."""
        Path(files.output).write_bytes(data)
        changed = time.time() - age
        os.utime(files.output, (changed, changed))

    def test_nothing_yet(self, files: AttemptFiles) -> None:
        assert list(files.look()) == []
        os.unlink(files.output)
        assert list(files.look()) == []

    def test_what_is_known_is_not_told_again(self, files: AttemptFiles) -> None:
        self.write(files, b"a=1\n")
        assert list(files.look()) == [("a", "1")]
        assert list(files.look()) == []
        self.write(files, b"a=1\nb=2\n")
        assert list(files.look()) == [("a", "1"), ("b", "2")]
        self.write(files, b"a=3\nb=2\n", age=50)
        assert list(files.look()) == [("a", "3"), ("b", "2")]
        Path(files.named_output).write_bytes(b"c=4")
        assert list(files.look()) == [("c", "4")]

    def test_what_may_change_within_a_tick_is_read_again(self, files: AttemptFiles) -> None:
        self.write(files, b"a=1", age=-100)
        assert list(files.look()) == [("a", "1")]
        assert list(files.look()) == [("a", "1")]

    def test_what_cannot_be_read_tells_nothing(self, files: AttemptFiles, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"a=1")
        os.unlink(files.output)
        os.symlink(tmp_path / "secret", files.output)
        os.mkfifo(files.named_output)
        assert list(files.look()) == []

    def test_a_program_that_writes_much_again_and_again_is_not_read_forever(self, files: AttemptFiles) -> None:
        data = b"a=" + b"x" * (1 << 20)
        for number in range(70):
            self.write(files, data + b"x", age=100 - number)
            told = list(files.look())
        assert told == []
        assert files.looked_bytes <= MAX_LOOKED_BYTES + (1 << 20) + 1
