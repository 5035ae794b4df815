"""The spec of `os_exec`: what is refused, and what is warned of."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from runner.model import wording
from runner.model.fault import spell_path
from runner.process.fake import FakeHost
from taskimpl.os_exec import OsExecSpec
from tests.os_exec_attempts import driver

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
