"""What commands say beside what they do."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from runner.cli import secrets, submit
from runner.errors import UnavailableError
from runner.rotation import Rotated


def test_a_key_that_was_replaced_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    done = Rotated()
    done.not_compacted, done.unknown, done.in_use = True, ["old"], list("abcdefg")
    monkeypatch.setattr(secrets, "rotate", lambda state_dir: done)
    monkeypatch.setattr(secrets, "node_state_dir_of", lambda options: tmp_path)
    assert secrets.run(Namespace(output="text")) == 1
    assert capfd.readouterr().err == (
        "runner: there was no room to compact the state: values sealed with the former key may lie in unused parts of it; "
        "free some space and give this command again\n"
        "runner: groups of another version of the runner, which will be taken for others when submitted again; "
        "give those another id: old\n"
        "runner: runs that are in use were left out: a, b, c, d, e and 2 more; when they are over, give this command again\n"
    )


def test_a_group_that_cannot_be_cancelled(capfd: pytest.CaptureFixture[str]) -> None:
    class Refuses:
        async def cancel(self, id: str, *, at_once: bool) -> None:
            raise UnavailableError("the node ends")

    client: Any = Refuses()
    asyncio.run(submit._cancel(client, "g", at_once=False))
    assert capfd.readouterr().err == "runner: g could not be cancelled: the node ends\n"
