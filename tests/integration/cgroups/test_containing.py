"""Containment by control groups: who is put into one, what it costs, and what is claimed at the end."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.base import ProcessUser
from runner.process.host import SupervisorHost
from runner.process.supervisor import cgroups
from tests import apart, hostile
from tests.contract.process_labs import Sink, program
from tests.integration.cgroups.driving import direct, play, until_held, until_removed

NOBODY = ProcessUser(uid=apart.NOBODY, gid=apart.NOBODY)
UNTIL_HELD = "until grep -q /runner-$(echo $RUNNER_TASK_ID | cut -d/ -f1) /proc/self/cgroup; do sleep 0.01; done"
"""What a shell waits with until it is in its own control group."""


def test_a_short_program_is_never_put_into_a_control_group() -> None:
    """On a machine that is busy with something else none may be short at first."""
    told = direct("""
folder, began, number = True, time.monotonic(), 0
while folder and time.monotonic() < began + 30:
    number += 1
    record = start(f"k{number}", ["true"])
    while record.exit is None:
        table.reap()
        table.run_due()
    folder = record.folder is not None
tell(folder=folder, kill=record.exit["kill"])
""")
    assert told == {"folder": False, "kill": None}


def test_all_of_a_tree_is_put_into_one(tmp_path: Path) -> None:
    script = "for i in 1 2 3; do (sleep 1000 & setsid sleep 1000 & sleep 1000 & wait) & done; (sleep 1000 &); echo ready; wait"

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(["sh", "-c", script]), sink)
        await sink.until(b"ready")
        name = await until_held(host, process.started.pid)
        [room] = cgroups.former(host.incarnation)
        while len(room.pids()) < 14:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.002)
        assert {cgroups.name_of(pid) for pid in room.pids()} == {name}
        await host.signal("k", "pause")
        await host.signal("k", "start")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert exit.kill is not None
        assert (exit.kill["survivors"], room.pids()) == (0, [])
        await until_removed(host)

    play(tmp_path, scenario)


def test_what_carries_no_mark_is_ended_at_a_normal_end_too(tmp_path: Path) -> None:
    code = f"import time\ntime.sleep(0.2)\n{hostile.ESCAPES}".replace("stay()", "time.sleep(0.2)")

    async def scenario(host: SupervisorHost) -> None:
        await host.spawn("other", program(["sleep", "1000"]), Sink())
        sink = Sink()
        exit = await (await host.spawn("k", program(hostile.python(code)), sink)).wait()
        assert (exit.exit_code, exit.cause) == (0, "exited")
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert exit.kill is not None
        assert (exit.kill["containment"], exit.kill["survivors"], exit.kill["leftovers"]) == ("cgroup2", 0, 1)

    play(tmp_path, scenario)


def test_a_normal_end_without_leftovers_has_no_report(tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done & wait; true"
        process = await host.spawn("k", program(["sh", "-c", script]), Sink())
        await until_held(host, process.started.pid)
        (tmp_path / "go").touch()
        assert (await process.wait()).kill is None

    play(tmp_path, scenario)


def test_nothing_is_claimed_of_what_was_moved_out(tmp_path: Path) -> None:
    own = cgroups.path_of(cgroups.name_of("self") or "")
    code = f"""
if os.fork() == 0:
    os.setsid()
    time.sleep(0.2)
    open({f"{own}/cgroup.procs"!r}, "w").write(str(os.getpid()))
    say(f"ready {{os.getpid()}}")
stay()
"""

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program(hostile.python(code)), sink)
        await until_held(host, process.started.pid)
        await sink.until(b"ready ")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert exit.kill is not None
        assert exit.kill["containment"] == "marker"
        assert "survivors" not in exit.kill

    play(tmp_path, scenario)


def test_control_groups_that_a_task_makes_go_with_its_own(tmp_path: Path) -> None:
    code = """
time.sleep(0.2)
own = [line[3:].strip() for line in open("/proc/self/cgroup") if line.startswith("0::")][0]
inner = sys.argv[1] + own + "/a/b"
os.makedirs(inner)
if os.fork() == 0:
    os.setsid()
    open(inner + "/cgroup.procs", "w").write(str(os.getpid()))
    say(f"ready {os.getpid()}")
stay()
"""
    mount = cgroups.path_of("/")
    if mount is None:
        pytest.skip("the whole hierarchy is not seen here")

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        process = await host.spawn("k", program([*hostile.python(code), mount]), sink)
        await sink.until(b"ready ")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert not hostile.is_alive(hostile.pid_said(sink.data["stdout"]))
        assert exit.kill is not None
        assert (exit.kill["containment"], exit.kill["survivors"]) == ("cgroup2", 0)
        await until_removed(host)

    play(tmp_path, scenario)


@pytest.mark.parametrize("ending", ["stop", "normal"])
def test_what_no_look_would_find_is_ended_with_it(tmp_path: Path, ending: str) -> None:
    """It carries no sign, and descends from nobody whom the supervisor knows: only the kernel tells that it is in there."""
    go = tmp_path / "go"
    os.mkfifo(go)

    async def scenario(host: SupervisorHost) -> None:
        process = await host.spawn("k", program(["sh", "-c", f"read line < {go}"]), Sink())
        name = await until_held(host, process.started.pid)
        stranger = await asyncio.create_subprocess_exec("sleep", "1000")
        try:
            Path(f"{cgroups.path_of(name)}/cgroup.procs").write_text(str(stranger.pid))
            if ending == "stop":
                await host.stop("k", 0.1)
            else:
                go.write_text("go\n")
            exit = await process.wait()
            assert not hostile.is_alive(stranger.pid)
        finally:
            with suppress(ProcessLookupError):
                stranger.kill()
            await stranger.wait()
        assert exit.cause == ("stopped" if ending == "stop" else "exited")
        assert exit.kill is not None
        assert exit.kill["leftovers"] == 1
        if ending == "stop":  # else it may have ended before it was known to be contained
            assert (exit.kill["containment"], exit.kill["survivors"]) == ("cgroup2", 0)

    play(tmp_path / "state", scenario)


def test_another_user_cannot_move_what_it_runs_out_of_it(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("root")
    own = cgroups.path_of(cgroups.name_of("self") or "")
    code = f"""
for group in {own!r}, os.path.dirname({own!r}):
    for name in "cgroup.procs", "cgroup.threads":
        try: open(os.path.join(group, name), "w").write(str(os.getpid()))
        except (PermissionError, FileNotFoundError): pass
        else: say("moved")
say(f"ready {{os.getpid()}}")
stay()
"""

    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        spec = program(["sh", "-c", f'{UNTIL_HELD}; exec "$@"', "sh", *hostile.python(code)], user=NOBODY)
        await host.spawn("k", spec, sink)
        await sink.until(b"ready ")
        assert b"moved" not in sink.data["stdout"]
        assert host.incarnation in (cgroups.name_of(hostile.pid_said(sink.data["stdout"])) or "")

    play(tmp_path, scenario)


def test_what_survives_in_it_is_counted(tmp_path: Path, require: Callable[[str], None]) -> None:
    """The supervisor may not signal, and what it runs has taken from it the way to kill the control group as a whole."""
    for need in ("root", "mount", "seccomp"):
        require(need)
    number = tmp_path / "number"
    script = f"""{UNTIL_HELD}
        chmod 0 "$1$(sed -n s/^0:://p /proc/self/cgroup)/cgroup.kill"; echo $$ > "$2"; echo ready; exec sleep 1000 >&- 2>&-"""

    async def main() -> None:
        mount = cgroups.path_of("/")
        assert mount is not None
        async with asyncio.timeout(40), await SupervisorHost.start_private(tmp_path, containment="cgroup2") as host:
            sink = Sink()
            process = await host.spawn("k", program(["sh", "-ec", script, "sh", mount, str(number)]), sink)
            await sink.until(b"ready")
            await host.stop("k", 0.0)
            kill = (await process.wait()).kill
            assert kill is not None
            assert kill["left"] == [{"pid": process.started.pid, "name": "sleep", "state": "S"}]
            assert (kill["containment"], kill["survivors"]) == ("cgroup2", 1)

    if cgroups.path_of("/") is None:
        pytest.skip("the whole hierarchy is not seen here")
    with apart.delegated() as group:
        try:
            apart.run(
                lambda: asyncio.run(main()),
                apart.within(group),
                apart.as_nobody(tmp_path),
                apart.without("kill", "pidfd_send_signal", error=errno.EPERM),
            )
        finally:
            if number.exists():
                os.kill(int(number.read_text()), signal.SIGKILL)
            for room in group.iterdir():
                while room.is_dir() and not cgroups.Folder("", str(room)).remove():
                    os.sched_yield()
