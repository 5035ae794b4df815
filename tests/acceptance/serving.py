"""A node that serves, as a service manager runs it: a subprocess that tells when it is ready, and whoever calls it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from runner.v1 import runner_pb2 as pb
from runner.v1.runner_pb2_grpc import RunnerServiceStub
from tests.acceptance.command import Command

SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Node:
    process: subprocess.Popen[bytes]
    manager: socket.socket
    log: Path

    def told(self) -> dict[str, str]:
        """What the service manager is told next, by name."""
        lines = self.manager.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until_told(self, name: str) -> dict[str, str]:
        while name not in (said := self.told()):
            pass
        return said

    def said(self) -> list[dict[str, Any]]:
        """What it has said on stderr by now."""
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def until_said(self, action: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th line of this kind. Lines are written beside what they tell of."""
        while True:
            found = [line for line in self.said() if line["action"] == action]
            if len(found) >= count:
                return found[count - 1]
            assert self.process.poll() is None, f"it has ended, and never said {action}"
            time.sleep(0.01)

    def reload(self) -> dict[str, str]:
        """Tell it to read its configuration anew; what the manager is told when that is done."""
        self.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC" in self.until_told("RELOADING")
        return self.until_told("READY")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    @property
    def address(self) -> str:
        return str(self.until_said("node_serving")["addresses"][0])

    @contextmanager
    def service(self) -> Iterator[RunnerServiceStub]:
        with grpc.insecure_channel(self.address) as channel:
            yield RunnerServiceStub(channel)


@contextmanager
def serving(runner: Command, *arguments: str, **environment: str) -> Iterator[Node]:
    """A node that is ready."""
    address = runner.folder.parent / f"notify-{len(runner.started)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(SECONDS)
        log = runner.folder.parent / f"node-{len(runner.started)}.log"
        with open(log, "wb") as stderr:
            given = {**environment, "NOTIFY_SOCKET": str(address)}
            process = runner.start("serve", *arguments, environment=given, stderr=stderr)
        node = Node(process=process, manager=manager, log=log)
        try:
            assert node.until_told("READY")["STATUS"].startswith("serves ")
            yield node
        except TimeoutError:
            raise AssertionError(log.read_text()) from None
        finally:
            process.kill()
            process.wait()
    address.unlink()


def submit(service: RunnerServiceStub, document: str, id: str = "") -> str:
    request = pb.SubmitTaskGroupRequest(document=document.encode(), id=id)
    return str(service.SubmitTaskGroup(request, timeout=SECONDS).id)


def watched(service: RunnerServiceStub, id: str) -> Iterator[pb.Event]:
    for answer in service.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id), timeout=SECONDS):
        for happening in answer.happenings:
            yield happening.event
