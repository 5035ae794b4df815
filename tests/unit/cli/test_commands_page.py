"""docs/commands.md tells of every command what its parser knows."""

from __future__ import annotations

from docs import commands
from runner.cli.commands import COMMANDS


def test_it_is_current() -> None:
    assert commands.PAGE.read_text() == commands.page(), "write it anew: python -m docs.commands"


def test_every_command_stands_there() -> None:
    text = commands.page()
    for name in COMMANDS:
        assert f"\n## runner {name}\n" in text
    assert "\n### runner certs issue\n" in text
    assert "| `--to TARGET` | a node: host:port, unix:/path, or local for the one of this machine |" in text
