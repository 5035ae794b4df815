"""`runner run`: inputs, and what is confidential."""

from __future__ import annotations

import pytest

from tests.acceptance.command import Command, group, shell

INPUTS = group(
    [
        {
            "name": "t",
            "type": "os_exec",
            "spec": {
                "command": 'echo "tag $TAG"; echo "the password is $P, ${#P} long"',
                "envs": {"TAG": "{{ .inputs.tag }}", "P": "{{ .inputs.password }}"},
            },
        }
    ],
    inputs={"tag": {"default": "latest"}, "password": {"required": True, "confidential": True}},
)


@pytest.mark.parametrize("source", ["@secret", "env:THE_SECRET", "-"])
def test_a_secret_input_is_masked_wherever_it_comes_from(runner: Command, source: str) -> None:
    (runner.folder / "secret").write_text("hunter2-and-more\n")
    done = runner(
        "run",
        runner.write(INPUTS),
        "--set",
        "tag=v1",
        "--set-secret",
        f"password={source}",
        stdin=b"hunter2-and-more\n",
        environment={"THE_SECRET": "hunter2-and-more"},
    )
    assert done.status == 0
    assert "t  | tag v1" in done.stdout
    assert "t  | the password is ***, 16 long" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_a_secret_in_a_command_line_is_warned_of(runner: Command) -> None:
    inputs = {"password": {"default": "hunter2-and-more", "confidential": True}}
    document = runner.write(group([shell("t", "true '{{ .inputs.password }}'")], inputs=inputs))
    for done in (runner("validate", document), runner("run", document)):
        assert done.status == 0, done
        assert "inputs.password is confidential" in done.stdout + done.stderr
        assert "hunter2" not in done.stdout + done.stderr


def test_no_secret_is_left_on_the_disk(runner: Command) -> None:
    runner("run", runner.write(INPUTS), "--set-secret", "password=-", stdin=b"hunter2-and-more")
    state = runner.home / ".local" / "state" / "runner"
    files = [path for path in state.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []


def test_no_secret_is_left_on_the_disk_by_defaults_and_refusals(runner: Command) -> None:
    tasks = [{"name": "t", "type": "os_exec", "spec": {"command": ["/no/{{ .inputs.password }}"]}}]
    inputs = {"password": {"default": "hunter2-and-more", "confidential": True}}
    done = runner("run", runner.write(group(tasks, inputs=inputs)))
    assert "exit code 127, '/no/***' does not exist" in done.stdout
    files = [path for path in (runner.home / ".local").rglob("*") if path.is_file()]
    assert any(path.name == "state.db" for path in files)
    assert [path for path in files if b"hunter2" in path.read_bytes()] == []


def test_no_secret_that_comes_late_or_in_disguise_is_left_on_the_disk(runner: Command) -> None:
    (runner.folder / "late.sh").write_text(
        "echo early: late-secret-1; sleep 0.3; echo ::add-mask::asked-for-2; echo now asked-for-2 >&2\n"
        "printf %s late-secret-1 | base64; printf %s $P | od -An -tx1 | tr -d ' \\n'; echo\n"
        "echo token=late-secret-1 >> $OUTPUT_FILE\n"
    )
    spec = {"command": "sh ./late.sh", "envs": {"P": "{{ .inputs.password }}"}}
    exports = [{"name": "token", "confidential": True}]
    document = group(
        [{"name": "t", "type": "os_exec", "spec": spec, "exports": exports}],
        inputs={"password": {"required": True, "confidential": True}},
    )
    done = runner("run", runner.write(document), "--set-secret", "password=-", stdin=b"hunter2-and-more")
    assert done.status == 0, done.stderr
    assert "t  | ::add-mask::***" in done.stdout
    assert "t  | now ***" in done.stdout
    assert "is masked in the kept stdout now (" in done.stdout
    state = runner.home / ".local" / "state" / "runner"
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"early: ***\n" in kept
    for secret in (b"late-secret-1", b"bGF0ZS1zZWNyZXQtM", b"asked-for-2", b"hunter2", b"hunter2".hex().encode()):
        assert secret not in kept


def test_confidential_outputs_are_shown_only_when_asked(runner: Command) -> None:
    document = group(
        [
            shell(
                "t",
                'echo "token=abcd-efgh" >> "$OUTPUT_FILE"',
                exports=[{"name": "token", "confidential": True, "scope": "global"}],
            )
        ]
    )
    name = runner.write(document)
    assert runner("run", "--output", "json", name).json["results"]["t"]["outputs"] == {"token": "***"}
    assert runner("run", "--output", "json", "--reveal", name).json["results"]["t"]["outputs"] == {"token": "abcd-efgh"}
    assert "t.token = ***" in runner("run", name).stdout
    assert "abcd" not in runner("run", name).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "password"),
        (("--set-secret", "password=env:PATH", "--set", "tga=v1"), "tga"),
        (("--set-secret", "tag=env:PATH"), "confidential: true"),
        (("--set", "tag"), "name=value"),
    ],
)
def test_wrong_inputs_are_usage_errors(runner: Command, arguments: tuple[str, ...], message: str) -> None:
    done = runner("run", runner.write(INPUTS), *arguments)
    assert done.status == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((runner.home / ".local" / "state" / "runner").glob("runs/*"))
