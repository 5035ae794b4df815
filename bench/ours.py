"""The runner as a contestant: its parts in a worker process, and the command as people run it."""

from __future__ import annotations

import compileall
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from bench import workloads
from bench.measure import Metrics, descendants, machine_cpu_seconds, rss_bytes, run
from bench.samples import BenchError
from bench.workloads import Workload

ROOT = Path(__file__).parents[1]
PACKAGES = ("runner", "drivers", "taskimpl", "cache")
LONGEST_START_SECONDS = 30.0
READY = "ready-and-waiting"
WAITING_DOCUMENT = (
    f"taskGroup:\n- name: wait\n  type: os_exec\n  spec: {{command: [/bin/sh, -c, 'echo {READY}; sleep 600']}}\n"
)


@cache
def command() -> str:
    """The installed command `runner` of this Python, its modules compiled, as an installation leaves them, whatever
    PYTHONDONTWRITEBYTECODE says. Raises BenchError when there is none."""
    path = Path(sys.executable).with_name("runner")
    if not path.exists():
        raise BenchError(f"there is no {path}: install the project into this environment, e.g. with `make venv`")
    for package in PACKAGES:
        compileall.compile_dir(ROOT / package, quiet=2)
    return str(path)


def worker(*job: str | int) -> Metrics:
    """The metrics of one job of `bench.worker`, measured in a fresh process."""
    done = run([sys.executable, "-m", "bench.worker", *map(str, job)], cwd=ROOT, keep=True)
    metrics: Metrics = json.loads(done.stdout)
    return {**metrics, "max_rss_mb": done.max_rss_bytes / 1e6}


def run_command(workload: Workload, folder: Path) -> Metrics:
    """`runner run` from its start to its end, as a person sees it."""
    (folder / "group.yaml").write_text(workloads.document(workload), encoding="ascii")
    secrets = workloads.secret_values()
    options = [part for name in secrets for part in ("--set-secret", f"{name}=env:{name}")]
    argv = [command(), "run", "--state-dir", str(folder / "state"), *options, "group.yaml"]
    machine = machine_cpu_seconds()
    done = run(argv, cwd=folder, env={**os.environ, **secrets})
    return {
        "seconds": done.seconds,
        "tasks_per_s": workload.count / done.seconds,
        "cpu_ms_per_task": done.cpu_seconds / workload.count * 1e3,
        "machine_cpu_ms_per_task": (machine_cpu_seconds() - machine) / workload.count * 1e3,
        "max_rss_mb": done.max_rss_bytes / 1e6,
    }


def version_seconds() -> float:
    return run([command(), "--version"]).seconds


def python_seconds() -> float:
    return run([sys.executable, "-c", "pass"]).seconds


def first_lines_seconds(folder: Path) -> tuple[float, float]:
    """From the start of `runner run` to the first that it shows on a terminal, and to the line that names the group."""
    document, state = folder / "group.yaml", folder / "state"
    document.write_text(workloads.document(workloads.one()), encoding="ascii")
    secrets = workloads.secret_values()
    options = [part for name in secrets for part in ("--set-secret", f"{name}=env:{name}")]
    argv = [command(), "run", "--state-dir", str(state), *options, str(document)]
    terminal, theirs = os.openpty()
    try:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, env={**os.environ, **secrets, "TERM": "xterm", "CI": ""}, stdin=theirs, stdout=theirs, stderr=theirs
        )
        watchdog = threading.Timer(LONGEST_START_SECONDS, process.kill)
        watchdog.start()
        os.close(theirs)
        seen = os.read(terminal, 1)
        first = time.perf_counter() - began
        with suppress(OSError):
            while b"\n" not in seen and (more := os.read(terminal, 65536)):
                seen += more
        seconds = time.perf_counter() - began
        with suppress(OSError):  # which says that nobody has it open any more
            while os.read(terminal, 65536):
                pass
        watchdog.cancel()
        if process.wait() or not seen:
            raise BenchError("`runner run` did not do its one task")
    finally:
        os.close(terminal)
    return first, seconds


def waiting_rss(folder: Path) -> Metrics:
    """What `runner run` and its supervisor hold while their one task sleeps."""
    (folder / "group.yaml").write_text(WAITING_DOCUMENT, encoding="ascii")
    argv = [command(), "run", "--state-dir", str(folder / "state"), "group.yaml"]
    process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    watchdog = threading.Timer(LONGEST_START_SECONDS, process.kill)
    watchdog.start()
    try:
        if not any(READY in line for line in process.stdout):
            raise BenchError("`runner run` did not start its task")
        own = rss_bytes(process.pid)
        # Below the runner stands the supervisor, below that the task's own processes.
        helpers = sum(rss_bytes(pid) for pid in descendants(process.pid) if _is_python(pid))
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.wait()
        process.stdout.close()
        watchdog.cancel()
    return {"rss_mb": own / 1e6, "helper_rss_mb": helpers / 1e6, "total_rss_mb": (own + helpers) / 1e6}


def _is_python(pid: int) -> bool:
    return os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(sys.executable)
