"""What a shell is given, and what becomes of drivers that have none, or not what they have to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from drivers.base import Capabilities, ProcessSpec, ShellContext, ShellProgram, SimpleDriver, Spec
from drivers.guarded import Guarded
from drivers.registry import Registry
from runner.dispatch.shells import Shells
from runner.errors import DriverError, NoShellError, StartError
from runner.model.log import Stream
from runner.model.shell import ShellPlace, ShellRequest, Size
from runner.model.task import Task
from runner.model.value import Bindings, Value
from taskimpl.os_exec.driver import OsExecDriver


class Ended:
    """A terminal that says nothing."""

    def __init__(self) -> None:
        self.closed = False

    async def read(self) -> tuple[Stream, bytes] | None:
        return None

    async def write(self, data: bytes) -> None:
        pass

    async def end_input(self) -> None:
        pass

    async def resize(self, size: Size) -> None:
        pass

    async def exit_code(self) -> int:
        return 0

    async def aclose(self, grace: float) -> None:
        self.closed = True


class Terminals:
    """A process host that keeps what it was to start, and finds no `absent` program."""

    def __init__(self) -> None:
        self.started: list[tuple[str, ProcessSpec, Size | None]] = []
        self.terminals: list[Ended] = []

    async def converse(self, key: str, spec: ProcessSpec, size: Size | None) -> Ended:
        if spec.argv[0] == "absent":
            raise StartError("'absent' was not found", exit_code=127)
        self.started.append((key, spec, size))
        self.terminals.append(Ended())
        return self.terminals[-1]


class AnySpec(Spec):
    """Of the types that are tried here."""


class Shelled(SimpleDriver[AnySpec]):
    type = "shelled"
    spec_model = AnySpec
    capabilities = Capabilities(shell=True)
    gives: Any = ShellProgram(program=ProcessSpec(argv=["x"], env={}, cwd="/"))

    async def run(self, ctx: Any, spec: AnySpec) -> Mapping[str, str]:
        return {}

    async def shell(self, ctx: ShellContext, key: str) -> ShellProgram:
        if isinstance(self.gives, Exception):
            raise self.gives
        given: ShellProgram = self.gives
        return given


class Silent(Shelled):
    type = "silent"
    capabilities = Capabilities()


def shells(temp: Path, host: Terminals, *drivers: Any) -> Shells:
    return Shells(registry=Registry(drivers), processes=host, temp=str(temp), keeping="somebody keeps it")


def place(workspace: Path, type: str = "os_exec", spec: Mapping[str, Any] | None = None, **bindings: Any) -> ShellPlace:
    given = Bindings(group_id="g", group_name="n", task_name="t", task_attempt=2, **bindings)
    task = Task(name="t", type=type, spec=spec or {})
    return ShellPlace(group="g", task=task, attempt=2, bindings=given, workspace=str(workspace), runner="n1")


async def opened(shells: Shells, where: ShellPlace, **request: Any) -> tuple[str, ...]:
    async with shells.opened(where, ShellRequest(task="t", **request)) as shell:
        return tuple(shell.withheld)


def os_exec() -> OsExecDriver:
    return OsExecDriver({"PATH": "/bin", "HOME": "/h", "OTHER": "no"})


SECRETS = {
    "envs": {"WHOLE": "{{ .inputs.key }}", "PART": "a{{ .inputs.key }}b", "SHORT": "{{ .inputs.pin }}", "OPEN": "yes"},
    "files": {"f": "{{ .inputs.key }}", "open": "{{ .inputs.name }}"},
    "command": "echo {{ .inputs.key }}",
}
INPUTS = {"key": Value("correct horse", True), "pin": Value("77", True), "name": Value("ada")}


@pytest.mark.parametrize("form", ["mapping", "pairs", "lines"])
def test_what_is_confidential_is_left_out_however_it_is_written(tmp_path: Path, form: str) -> None:
    envs = SECRETS["envs"]
    assert isinstance(envs, dict)
    forms: dict[str, Any] = {
        "mapping": envs,
        "pairs": [{"key": name, "value": text} for name, text in envs.items()],
        "lines": [f"{name}={text}" for name, text in envs.items()],
    }
    spec = {**SECRETS, "envs": forms[form]}
    host = Terminals()

    async def main() -> None:
        where = place(tmp_path, spec=spec, inputs=INPUTS, env={"GROUP": "{{ .inputs.key }}", "OF": "{{ .group.name }}"})
        withheld = await opened(shells(tmp_path, host, os_exec()), where)
        assert set(withheld) == {"WHOLE", "PART", "SHORT", "GROUP", "FILE_F"}
        env = host.started[0][1].env
        assert not set(withheld) & set(env)
        assert "correct horse" not in str(env)
        assert (env["OPEN"], env["OF"], env["RUNNER_TASK_ATTEMPT"], env["PATH"]) == ("yes", "n", "2", "/bin")
        assert "OTHER" not in env
        assert "TERM" not in env
        assert await opened(shells(tmp_path, host, os_exec()), where, secrets=True) == ()
        env = host.started[1][1].env
        assert (env["PART"], env["SHORT"], env["GROUP"]) == ("acorrect horseb", "77", "correct horse")

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == [], "files are gone with it"
    assert all(terminal.closed for terminal in host.terminals)


def test_its_program_and_its_terminal_are_those_that_were_asked_for(tmp_path: Path) -> None:
    host = Terminals()

    async def main() -> None:
        all_of_them = shells(tmp_path, host, os_exec())
        where = place(tmp_path, spec={"command": "true", "limits": {"nofile": 9}})
        await opened(all_of_them, where)
        await opened(all_of_them, where, command=("ls", "-l"), size=Size(5, 6), term="vt100")
        with pytest.raises(StartError):
            await opened(all_of_them, where, command=("absent",))

    asyncio.run(main())
    (first, plain, none), (second, asked, size) = host.started
    assert (plain.argv, none, asked.argv, size, asked.env["TERM"]) == (("sh",), None, ("ls", "-l"), (5, 6), "vt100")
    assert plain.limits is not None
    assert plain.limits.nofile == 9
    assert plain.cwd == str(tmp_path)
    assert first.startswith("g/t/2/shell-")
    assert first != second
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("type", "spec", "gives", "words"),
    [
        ("silent", {}, None, 'a task of the type "silent" has no shell'),
        ("unheard", {}, None, "unheard"),
        ("shelled", {"a": 1}, None, "what the task was given cannot be made again: spec.a"),
        ("shelled", {}, "nonsense", "gave an object of type str, not a ShellProgram"),
        ("shelled", {}, DriverError("there is no place"), "there is no place"),
        ("shelled", {}, ShellProgram, "gave an object of type StructMeta"),
        ("shelled", {}, ShellProgram(program=cast(Any, "x")), "gave a ShellProgram without a ProcessSpec"),
        (
            "shelled",
            {},
            KeyError("correct horse"),
            'the driver of "shelled" failed to make a shell; the runner\'s log says more',
        ),
        ("os_exec", {"command": "x", "workdir": "absent"}, None, "'absent' is not in the workspace any more"),
        ("os_exec", {"command": "x", "envs": {"A": "{{ .b.c }}"}}, None, "cannot be made again"),
    ],
)
def test_where_there_is_none_it_is_said_why(
    tmp_path: Path, type: str, spec: Mapping[str, Any], gives: Any, words: str
) -> None:
    driver = Shelled()
    if gives is not None:
        driver.gives = gives

    async def main() -> None:
        all_of_them = shells(tmp_path, Terminals(), os_exec(), Guarded(driver), Guarded(Silent()))
        with pytest.raises(NoShellError) as caught:
            await opened(all_of_them, place(tmp_path, type, spec))
        assert words in caught.value.message

    asyncio.run(main())


def test_a_driver_that_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Shelled):
        async def shell(self, ctx: ShellContext, key: str) -> ShellProgram:
            await asyncio.Event().wait()
            raise AssertionError

    async def main() -> None:
        monkeypatch.setattr("runner.dispatch.shells.STARTING_SECONDS", 0.01)
        with pytest.raises(NoShellError) as caught:
            await opened(shells(tmp_path, Terminals(), Guarded(Slow())), place(tmp_path, "shelled"))
        assert caught.value.message == 'the driver of "shelled" has not made a shell in time'

    asyncio.run(main())


def test_a_secret_is_in_no_refusal(tmp_path: Path) -> None:
    driver = Shelled()
    driver.gives = DriverError("there is no correct horse")

    async def main() -> None:
        with pytest.raises(NoShellError) as caught:
            await opened(shells(tmp_path, Terminals(), Guarded(driver)), place(tmp_path, "shelled", inputs=INPUTS))
        assert caught.value.message == "there is no ***"

    asyncio.run(main())


def test_a_workspace_that_is_gone(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(NoShellError, match=r"is gone .*: somebody keeps it"):
            await opened(shells(tmp_path, Terminals(), os_exec()), place(tmp_path / "absent", spec={"command": "x"}))

    asyncio.run(main())
