"""What only real processes can show of the contract of `drivers.base.ProcessHost`: what a program finds, and why it is not started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from drivers.base import ProcessHost, ProcessLimits
from runner.errors import StartError
from tests.contract.process_host.scenario import play
from tests.contract.process_labs import PATH, Lab, Sink, program


def test_environment_and_folder(real_lab: Lab, tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        spec = program(["sh", "-c", "pwd; env"], cwd=str(tmp_path), env={"EMPTY": "", "A": "b=c\nd"})
        await (await host.spawn("k", spec, sink)).wait()
        first, *rest = sink.data["stdout"].decode().splitlines()
        assert first == str(tmp_path)
        assert {"EMPTY=", "A=b=c", "d"} <= set(rest)
        assert {line.split("=")[0] for line in rest} <= {
            "PATH",
            "RUNNER_TASK_ID",
            "EMPTY",
            "A",
            "d",
            "PWD",
            "OLDPWD",
            "SHLVL",
            "_",
        }

    play(real_lab, tmp_path, scenario)


def test_session_descriptors_and_signals(real_lab: Lab, tmp_path: Path, limits: ProcessLimits | None) -> None:
    async def scenario(host: ProcessHost) -> None:
        sink = Sink()
        script = "cut -d' ' -f5,6 /proc/self/stat; grep -E 'SigBlk|SigIgn' /proc/self/status; readlink /proc/self/fd/0"
        command = [
            "python3",
            "-c",
            "import os; print(sorted(os.listdir('/proc/self/fd')), flush=True); os.execv('/bin/sh', ['sh', '-c', os.environ['S']])",
        ]
        process = await host.spawn("k", program(command, env={"S": script}, limits=limits), sink)
        await process.wait()
        descriptors, ids, blocked, ignored, stdin = sink.data["stdout"].decode().splitlines()
        assert descriptors == "['0', '1', '2', '3']", "3 is that of the listing itself"
        assert ids.split() == [str(process.started.pid)] * 2
        assert int(blocked.split()[1], 16) == 0
        assert int(ignored.split()[1], 16) & 0x7FFF_FFFF == 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1), (
            "Python's own"
        )
        assert stdin == "/dev/null"

    play(real_lab, tmp_path, scenario)


def test_not_executable_is_126(real_lab: Lab, tmp_path: Path, limits: ProcessLimits | None) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    no_line = tmp_path / "no-line"
    no_line.write_text("echo hi\n")
    no_line.chmod(0o755)
    bad_interpreter = tmp_path / "bad-interpreter"
    bad_interpreter.write_text("#!/no/such/interpreter\n")
    bad_interpreter.chmod(0o755)

    async def scenario(host: ProcessHost) -> None:
        expected = {
            ("/etc",): "'/etc' cannot be executed: Permission denied; may this user do that?",
            (str(plain),): f"'{plain}' cannot be executed: Permission denied; may this user do that?",
            (
                str(no_line),
            ): f"'{no_line}' is neither a program nor a script with a '#!' line: write one, or run it with its interpreter",
            (
                str(bad_interpreter),
            ): f"'{bad_interpreter}' names an interpreter that does not exist: mend its first line, or install that",
            ("./plain",): "'./plain' cannot be executed: Permission denied; may this user do that?",
            ("plain",): f"'{plain}' is not an executable file: chmod +x it, or run it with its interpreter",
        }
        for argv, message in expected.items():
            spec = program(list(argv), cwd=str(tmp_path), env={"PATH": str(tmp_path)}, limits=limits)
            with pytest.raises(StartError) as caught:
                await host.spawn("k", spec, Sink())
            assert (caught.value.exit_code, caught.value.message) == (126, message)

    play(real_lab, tmp_path / "state", scenario)


NOT_ACCEPTABLE = "the arguments or the environment are not acceptable: "
CANNOT_BE_STARTED: list[tuple[list[str], int, str]] = [
    (["/no/such"], 127, "'/no/such' does not exist: give the path of a program"),
    (["/etc/passwd/x"], 127, "'/etc/passwd/x' does not exist: give the path of a program"),
    (["no-such"], 127, f"'no-such' was not found in PATH ({PATH}): install it, or give its path"),
    (["a\0b"], 125, f"{NOT_ACCEPTABLE}embedded null byte"),
    ([], 125, f"{NOT_ACCEPTABLE}list index out of range"),
]


def test_what_cannot_be_started(real_lab: Lab, tmp_path: Path, limits: ProcessLimits | None) -> None:
    """The next program under the same key starts all the same."""

    async def scenario(host: ProcessHost) -> None:
        for number, (argv, code, message) in enumerate(CANNOT_BE_STARTED):
            with pytest.raises(StartError) as caught:
                await host.spawn(f"k{number}", program(argv, limits=limits), Sink())
            assert (caught.value.exit_code, caught.value.message) == (code, message)
            assert (await (await host.spawn(f"k{number}", program(["true"]), Sink())).wait()).exit_code == 0

    play(real_lab, tmp_path, scenario)


def test_missing_folder_is_125(real_lab: Lab, tmp_path: Path, limits: ProcessLimits | None) -> None:
    async def scenario(host: ProcessHost) -> None:
        with pytest.raises(
            StartError,
            match=r"^cannot enter the working folder '/no/such/folder': No such file or directory; make it, or name another `workdir`$",
        ) as caught:
            await host.spawn("k", program(["true"], cwd="/no/such/folder", limits=limits), Sink())
        assert caught.value.exit_code == 125

    play(real_lab, tmp_path, scenario)


@pytest.mark.parametrize("size", [140_000, 20 << 20])
def test_too_long_arguments_are_125_and_say_what_to_do(real_lab: Lab, tmp_path: Path, size: int) -> None:
    async def scenario(host: ProcessHost) -> None:
        with pytest.raises(StartError, match=r"are too long.*; pass large values in files$") as caught:
            await host.spawn("k", program(["true"], env={"A": "x" * size}), Sink())
        assert caught.value.exit_code == 125
        assert (await (await host.spawn("k", program(["true"]), Sink())).wait()).exit_code == 0

    play(real_lab, tmp_path, scenario)
