"""The driver `os_exec` without processes: what it asks a process host for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.base import ProcessLimits, Recovery
from runner.errors import DriverError, StartError
from runner.process.fake import FakeHost
from taskimpl.os_exec import OsExecDriver
from tests.os_exec_attempts import KEY, context, driver
from tests.unit.taskimpl.playing import play


def test_capabilities() -> None:
    capabilities = OsExecDriver.capabilities
    assert capabilities.recovery is Recovery.ATTACH
    assert capabilities.deadline
    assert capabilities.signals == {"pause", "start", "destroy"}


def test_the_environment_and_nothing_else(tmp_path: Path) -> None:
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


def test_what_it_reads_and_its_limits(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        spec = {"command": ["ends"], "stdin": "a\nb", "limits": {"nice": 3}}
        await driver().start(context(tmp_path, host, spec), KEY)
        await driver().start(context(tmp_path, host, {"command": ["ends"]}), "plain")
        (_, asked), (_, plain) = host.spawned
        assert (asked.stdin, asked.limits, asked.user) == ("a\nb", ProcessLimits(nice=3), None)
        assert (plain.stdin, plain.limits, plain.user) == (None, None, None)

    play(scenario)


def test_a_user_that_is_not_there(tmp_path: Path) -> None:
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


def test_another_user_is_for_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)

    async def scenario(host: FakeHost) -> None:
        with pytest.raises(StartError, match="only a runner that is root"):
            await driver().start(context(tmp_path, host, {"command": ["ends"], "user": "1001:1001"}), KEY)
        assert host.spawned == []

    play(scenario)


def test_a_private_folder_that_the_user_cannot_reach(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("root")
    tmp_path.chmod(0o700)

    async def scenario(host: FakeHost) -> None:
        with pytest.raises(StartError, match=r"cannot reach the runner's private folder, for /.* is closed to it"):
            await driver().start(context(tmp_path, host, {"command": ["ends"], "user": "12345:12345"}), KEY)
        assert host.spawned == []

    play(scenario)


def test_only_what_the_runner_has_is_inherited(tmp_path: Path) -> None:
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
def test_shells(tmp_path: Path, shell: str | None, argv: list[str]) -> None:
    async def scenario(host: FakeHost) -> None:
        await driver().start(context(tmp_path, host, {"command": "echo hi\n", "shell": shell}), KEY)
        [(_, asked)] = host.spawned
        assert asked.argv == argv

    play(scenario)


def test_a_shell_that_wants_a_file(tmp_path: Path) -> None:
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


def test_folders(tmp_path: Path) -> None:
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


def test_the_private_folder_is_gone(tmp_path: Path) -> None:
    async def scenario(host: FakeHost) -> None:
        ctx = context(tmp_path, host, {"command": ["ends"]})
        (tmp_path / "temp").rmdir()
        with pytest.raises(DriverError, match="cannot make the attempt's files"):
            await driver().start(ctx, KEY)
        assert host.spawned == []

    play(scenario)


def test_what_could_not_start_is_an_error(tmp_path: Path) -> None:
    class Broken(FakeHost):
        async def spawn(self, key: str, spec: Any, sink: Any) -> Any:
            raise StartError("no room", exit_code=125)

    async def scenario(_: FakeHost) -> None:
        with pytest.raises(StartError):
            await driver().start(context(tmp_path, Broken({}), {"command": ["ends"]}), KEY)
        assert list((tmp_path / "temp").iterdir()) == []

    play(scenario)
