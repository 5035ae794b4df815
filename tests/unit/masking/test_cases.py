"""What happened to others, and must not happen here; and a log in which nothing is to be masked."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator

import pytest

from runner.masking import Masker
from runner.masking.commands import MaskCommands

KEY = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDGv3m0Yq1vVZ3b1c7Wm4mCq0T5x3wY9n8ZkJ2h7PqRsAAAAJgq8x7XKvMe
-----END OPENSSH PRIVATE KEY-----
"""
ACCOUNT = json.dumps({"type": "service_account", "ids": [17, 18], "private": {"key": "s3cr3t-value"}}, indent=2)


def masker(*values: str) -> Masker:
    made = Masker()
    for value in values:
        assert made.add(value)
    return made


@pytest.mark.parametrize("end", ["\n", "\r\n", "\\n", "\\r\\n"])
def test_woodpecker_388_a_secret_of_several_lines_leaked(end: str) -> None:
    mask = masker(KEY)
    assert mask.mask(f"<{KEY.strip().replace(chr(10), end)}>") == "<***>"
    assert mask.mask("+ echo " + KEY.splitlines()[1]) == "+ echo ***"


def test_woodpecker_7103_lines_that_are_a_bracket_were_masked_everywhere() -> None:
    mask = masker(ACCOUNT)
    log = '{\n  "steps": [\n    {\n    }\n  ],\n}\n[\n]\n'
    assert mask.mask(log) == log
    assert "s3cr3t" not in mask.mask(ACCOUNT)


@pytest.mark.parametrize(
    "value", ["first line\n\nthird line", "first line\r\n\r\nthird line\r\n", "\n\nfirst line\n \nthird line"]
)
def test_concourse_4656_an_empty_line_in_a_secret_mangled_the_output(value: str) -> None:
    mask = masker(value)
    log = "a line\n\nanother line\r\n\r\n \n"
    assert mask.mask(log) == log
    assert mask.mask("a first line") == "a ***"


def test_concourse_4749_the_bracket_of_a_json_secret_was_masked_everywhere() -> None:
    mask = masker(ACCOUNT, json.dumps(json.loads(ACCOUNT)))
    log = 'func main() {\n\tx := map[string]int{"a": 1}\n}\n'
    assert mask.mask(log) == log
    assert mask.mask(f"echo '{ACCOUNT}'") == "echo '***'"


@pytest.mark.parametrize("value", ["a", "1", "no", "on", "true", "  x ", "abc", "\n", "--------"])
def test_github_runner_507_a_short_secret_destroyed_the_log(value: str) -> None:
    mask = Masker()
    assert not mask.add(value)
    log = "1 line, abc: true or no; on a x --------\n"
    assert mask.mask(log) == log
    assert mask.mask(base64.b64encode(log.encode()).decode()) == base64.b64encode(log.encode()).decode()


@pytest.mark.parametrize("value", ["aabaab", "aabx", "abababc", "aaaab"])
def test_gitlab_a_value_that_begins_again_within_itself_slipped_through(value: str) -> None:
    """As `aab`, of which `aaab` came through: the search began again behind what it had compared."""
    for begun in range(len(value)):
        for cut in range(begun + len(value) + 1):
            data = (value[:begun] + value).encode()
            stream = masker(value).stream()
            assert value.encode() not in stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.flush()
            said = masker(value).mask(data.decode())
            assert said.endswith("***")
            assert value not in said


def test_no_false_mask_in_ten_megabytes_of_all_that_is_printed() -> None:
    values = [
        "hunter2hunter2", "correct horse battery staple", "ghp_R4nd0mT0k3nV4lue0123456789abcdefAB", "p@ss/w?rd&x=1+2 %zz",
        "xK9#mP2$vL5!", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "5ecretPin", KEY, ACCOUNT,
    ]  # fmt: skip
    mask = masker(*values)
    commands, stream = MaskCommands(mask.command), mask.stream()
    size = 0
    for chunk in printed(random.Random(20), 10 << 20):
        size += len(chunk)
        said = b"".join(stream.feed(piece) for piece in commands.feed(chunk))
        assert said == chunk  # each ends with a line, which begins none of these values
    assert size >= 10 << 20
    assert stream.flush() == b""


def printed(chance: random.Random, size: int) -> Iterator[bytes]:
    """A log with something of everything: compilers, tests, JSON, YAML, dumps, colours, progress, keys of others."""
    words = [
        "error",
        "warning",
        "compiling",
        "module",
        "test",
        "passed",
        "failed",
        "in",
        "request",
        "user",
        "token",
        "password",
        "secret",
        "key",
        "value",
        "null",
    ]

    def text(count: int) -> str:
        return " ".join(chance.choices(words, k=count))

    def line(kind: int) -> bytes:
        number = chance.randrange(1 << 30)
        data = chance.randbytes(chance.randrange(8, 90))
        account = {"type": "authorized_user", "ids": [17, number], "name": text(2), "private": {"key": None}}
        lines = [
            f"2026-11-21T10:{number % 60:02}:07.{number % 1000:03}Z INFO  app::{words[number % 9]}: {text(6)} id={number:x}",
            f"src/main.c:{number % 999}:12: warning: unused variable ‘x{number}’ [-Wunused]\n    int x = {{0}};",
            json.dumps(account, indent=number % 2 * 2 or None),
            f"  - name: {text(1)}\n    password: {data.hex()}\n    url: https://host/{number}?q=%2F{text(1)}+x%20y",
            base64.b64encode(data).decode(),
            f"{number:08x}: {data[:16].hex(' ', 2)}",
            f"\x1b[32m✓\x1b[0m {text(4)} ({number % 500} ms)\r{number % 100}% ▏{'█' * (number % 30)}{'-' * 30}",
            "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data * 3).decode() + "-----END CERTIFICATE-----",
            f"Traceback (most recent call last):\n  File \"x.py\", line {number % 99}, in <module>\nKeyError: '{text(1)}'",
            "{}[]();,:\n{\n}\n]\n\n" + "=" * 79 + "\n" + "-" * 79,
        ]  # fmt: skip
        return lines[kind].encode() + b"\n"

    while size > 0:
        chunk = b"".join(line(chance.randrange(10)) for _ in range(120)) + data_of(chance) + b"\n"
        size -= len(chunk)
        yield chunk


def data_of(chance: random.Random) -> bytes:
    return chance.randbytes(64 << 10).replace(b"::", b"..")
