"""A node that dies and comes back, as often as a test likes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.acceptance.command import RUNNER


class Node:
    """On the state directory `state`; its socket is the one that `--to local` means."""

    def __init__(self, state: Path, *listen: str) -> None:
        self.socket = f"unix:{state}/runner.sock"
        self.addresses: Sequence[str] = ()
        self._state = state
        self._listen: Sequence[str] = (self.socket, *listen)
        self._log = state.with_name("node.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """On return it serves."""
        assert self._process is None
        listen = [part for address in self._listen for part in ("--listen", address)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._state.parent)}
        with open(self._log, "wb") as log:
            command = [*RUNNER, "serve", "--state-dir", str(self._state), *listen]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while not self._is_serving():
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.01)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()

    def remove(self) -> None:
        """End it, and the supervisor that would wait for the next one."""
        self.end()
        for pid in self._left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        while self._left():
            time.sleep(0.01)

    def _is_serving(self) -> bool:
        for line in self._log.read_text().splitlines(keepends=True):
            if line.endswith("\n") and (said := json.loads(line))["action"] == "node_serving":
                # The next life listens at the same ports.
                self.addresses = self._listen = said["addresses"]
                return True
        return False

    def _left(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if os.fsencode(self._state) in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found
