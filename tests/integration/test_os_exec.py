"""The driver `os_exec` with real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.base import ProcessHost
from runner.errors import StartError
from runner.logs.files import FileLogStore
from runner.masking import Masker
from runner.model.dispatch import AttemptId
from runner.model.outputfile import MAX_OUTPUT_FILE_BYTES
from runner.model.result import Outcome, Status
from runner.process.host import SupervisorHost
from runner.sealing import Sealer
from tests.contract.process_labs import Sink
from tests.os_exec_attempts import KEY, context, driver

Scenario = Callable[[ProcessHost], Awaitable[None]]


def play(folder: Path, scenario: Scenario) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), await SupervisorHost.start_private(folder / "state") as host:
            await scenario(host)

    asyncio.run(main())


def outcome_of(folder: Path, command: str | list[str], log: Sink | None = None, **spec: Any) -> Outcome:
    outcomes = []

    async def scenario(host: ProcessHost) -> None:
        one = driver()
        handle = await one.start(context(folder, host, {"command": command, **spec}, log=log), KEY)
        outcomes.append(await one.wait(handle))
        await one.destroy(handle)
        assert await host.list() == ()
        left = [path for path in (folder / "temp").iterdir() if not path.is_dir()]
        assert left == []

    play(folder, scenario)
    return outcomes[0]


def texts(outcome: Outcome) -> dict[str, str]:
    return {name: value.text for name, value in outcome.outputs.items()}


def test_argv_is_taken_as_it_is(tmp_path: Path) -> None:
    log = Sink()
    assert outcome_of(tmp_path, ["printf", "<%s>", "a b", "$HOME", "'", ""], log).status is Status.SUCCESS
    assert log.data["stdout"] == b"<a b><$HOME><'><>"


def test_a_script_stops_at_its_first_error(tmp_path: Path) -> None:
    log = Sink()
    outcome = outcome_of(tmp_path, "echo one; false; echo two", log)
    assert (outcome.status, outcome.exit_code) == (Status.FAILED, 1)
    assert log.data["stdout"] == b"one\n"


@pytest.mark.parametrize(
    ("shell", "script", "said", "code"),
    [
        ("bash", "set -o | grep -E 'errexit|pipefail'; false | true; echo never", b"errexit", 1),
        ("python", "import sys; print(sys.argv); sys.exit(4)", b"['-c']\n", 4),
        ("sh -u {0} more", 'echo "$1 $0"; echo $UNSET', b"more /", 2),
    ],
)
def test_shells(tmp_path: Path, shell: str, script: str, said: bytes, code: int) -> None:
    log = Sink()
    outcome = outcome_of(tmp_path, script, log, shell=shell)
    assert (outcome.status, outcome.exit_code) == (Status.FAILED, code)
    assert said in log.data["stdout"]
    assert b"never" not in log.data["stdout"]


def test_environment(tmp_path: Path) -> None:
    log = Sink()
    outcome_of(tmp_path, ["env"], log, envs={"EMPTY": "", "SPACE": " a  b ", "LINES": "1\n2"})
    names = {line.split("=")[0] for line in log.data["stdout"].decode().splitlines()} - {"2"}
    assert names == {
        *("PATH", "HOME", "LANG", "TZ", "EMPTY", "SPACE", "LINES", "OUTPUT_FILE", "RUNNER_WORKSPACE"),
        *("RUNNER_GROUP_ID", "RUNNER_GROUP_NAME", "RUNNER_TASK_NAME", "RUNNER_TASK_ATTEMPT", "RUNNER_TASK_ID"),
    }
    assert b"SPACE= a  b \n" in log.data["stdout"]


def test_outputs(tmp_path: Path) -> None:
    script = """
        echo first=1 >> "$OUTPUT_FILE"
        printf 'text<<END\\na\\n\\nb\\nEND\\n' >> $OUTPUT_FILE
        echo second=2 > ${OUTPUT_FILE}_build
        echo first=last >> ${OUTPUT_FILE}_build
        exit 3
    """
    outcome = outcome_of(tmp_path, script)
    assert outcome.status is Status.FAILED
    assert texts(outcome) == {"first": "last", "text": "a\n\nb", "second": "2"}


def test_a_replaced_output_file_is_read(tmp_path: Path) -> None:
    assert texts(outcome_of(tmp_path, "echo '{\"a\": 1}' > new; mv new $OUTPUT_FILE")) == {"a": "1"}


def test_a_removed_output_file_is_no_output(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, "rm $OUTPUT_FILE")
    assert (outcome.status, texts(outcome)) == (Status.SUCCESS, {})


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("ln -sf /etc/hostname $OUTPUT_FILE", "$OUTPUT_FILE: it is a symbolic link"),
        ("ln -sf /etc/hostname ${OUTPUT_FILE}_build", "${OUTPUT_FILE}_build: it is a symbolic link"),
        ("rm $OUTPUT_FILE; mkfifo $OUTPUT_FILE", "$OUTPUT_FILE: it is not a regular file"),
        ("rm $OUTPUT_FILE; mkdir $OUTPUT_FILE", "$OUTPUT_FILE: it is not a regular file"),
        ("echo a=1 > ${OUTPUT_FILE}_build; echo nonsense >> ${OUTPUT_FILE}_build", "${OUTPUT_FILE}_build"),
        ("printf 'a=\\377' > $OUTPUT_FILE", "$OUTPUT_FILE"),
        (f"head -c {MAX_OUTPUT_FILE_BYTES + 1} /dev/zero > $OUTPUT_FILE", "allowed"),
        ("head -c 600000 /dev/zero | tr '\\0' = | tee $OUTPUT_FILE > ${OUTPUT_FILE}_build", "allowed"),
    ],
)
def test_bad_output_files(tmp_path: Path, script: str, said: str) -> None:
    outcome = outcome_of(tmp_path, script)
    assert (outcome.status, outcome.reason, outcome.exit_code) == (Status.FAILED, "bad_output", 0)
    assert outcome.error is not None
    assert said in outcome.error
    assert str(tmp_path) not in outcome.error
    assert outcome.outputs == {}


def test_an_output_that_fails_too_keeps_its_exit_code(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, "echo nonsense > $OUTPUT_FILE; exit 7")
    assert (outcome.status, outcome.reason, outcome.exit_code) == (Status.FAILED, None, 7)
    assert outcome.error is not None


def test_signalled(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, "kill -TERM $$")
    assert (outcome.status, outcome.exit_code, outcome.signal) == (Status.FAILED, 143, 15)
    assert outcome.kill is None


def test_not_found_and_not_executable(tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, ["no-such-program"])
    assert (outcome.status, outcome.exit_code) == (Status.FAILED, 127)
    plain = tmp_path / "plain"
    plain.write_text("x")
    outcome = outcome_of(tmp_path, [str(plain)])
    assert (outcome.status, outcome.exit_code) == (Status.FAILED, 126)
    assert outcome.error is not None
    assert str(plain) in outcome.error


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        ctx = context(tmp_path, host, {"command": ["true"], "workdir": "nowhere"})
        with pytest.raises(StartError, match="cannot enter the working folder") as caught:
            await driver().start(ctx, KEY)
        assert caught.value.exit_code == 125

    play(tmp_path, scenario)


def test_timeout_and_stop(tmp_path: Path) -> None:
    async def scenario(host: ProcessHost) -> None:
        one = driver()
        log = Sink()
        script = "echo a=1 > $OUTPUT_FILE; trap '' TERM; echo ready; exec sleep 1000"
        slow = await one.start(context(tmp_path, host, {"command": script}, timeout=0.3, grace=0.1), "slow")
        stopped = await one.start(context(tmp_path, host, {"command": script}, log=log), "stopped")
        await log.until(b"ready")
        await one.stop(stopped, 0.05)
        outcome = await one.wait(stopped)
        assert (outcome.status, outcome.reason, outcome.exit_code) == (Status.ABORTED, None, 137)
        assert texts(outcome) == {"a": "1"}
        outcome = await one.wait(slow)
        assert (outcome.status, outcome.reason) == (Status.FAILED, "timeout")
        assert (outcome.exit_code, outcome.signal) == (124, 9)
        assert outcome.kill is not None
        assert [name for name, _ in outcome.kill["signals"]] == ["SIGTERM", "SIGKILL"]
        assert texts(outcome) == {"a": "1"}

    play(tmp_path, scenario)


def test_output_to_a_masked_log_on_disk(tmp_path: Path) -> None:
    logs = FileLogStore(tmp_path / "logs", sealer=Sealer.ephemeral())
    id = AttemptId("group-1", "build", 1)
    masker = Masker()
    masker.add("hunter2")

    async def scenario(host: ProcessHost) -> None:
        one = driver()
        script = "i=0; while [ $i -lt 2000 ]; do echo $i hunter2; i=$((i+1)); done; printf hun >&2; sleep 0.05; printf ter2 >&2"
        log = logs.open(id, masker)
        handle = await one.start(context(tmp_path, host, {"command": script}, log=log), KEY)
        assert (await one.wait(handle)).status is Status.SUCCESS
        log.close()

    play(tmp_path, scenario)
    assert logs.read(id, "stdout") == b"".join(b"%d ***\n" % number for number in range(2000))
    assert logs.read(id, "stderr") == b"***"
    assert all(b"hunter2" not in path.read_bytes() for path in (tmp_path / "logs").rglob("*.log"))


def test_a_disk_that_is_full_is_an_error_of_the_attempt(tmp_path: Path) -> None:
    class Full(Sink):
        def write(self, stream: object, data: bytes, end: int | None = None) -> None:
            raise OSError(28, "No space left on device")

    async def scenario(host: ProcessHost) -> None:
        one = driver()
        handle = await one.start(context(tmp_path, host, {"command": ["echo", "hi"]}, log=Full()), KEY)
        with pytest.raises(Exception, match="could not be kept: No space") as caught:
            await one.wait(handle)
        assert getattr(caught.value, "reason", None) == "log_failed"

    play(tmp_path, scenario)
