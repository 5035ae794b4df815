"""A node that dies and comes back, as often as a test likes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from runner.config.service import DEFAULT_SCOPES, Scope
from runner.tokens import Tokens
from tests.acceptance.command import RUNNER


class Node:
    """On the state directory `state`; its socket is the one that `--to local` means."""

    def __init__(
        self,
        state: Path,
        *listen: str,
        options: Sequence[str] = (),
        environment: Mapping[str, str] = MappingProxyType({}),
        before: Sequence[str] = (),
        command: Sequence[str] = RUNNER,
    ) -> None:
        """`options` of the command `serve`, beside where it listens; `environment` beside what it needs; `before` is a command
        that becomes it; `command` is `runner`."""
        self.socket = f"unix:{state}/runner.sock"
        self.addresses: Sequence[str] = ()
        self._state = state
        self._options = options
        self._environment = environment
        self._before = before
        self._command = command
        self._listen: Sequence[str] = (self.socket, *listen)
        self._log = state.with_name("node.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """On return it serves."""
        assert self._process is None
        listen = [part for address in self._listen for part in ("--listen", address)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._state.parent), **self._environment}
        with open(self._log, "wb") as log:
            command = [*self._before, *self._command, "serve", "--state-dir", str(self._state), *self._options, *listen]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        while not self._is_serving():
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.01)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def supervisors(self) -> Sequence[int]:
        """The processes of its state beside itself: one that serves it, for as long as a task is not about to become another."""
        own = self._process.pid if self._process is not None else 0
        return [pid for pid in self._left() if pid != own]

    def token(self, name: str, scopes: frozenset[Scope] = DEFAULT_SCOPES) -> str:
        """One by which a caller is `name`."""
        return Tokens(self._state).create(name, now=time.time(), scopes=scopes)[1]

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
