"""docs/coming-from.md: its two groups do what they are said to do, the first beside the makefile, and its commands are commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from runner.cli.commands import COMMANDS, parser_of
from tests.acceptance.command import Command

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "coming-from.md").read_text()
SITE, CHECK = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
[MAKEFILE] = re.findall(r"^```make\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = ("page.html", "index.txt", "words.txt")


def test_the_group_makes_what_make_makes(runner: Command, tmp_path: Path) -> None:
    by_make = tmp_path / "make"
    by_make.mkdir()
    (by_make / "Makefile").write_text(MAKEFILE)
    subprocess.run(["make", "-j2", "--silent"], cwd=by_make, check=True)
    assert runner("run", runner.write(SITE)).status == 0
    for name in FILES:
        assert (runner.folder / name).read_bytes() == (by_make / name).read_bytes()


def test_the_workflow(runner: Command) -> None:
    path = runner.write(CHECK)
    done = runner("run", path, "--set-secret", "token=-", stdin=b"a-secret-token")
    assert done.status == 0, done.stderr
    for line in ("testing 1.4 on debian", "testing 1.4 on alpine", "published 1.4"):
        assert f"{line}\n" in done.stdout
    assert re.search(r"^ *report +skipped because nothing before it failed$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`runner ([a-z]+[^`]*)`", PAGE))))
def test_a_command_is_one(command: str) -> None:
    words = shlex.split(command)
    assert words[0] in COMMANDS
    if len(words) > 1 and words != ["context", "add"]:  # else it is named, and not written out
        parser_of(words).parse_args(words)


def test_an_option_is_one_of_run() -> None:
    known = (DOCS / "commands.md").read_text().split("## runner run\n")[1].split("\n## ")[0]
    assert [option for option in re.findall(r"`(--[a-z-]+)", PAGE) if f"`{option}" not in known] == ["--context"]
