from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli.inputs import MAX_VALUE_BYTES, read_inputs
from runner.errors import UsageError
from runner.model.group import Input, TaskGroup

GROUP = TaskGroup(inputs=(Input(name="tag"), Input(name="password", confidential=True)), tasks=())


def test_plain_values_keep_what_they_are_made_of() -> None:
    assert read_inputs(GROUP.inputs, ["tag=a=b ", "other="], []) == {"tag": "a=b ", "other": ""}


@pytest.mark.parametrize(("content", "value"), [(b"s3cret\n", "s3cret"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b"", "")])
def test_a_secret_from_a_file_loses_the_newline_that_ends_it(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert read_inputs(GROUP.inputs, [], [f"password=@{tmp_path}/secret"]) == {"password": value}


def test_a_secret_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_PASSWORD", "s3cret")
    assert read_inputs(GROUP.inputs, [], ["password=env:THE_PASSWORD"]) == {"password": "s3cret"}


@pytest.mark.parametrize(
    ("plain", "secret", "message"),
    [
        (["tag"], [], "expected name=value"),
        (["=x"], [], "expected name=value"),
        (["tag=a", "tag=b"], [], "given twice"),
        (["password=a"], ["password=env:PATH"], "given twice"),
        ([], ["tag=env:PATH"], "confidential: true"),
        ([], ["password=@/no/such/file"], "No such file"),
        ([], ["password=@/"], "Is a directory"),
        ([], ["password=env:NO_SUCH_VARIABLE"], "'NO_SUCH_VARIABLE' is not set"),
        (["tag=\0"], [], "NUL"),
        (["tag=\udcff"], [], "UTF-8"),
        (["tag=" + "x" * (MAX_VALUE_BYTES + 1)], [], "over 1,048,576 bytes"),
        ([], ["password=@/dev/zero"], "over 1,048,576 bytes"),
    ],
)
def test_refusals(plain: list[str], secret: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_inputs(GROUP.inputs, plain, secret)


def test_a_secret_written_by_mistake_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        read_inputs(GROUP.inputs, [], ["password=hunter22"])
    assert "hunter22" not in caught.value.message


def test_a_secret_on_the_command_line_is_warned_of_and_not_repeated(capfd: pytest.CaptureFixture[str]) -> None:
    read_inputs(GROUP.inputs, ["password=hunter22", "tag=v1"], [])
    assert capfd.readouterr().err == (
        "runner: warning: --set password: this input is confidential, and a command line is seen in `ps` and kept by shells;"
        " give it with --set-secret password=env:VARIABLE, @file or -\n"
    )
