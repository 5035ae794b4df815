"""The driver `os_exec` without processes: what it asks a process host for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.base import ProcessLimits, Recovery
from runner.errors import DriverError, OutputFileError, RecoverError, StartError
from runner.model.result import Status
from runner.model.value import Value
from runner.process.fake import FakeHost, FakeRun
from taskimpl.os_exec import OsExecDriver
from taskimpl.os_exec.outputfiles import MAX_LOOKED_BYTES, AttemptFiles
from tests.contract.process_labs import Sink
from tests.os_exec_attempts import KEY, context, driver

Scenario = Callable[[FakeHost], Awaitable[None]]


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
