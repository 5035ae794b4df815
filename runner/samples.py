"""What a node measures whenever it is asked, for its metrics."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.node import Node
    from runner.rpc.server import Server


def of(node: Node, server: Server, state_dir: Path) -> Iterator[tuple[str, str, float]]:
    load, usage = node.engine.load, node.store.usage()
    yield "runner_slots", "How many attempts may run at once.", load.slots
    yield "runner_attempts_running", "How many attempts hold a slot.", load.taken
    yield "runner_queue_length", "How many tasks wait for a slot.", load.waiting
    yield "runner_groups_active", "How many groups are not over.", node.engine.active
    yield "runner_groups_kept", "How many groups that are over are kept.", usage.groups
    yield "runner_kept_log_bytes", "What their logs take on the disk.", usage.log_bytes
    yield "runner_database_bytes", "What is in use of the database.", node.store.used_bytes()
    yield "runner_log_bytes_total", "What tasks have printed, as it was written to logs.", node.logs.written
    disk = os.statvfs(state_dir)
    yield "runner_disk_free_bytes", "What is free where the state is kept.", disk.f_bavail * disk.f_frsize
    yield "runner_disk_free_files", "How many files can be made there.", disk.f_favail
    yield "runner_streams", "How many watches and followed logs there are.", server.streams
    yield "runner_supervisor_restarts", "How many supervisors have ended that should not.", node.processes.restarts
