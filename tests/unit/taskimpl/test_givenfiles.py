"""The files that a task of `os_exec` is given."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.registry import Registry
from runner.errors import DocumentError, DriverError, StartError
from runner.model import wording
from runner.model.fault import spell_path
from runner.process.fake import FakeHost, FakeRun
from runner.validation import load
from taskimpl.os_exec import OsExecDriver, OsExecSpec
from taskimpl.os_exec.givenfiles import MAX_ALL_BYTES, MAX_FILE_BYTES, MAX_FILES, GivenFiles, variable
from taskimpl.os_exec.outputfiles import AttemptFiles
from tests.os_exec_attempts import KEY, context, driver


def messages(files: Any, **more: Any) -> list[str]:
    spec = {"command": ["true"], "files": files, **more}
    with pytest.raises(ValidationError) as caught:
        OsExecSpec.model_validate(spec)
    return [
        f"{spell_path(problem.path)}: {problem.message}" for problem in wording.problems(caught.value.errors(), spec)
    ]


class TestSpec:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("kubeconfig", "FILE_KUBECONFIG"),
            ("kube-config.yaml", "FILE_KUBE_CONFIG_YAML"),
            ("Id_rsa.PUB", "FILE_ID_RSA_PUB"),
            ("0", "FILE_0"),
            ("_", "FILE__"),
        ],
    )
    def test_the_variable_of_a_name(self, name: str, expected: str) -> None:
        OsExecSpec.model_validate({"command": ["true"], "files": {name: "x"}})
        assert variable(name) == expected

    @pytest.mark.parametrize(
        "name", ["", ".", "..", ".netrc", "-x", "a/b", "/etc/passwd", "a b", "ä", "a\n", "a\0", "n" * 129]
    )
    def test_what_cannot_be_a_name(self, name: str) -> None:
        [message] = messages({name: "x", "good": "y"})
        assert message.startswith(f"{spell_path(('files', name))}: a file's name has letters, digits")

    def test_the_longest_name(self) -> None:
        OsExecSpec.model_validate({"command": ["true"], "files": {"n" * 128: ""}})

    def test_names_with_one_variable_are_told_at_their_places(self) -> None:
        assert messages({"a.b": "1", "c": "2", "a-b": "3", "A_B": "4"}) == [
            "files.a-b: its path would be in $FILE_A_B, as that of 'a.b' is: rename one of them",
            "files.A_B: its path would be in $FILE_A_B, as that of 'a.b' is: rename one of them",
        ]

    @pytest.mark.parametrize("envs", [{"FILE_A": "x", "B": "y"}, ["FILE_A=x"], [{"key": "FILE_A"}]])
    def test_a_variable_that_the_task_sets_itself(self, envs: Any) -> None:
        assert messages({"a": "1", "b": "2"}, envs=envs) == [
            "files.a: its path would be in $FILE_A, which envs sets: rename one of them"
        ]

    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            ("x", "files: expected a mapping"),
            (["a=x"], "files: expected a mapping"),
            ({"a": 1}, "files.a: expected text"),
            ({"a": {"b": "c"}}, "files.a: expected text"),
            ({"a": "\ud800"}, "files.a: it cannot be written as UTF-8"),
            (
                {"a": "x" * (MAX_FILE_BYTES + 1)},
                "files.a: 4,194,305 bytes; a file may have 4,194,304: leave larger data in the workspace",
            ),
            (
                {str(number): "ä" * (MAX_FILE_BYTES // 2) for number in range(4)} | {"one-more": "x"},
                "files: 16,777,217 bytes in all; a task's files may have 16,777,216: leave larger data in the workspace",
            ),
            ({str(number): "" for number in range(MAX_FILES + 1)}, "files: 129 files; a task may be given 128"),
        ],
    )
    def test_what_is_refused(self, files: Any, expected: str) -> None:
        assert messages(files) == [expected]

    def test_as_much_as_is_allowed(self) -> None:
        files = {str(number): "x" * MAX_FILE_BYTES for number in range(MAX_ALL_BYTES // MAX_FILE_BYTES)}
        files |= {f"empty-{number}": "" for number in range(MAX_FILES - len(files))}
        assert OsExecSpec.model_validate({"command": ["true"], "files": files}).files == files

    def test_nothing_is_an_empty_file_and_nul_is_data(self) -> None:
        spec = OsExecSpec.model_validate({"command": ["true"], "files": {"a": None, "b": "\0"}})
        assert spec.files == {"a": "", "b": "\0"}


class TestDocument:
    HEAD = "inputs: {key: {confidential: true, default: k}}\ntaskGroup:\n- name: t\n  type: os_exec\n"

    def load(self, spec: str) -> Any:
        return load((self.HEAD + spec).encode(), source="d.yaml", registry=Registry([OsExecDriver({})]))

    def test_templates_are_judged_when_they_are_rendered_but_names_at_once(self) -> None:
        with pytest.raises(DocumentError) as caught:
            self.load("  spec: {command: x, files: {a-b: '{{ inputs.key }}', a.b: '{{ inputs.key }}'}}\n")
        [fault] = str(caught.value).splitlines()
        assert fault.startswith('d.yaml:5:55: taskGroup[0].spec.files["a.b"]: its path would be in $FILE_A_B')
        with pytest.raises(DocumentError, match="a file's name has"):
            self.load("  spec: {command: x, files: {'{{ inputs.key }}': '{{ inputs.key }}'}}\n")

    def test_text_is_kept_as_it_is_written(self) -> None:
        loaded = self.load("  spec: {command: x, files: {a: 0755, b: 1.10, c: yes, d: '{{ inputs.key }}', e: }}\n")
        assert loaded.group.tasks[0].spec["files"] == {
            "a": "0755",
            "b": "1.10",
            "c": "yes",
            "d": "{{ inputs.key }}",
            "e": None,
        }
        assert loaded.warnings == ()

    def test_the_advice_to_use_files_can_be_followed(self) -> None:
        text = "x" * 200_000
        with pytest.raises(DocumentError, match="use files"):
            self.load(f"  spec: {{command: x, envs: {{A: {text}}}}}\n")
        self.load(f"  spec: {{command: x, files: {{A: {text}}}}}\n")


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


FILES = {"a": "text", "empty": "", "a.bin": "\0ä\r\n"}


class TestFiles:
    @pytest.mark.usefixtures("open_umask")
    def test_they_are_private_and_hold_what_was_said(self, tmp_path: Path) -> None:
        given = GivenFiles(folder=str(tmp_path / "f"))
        given.make(FILES)
        paths = given.environment(FILES)
        assert set(paths) == {"FILE_A", "FILE_EMPTY", "FILE_A_BIN"}
        assert {name: Path(path).read_bytes().decode() for name, path in paths.items()} == {
            variable(name): text for name, text in FILES.items()
        }
        assert {mode(path) for path in paths.values()} == {0o600}
        assert mode(given.folder) == 0o700
        assert os.listdir(tmp_path) == ["f"]

    def test_a_second_start_leaves_them_alone(self, tmp_path: Path) -> None:
        given = GivenFiles(folder=str(tmp_path / "f"))
        given.make({"a": "1"})
        path = given.environment({"a": ""})["FILE_A"]
        Path(path).write_text("the program wrote this")
        given.make({"a": "1"})
        assert Path(path).read_text() == "the program wrote this"

    def test_what_a_killed_runner_had_half_made_does_not_count(self, tmp_path: Path) -> None:
        given = GivenFiles(folder=str(tmp_path / "f"))
        draft = tmp_path / "f.new"
        draft.mkdir()
        (draft / "a").write_text("ha")
        (draft / "b").write_text("half a file")
        given.make({"a": "half"})
        assert [entry.name for entry in (tmp_path / "f").iterdir()] == ["a"]
        assert (tmp_path / "f" / "a").read_text() == "half"
        assert not draft.exists()

    def test_what_fails_leaves_nothing(self, tmp_path: Path) -> None:
        given = GivenFiles(folder=str(tmp_path / "f"))
        with pytest.raises(OSError, match="File name too long"):
            given.make({"a": "secret", "n" * 256: ""})
        assert list(tmp_path.iterdir()) == []

    def test_they_go_with_all_that_was_put_beside_them(self, tmp_path: Path) -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        (kept / "file").write_text("x")
        given = GivenFiles(folder=str(tmp_path / "f"))
        given.make({"a": "1"})
        folder = Path(given.folder)
        (folder / "a.lock").touch()
        (folder / "cache" / "deep").mkdir(parents=True)
        (folder / "cache" / "deep" / "file").touch()
        (folder / "link").symlink_to(kept)
        (folder / "link-to-file").symlink_to(kept / "file")
        os.mkfifo(folder / "pipe")
        folder.chmod(0o500)
        given.remove()
        given.remove()
        assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
        assert (kept / "file").read_text() == "x"


def play(scenario: Callable[[FakeHost], Awaitable[None]]) -> None:
    async def ends(run: FakeRun) -> int:
        text = Path(run.spec.env["FILE_A"]).read_text()
        Path(run.spec.env["OUTPUT_FILE"]).write_text(f"read={text}\n")
        return 0

    async def main() -> None:
        async with asyncio.timeout(20), FakeHost({"ends": ends}) as host:
            await scenario(host)

    asyncio.run(main())


SPEC = {"command": ["ends"], "files": {"a": "given"}}


def in_temp(folder: Path) -> set[str]:
    return {entry.name.partition(".")[2] for entry in (folder / "temp").iterdir()}


class TestDriver:
    def test_from_start_to_destroy(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            ctx = context(tmp_path, host, SPEC, env={"FILE_A": "of the group", "FILE_B": "of the group"})
            handle = await one.start(ctx, KEY)
            [(_, asked)] = host.spawned
            assert asked.env["FILE_B"] == "of the group"
            path = Path(asked.env["FILE_A"])
            assert (path.name, path.parent.parent) == ("a", tmp_path / "temp")
            assert (await one.wait(handle)).outputs["read"].text == "given"
            assert in_temp(tmp_path) == {"output", "files"}
            await one.destroy(handle)
            assert in_temp(tmp_path) == set()

        play(scenario)

    def test_found_again_by_the_next_runner(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            ctx = context(tmp_path, host, SPEC)
            handle = await driver().start(ctx, KEY)
            [(_, asked)] = host.spawned
            before = Path(asked.env["FILE_A"]).stat().st_ino
            without_handle = driver()
            assert await without_handle.start(ctx, KEY) == handle
            assert Path(asked.env["FILE_A"]).stat().st_ino == before
            next_one = driver()
            await next_one.recover(ctx, handle)
            assert (await next_one.wait(handle)).outputs["read"].text == "given"
            await next_one.destroy(handle)
            assert in_temp(tmp_path) == set()

        play(scenario)

    def test_nothing_is_left_of_what_did_not_start(self, tmp_path: Path) -> None:
        class Broken(FakeHost):
            async def spawn(self, key: str, spec: Any, sink: Any) -> Any:
                assert Path(spec.env["FILE_A"]).read_text() == "given"
                raise StartError("no room", exit_code=125)

        async def scenario(host: FakeHost) -> None:
            with pytest.raises(StartError):
                await driver().start(context(tmp_path, Broken({}), SPEC), KEY)
            assert in_temp(tmp_path) == set()
            refused = driver()
            handle = await refused.start(context(tmp_path, host, {**SPEC, "command": ["no-such"]}), KEY)
            assert (await refused.wait(handle)).exit_code == 127
            assert in_temp(tmp_path) == set()

        play(scenario)

    def test_a_start_that_failed_half_way_is_freed_by_its_key(self, tmp_path: Path) -> None:
        async def scenario(host: FakeHost) -> None:
            one = driver()
            ctx = context(tmp_path, host, SPEC)
            files = AttemptFiles.of(ctx.temp, KEY, ctx.task_name)
            os.symlink("nowhere", files.given.folder + ".new")
            await one.start(ctx, KEY)
            await one.destroy(KEY.encode())
            assert in_temp(tmp_path) == set()
            (tmp_path / "temp").rmdir()
            with pytest.raises(DriverError, match=f"in {tmp_path / 'temp'}: No such file") as caught:
                await one.start(ctx, KEY)
            assert caught.value.reason == "start_failed"

        play(scenario)

    def test_those_that_nobody_knows_are_swept_away(self, tmp_path: Path) -> None:
        for key in ("g/a/1", "g/b/1"):
            AttemptFiles.of(str(tmp_path), key, key[2]).make("a script", {"x": "1"})
        dead, kept = (AttemptFiles.of(str(tmp_path), key, key[2]) for key in ("g/a/1", "g/b/1"))
        draft = Path(dead.given.folder + ".new")
        draft.mkdir()
        (draft / "x").write_text("half")
        driver().sweep(str(tmp_path), {"g/b/1"})
        assert {str(entry) for entry in tmp_path.iterdir()} == {kept.output, kept.script, kept.given.folder}
        assert os.listdir(kept.given.folder) == ["x"]
