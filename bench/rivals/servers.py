"""Programs that a rival needs beside it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LONGEST_START_SECONDS = 120.0
LONGEST_STOP_SECONDS = 10.0


@contextmanager
def server(
    argv: Sequence[str | Path], folder: Path, ready: Callable[[], bool], *, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A program that is asked until it is `ready`, and ended at the end. Its output goes to a file in `folder`."""
    log = folder / f"{Path(argv[0]).name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
    try:
        until = time.monotonic() + LONGEST_START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{argv[0]} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(LONGEST_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis(folder: Path) -> Iterator[Path]:
    """A Redis of one's own that keeps nothing on disk; the socket that it listens at."""
    path = folder / "redis.sock"
    options = {"port": "0", "unixsocket": str(path), "dir": str(folder), "save": "", "appendonly": "no"}
    argv = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
    with server(argv, folder, lambda: _answers(path)):
        yield path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
