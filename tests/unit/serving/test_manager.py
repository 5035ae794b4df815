from __future__ import annotations

import asyncio
import logging
import socket
import time
from pathlib import Path

import pytest

from runner.config.machine import watchdog_seconds
from runner.serving.manager import Manager


@pytest.mark.parametrize("abstract", [False, True])
def test_what_it_is_told(tmp_path: Path, abstract: bool) -> None:
    address = f"@runner-test-{tmp_path}"[:100] if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1) if abstract else address)
        listening.settimeout(30)
        manager = Manager(address)
        manager.ready("serves\nhere")
        assert listening.recv(200) == b"READY=1\nSTATUS=serves here"
        before = time.monotonic_ns() // 1000
        manager.reloading()
        said = listening.recv(200).decode().splitlines()
        assert said[0] == "RELOADING=1"
        assert before <= int(said[1].removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        manager.stopping("ends", 1.5)
        assert listening.recv(200) == b"STOPPING=1\nSTATUS=ends\nEXTEND_TIMEOUT_USEC=1500000"


def test_the_watchdog_is_told_again_and_again(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)

        async def watched() -> None:
            async with Manager(str(tmp_path / "notify")).watched(0.03):
                for _ in range(3):
                    assert await asyncio.to_thread(listening.recv, 200) == b"WATCHDOG=1"

        asyncio.run(watched())


def test_without_one_nothing_is_told() -> None:
    Manager("").ready("serves")


def test_one_that_cannot_be_reached_is_complained_about_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = Manager(str(tmp_path / "nowhere"))
    with caplog.at_level(logging.WARNING):
        manager.ready("serves")
        manager.ready("serves")
    assert [record.message for record in caplog.records] == [
        "the service manager cannot be told anything: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "x"}, 0.0),
    ],
)
def test_whether_there_is_a_watchdog(environ: dict[str, str], seconds: float) -> None:
    assert watchdog_seconds(environ) == seconds
