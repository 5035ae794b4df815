"""What few programs ask for: another user, limits, something to read. On real processes."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.base import ProcessHost, ProcessLimits, ProcessUser
from runner.config import load_settings
from runner.errors import StartError
from runner.model.result import Outcome, Status
from runner.process.host import SupervisorHost
from runner.workspace import make_temp
from taskimpl.os_exec.outputfiles import AttemptFiles
from tests import apart, hostile
from tests.acceptance.command import RUNNER, group
from tests.contract.process_labs import Sink, program
from tests.os_exec_attempts import KEY, context, driver

ROOT = Path(__file__).parents[2]
NOBODY = 65534
Scenario = Callable[[SupervisorHost], Awaitable[None]]


def play(folder: Path, scenario: Scenario) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), await SupervisorHost.start_private(folder) as host:
            await scenario(host)

    asyncio.run(main())


def said(folder: Path, argv: list[str], **spec: Any) -> str:
    sink = Sink()

    async def scenario(host: SupervisorHost) -> None:
        exit = await (await host.spawn("k", program(argv, **spec), sink)).wait()
        assert exit.exit_code == 0, sink.data["stderr"]

    play(folder, scenario)
    return sink.data["stdout"].decode()


def refused(folder: Path, **spec: Any) -> str:
    """Why it was not started; what is asked for next starts all the same."""
    told = []

    async def scenario(host: SupervisorHost) -> None:
        with pytest.raises(StartError) as caught:
            await host.spawn("k", program(["true"], **spec), Sink())
        assert caught.value.exit_code == 125
        told.append(caught.value.message)
        assert await host.list() == ()
        assert hostile.zombies_of(host.pid) == 0
        assert (await (await host.spawn("k", program(["true"]), Sink())).wait()).exit_code == 0

    play(folder, scenario)
    return told[0]


# Limits.

ALLOCATES = """
import mmap, os
file = os.open("/tmp", os.O_TMPFILE | os.O_RDWR)
os.ftruncate(file, 200 << 20)
read = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
reserved = mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)
shared = mmap.mmap(-1, 200 << 20)
small = b"x" * (20 << 20)
try:
    large = b"x" * (200 << 20)
except MemoryError:
    print("refused")
"""
THREADS = """
import threading
threading.stack_size(32 << 20)
go = threading.Event()
threads = [threading.Thread(target=go.wait) for _ in range(4)]
try:
    for thread in threads:
        thread.start()
except RuntimeError:
    print("refused")
go.set()
"""


def test_memory_is_what_a_program_can_write_and_shares_with_nobody(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-c", ALLOCATES]
    assert said(tmp_path, argv) == ""
    assert said(tmp_path, argv, limits=ProcessLimits(memory=100 << 20)) == "refused\n"


def test_memory_of_stacks_is_that_of_threads_but_the_first(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-c", THREADS]
    assert said(tmp_path, argv, limits=ProcessLimits(memory=200 << 20)) == ""
    assert said(tmp_path, argv, limits=ProcessLimits(memory=100 << 20)) == "refused\n"


def test_memory_is_what_each_process_may_use_for_itself(tmp_path: Path) -> None:
    """Both have it at the same time: each tells, and then waits for the other."""
    code = """
import os
child = os.fork()
data = b"x" * (60 << 20)
one, other = ("w", "r") if child else ("r", "w")
with open("a", one), open("b", other):
    print(len(data) >> 20, flush=True)
if child:
    os.wait()
"""
    for name in ("a", "b"):
        os.mkfifo(tmp_path / name)
    argv = [sys.executable, "-I", "-c", code]
    text = said(tmp_path / "state", argv, cwd=str(tmp_path), limits=ProcessLimits(memory=100 << 20))
    assert text == "60\n60\n"


def test_memory_for_no_program_at_all(tmp_path: Path) -> None:
    """It is started, and ends: the kernel does not give it what its own code needs."""
    sink = Sink()

    async def scenario(host: SupervisorHost) -> None:
        spec = program([sys.executable, "-c", "print('alive')"], limits=ProcessLimits(memory=1 << 20))
        exit = await (await host.spawn("k", spec, sink)).wait()
        assert exit.exit_code != 0

    play(tmp_path, scenario)
    assert sink.data["stdout"] == b""


def test_open_files(tmp_path: Path) -> None:
    script = "ulimit -Sn; ulimit -Hn"
    assert said(tmp_path, ["sh", "-c", script], limits=ProcessLimits(nofile=123)) == "123\n123\n"


def test_more_open_files_than_possible(tmp_path: Path) -> None:
    assert "cannot allow 2147483647 open files: at most " in refused(tmp_path, limits=ProcessLimits(nofile=2**31 - 1))


def test_nice_and_oom_score(tmp_path: Path) -> None:
    limits = ProcessLimits(nice=19, oom_score_adj=1000)
    script = "nice; cat /proc/self/oom_score_adj; (setsid nice) ; cat /proc/self/autogroup 2>/dev/null || true"
    nice, score, inherited, *group = said(tmp_path, ["sh", "-c", script], limits=limits).splitlines()
    assert (nice, score, inherited) == ("19", "1000", "19")
    assert all(line.endswith(" nice 19") for line in group), "a session that is not nice makes its members' word void"


def test_limits_do_not_reach_the_supervisor_or_the_next_program(tmp_path: Path) -> None:
    limits = ProcessLimits(memory=64 << 20, nofile=50, nice=19, oom_score_adj=1000)
    sinks = [Sink(), Sink(), Sink()]
    script = "ulimit -n; ulimit -d; nice; cat /proc/self/oom_score_adj"

    async def scenario(host: SupervisorHost) -> None:
        for number, given in enumerate((None, limits, None)):
            spec = program(["sh", "-c", script], limits=given)
            await (await host.spawn(f"k{number}", spec, sinks[number])).wait()

    play(tmp_path, scenario)
    before, within, after = (sink.data["stdout"].decode().split() for sink in sinks)
    assert within == ["50", str(64 << 10), "19", "1000"]
    assert before == after
    assert before[0] == str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def test_one_with_limits_is_marked_and_stopped_like_any_other(tmp_path: Path) -> None:
    async def scenario(host: SupervisorHost) -> None:
        for name in ("has its own session and no environment", "ignores SIGTERM"):
            sink = Sink()
            spec = program(hostile.command(name), limits=ProcessLimits(nofile=64, memory=1 << 30))
            process = await host.spawn(name, spec, sink)
            await sink.until(b"ready ")
            assert hostile.alive(host.incarnation) != []
            await host.stop(name, 0.1)
            assert (await process.wait()).cause == "stopped"
            assert hostile.alive(host.incarnation) == []

    play(tmp_path, scenario)


# What it reads.


def test_what_it_reads_has_no_name_on_any_disk(tmp_path: Path) -> None:
    script = "cat; echo end; readlink /proc/self/fd/0; cat /dev/stdin"
    text = said(tmp_path, ["sh", "-c", script], stdin="one\ntwo\n")
    assert text == "one\ntwo\nend\n/memfd:stdin (deleted)\none\ntwo\n"


def test_without_memfd(tmp_path: Path, require: Callable[[str], None]) -> None:
    require("seccomp")

    def work() -> None:
        text = said(tmp_path, ["sh", "-c", "cat; cat; readlink /proc/self/fd/0"], stdin="a\nb\n")
        first, second, name = text.splitlines()
        assert (first, second) == ("a", "b")
        assert name.startswith(("/dev/shm/", "/tmp/"))
        assert name.endswith(" (deleted)")

    apart.run(work, apart.without("memfd_create"))


def test_what_it_reads_with_limits(tmp_path: Path) -> None:
    assert said(tmp_path, ["cat"], stdin="text", limits=ProcessLimits(nice=19)) == "text"


# Another user.


@pytest.fixture
def open_path(require: Callable[[str], None]) -> Iterator[Path]:
    """A folder that every user can enter, which pytest's own are not."""
    require("root")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def outcome_of(folder: Path, command: str | list[str], log: Sink, **spec: Any) -> Outcome:
    """An attempt as `nobody`, in a workspace that it can enter and not write to."""
    outcomes = []
    make_temp(folder / "temp")
    (folder / "workspace").mkdir(exist_ok=True)
    (folder / "workspace").chmod(0o755)

    async def scenario(host: ProcessHost) -> None:
        one = driver()
        handle = await one.start(context(folder, host, {"command": command, "user": "nobody", **spec}, log=log), KEY)
        outcomes.append(await one.wait(handle))
        await one.destroy(handle)
        assert list((folder / "temp").iterdir()) == []

    play(folder / "state", scenario)
    return outcomes[0]


def texts(outcome: Outcome) -> dict[str, str]:
    return {name: value.text for name, value in outcome.outputs.items()}


def test_another_user(open_path: Path) -> None:
    log = Sink()
    script = """
        id -u; id -ru; id -g; id -G; grep -E 'CapEff|NoNewPrivs' /proc/self/status; echo $HOME; cat
        echo named > /dev/stderr; cat /dev/stdin > /dev/null
        cat /etc/shadow 2>/dev/null || echo closed
        echo a=1 >> "$OUTPUT_FILE"; echo b=2 > "${OUTPUT_FILE}_build"
        stat -c '%a %U' "$OUTPUT_FILE" "$(dirname $OUTPUT_FILE)"
    """
    outcome = outcome_of(open_path, script, log, stdin="read\n")
    assert (outcome.status, texts(outcome)) == (Status.SUCCESS, {"a": "1", "b": "2"}), log.data["stderr"]
    assert log.data["stderr"] == b"named\n"
    uid, ruid, gid, groups, capabilities, _, home, read, shadow, file, folder = log.data["stdout"].decode().splitlines()
    assert (uid, ruid, gid, groups) == (str(NOBODY), str(NOBODY), str(NOBODY), str(NOBODY))
    assert int(capabilities.split()[1], 16) == 0
    assert (home, read, shadow) == ("/nonexistent", "read", "closed")
    assert (file, folder) == ("600 nobody", "700 nobody")


def test_another_user_replaces_its_output_file(open_path: Path) -> None:
    assert texts(outcome_of(open_path, "echo a=1 > $OUTPUT_FILE.new; mv $OUTPUT_FILE.new $OUTPUT_FILE", Sink())) == {
        "a": "1"
    }


def test_a_script_in_a_file_of_another_user(open_path: Path) -> None:
    log = Sink()
    outcome = outcome_of(open_path, "id -u", log, shell="sh -e {0}")
    assert (outcome.status, log.data["stdout"]) == (Status.SUCCESS, f"{NOBODY}\n".encode())


def test_what_another_user_leaves_in_its_folder_is_removed(open_path: Path) -> None:
    script = 'cd "$(dirname $OUTPUT_FILE)"; mkdir -p a/b; touch a/b/c; ln -s /etc link; chmod 0 a; chmod 500 .'
    assert outcome_of(open_path, script, Sink()).status is Status.SUCCESS
    assert Path("/etc/passwd").exists()


def test_the_files_that_another_user_is_given(open_path: Path) -> None:
    log = Sink()
    script = """
        cat "$FILE_KEY_PEM"; stat -c '%a %U %F' "$FILE_KEY_PEM" "$(dirname "$FILE_KEY_PEM")"
        echo changed > "$FILE_KEY_PEM"; touch "$FILE_KEY_PEM.lock"; mkdir -p "$(dirname "$FILE_KEY_PEM")/a/b"; chmod 0 "$FILE_KEY_PEM"
    """
    outcome = outcome_of(open_path, script, log, files={"key.pem": "a key\n"})
    assert outcome.status is Status.SUCCESS, log.data["stderr"]
    assert log.data["stdout"] == b"a key\n600 nobody regular file\n700 nobody directory\n"


def test_what_a_user_put_in_the_place_of_its_files_is_not_written_to(open_path: Path) -> None:
    """A runner that died before it heard of the start makes them again, as root and in a folder of the user's."""
    make_temp(open_path / "temp")
    victim = open_path / "victim"
    victim.mkdir()
    files = AttemptFiles.of(str(open_path / "temp"), KEY, "build", owner=(NOBODY, NOBODY))
    files.make(None, {"a": "1"})
    Path(files.given.folder).rename(files.given.folder + ".away")
    Path(files.given.folder + ".new").symlink_to(victim)
    files.make(None, {"a": "1"})
    assert list(victim.iterdir()) == []
    assert Path(files.given.folder, "a").read_text() == "1"
    assert Path(files.given.folder, "a").stat().st_uid == NOBODY


def test_an_attempt_of_another_user_is_found_again(open_path: Path) -> None:
    make_temp(open_path / "temp")

    async def scenario(host: SupervisorHost) -> None:
        (open_path / "workspace").mkdir(mode=0o755)
        spec = {"command": "echo a=1 > $OUTPUT_FILE", "user": f"{NOBODY}:{NOBODY}"}
        ctx = context(open_path, host, spec)
        handle = await driver().start(ctx, KEY)
        another = driver()
        await another.recover(ctx, handle)
        assert texts(await another.wait(handle)) == {"a": "1"}
        await another.destroy(handle)
        assert list((open_path / "temp").iterdir()) == []

    play(open_path / "state", scenario)


def test_a_folder_that_the_user_may_not_enter(open_path: Path) -> None:
    closed = open_path / "closed"
    closed.mkdir(mode=0o700)
    user = ProcessUser(uid=NOBODY, gid=NOBODY)
    assert refused(open_path, cwd=str(closed), user=user).startswith("cannot enter the working folder")


def test_a_program_that_the_user_may_not_execute_is_126(open_path: Path) -> None:
    tool = open_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o700)

    async def scenario(host: SupervisorHost) -> None:
        for argv in (["tool"], [str(tool)]):
            spec = program(argv, env={"PATH": str(open_path)}, user=ProcessUser(uid=NOBODY, gid=NOBODY))
            with pytest.raises(StartError) as caught:
                await host.spawn("k", spec, Sink())
            assert caught.value.exit_code == 126

    play(open_path / "state", scenario)


@pytest.mark.parametrize(
    "name", ["ignores SIGTERM", "has its own session and no environment", "restarts what is ended"]
)
def test_one_of_another_user_is_stopped_like_any_other(open_path: Path, name: str) -> None:
    async def scenario(host: SupervisorHost) -> None:
        sink = Sink()
        spec = program(hostile.command(name), user=ProcessUser(uid=NOBODY, gid=NOBODY))
        process = await host.spawn("k", spec, sink)
        await sink.until(b"ready ")
        assert os.stat(f"/proc/{hostile.pid_said(sink.data['stdout'])}").st_uid == NOBODY
        await host.signal("k", "pause")
        await host.signal("k", "start")
        await host.stop("k", 0.1)
        exit = await process.wait()
        assert exit.kill is not None
        assert exit.kill["left"] == []
        assert hostile.alive(host.incarnation) == []

    play(open_path / "state", scenario)


CURIOUS = """
while ! [ -s pid ]; do sleep 0.05; done
cat {state}/key || echo no key
ls {state}/runs || echo no runs
cat {temp}/*/*.files/* || echo no files
for process in /proc/[0-9]*; do
    case "$(cat $process/cmdline | tr '\\0' ' ')" in *runner*|*supervisor*|*sleeper*) cat $process/environ $process/mem | grep -ao canary-. || true; esac
done
kill -9 $(cat pid) || echo no signal
"""


def test_what_another_user_cannot_read(open_path: Path) -> None:
    """The runner's state and its key, and the files, the environments and the memory of the runner and of its other tasks."""
    state = open_path / "state"
    settings = load_settings({"HOME": str(open_path)}, state_dir=state)
    stays = "echo $$ > pid; exec -a sleeper sleep 1000"
    tasks: list[dict[str, Any]] = [
        {
            "name": "other",
            "type": "os_exec",
            "spec": {"command": ["bash", "-c", stays], "envs": {"A": "canary-1"}, "files": {"b": "canary-2"}},
        },
        {
            "name": "curious",
            "type": "os_exec",
            "template": False,
            "spec": {"command": CURIOUS.format(state=state, temp=settings.temp_parent), "user": "nobody"},
        },
    ]
    (open_path / "group.json").write_text(group(tasks, failFast=False))
    environment = {"HOME": str(open_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    argv = [*RUNNER, "run", "group.json", "--state-dir", str(state)]
    run = subprocess.Popen(
        argv, cwd=open_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.stdout is not None
    said = ""
    try:
        for line in run.stdout:
            said += line
            if line.startswith("curious -- ") and "started" not in line:
                break
    finally:
        run.kill()
        run.communicate()
    assert "curious -- success" in said
    for refused in ("no key", "no runs", "no files", "no signal"):
        assert f"| {refused}\n" in said
    assert "canary" not in said


NOT_ROOT = """
import asyncio, os, sys, tempfile
from drivers.base import ProcessLimits, ProcessUser
from runner.errors import StartError
from runner.process.host import SupervisorHost
from tests.contract.process_labs import Sink, program

async def main():
    own = ProcessUser(uid=os.getuid(), gid=os.getgid())
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        async with await SupervisorHost.start_private(folder) as host:
            for spec in (
                {"user": ProcessUser(uid=int(sys.argv[1]), gid=0)},
                {"limits": ProcessLimits(nice=-5)},
                {"limits": ProcessLimits(oom_score_adj=-500)},
                {"limits": ProcessLimits(nofile=2**31 - 1)},
            ):
                try:
                    await host.spawn("k", program(["true"], **spec), Sink())
                except StartError as error:
                    print(error.exit_code, error.message)
            sink = Sink()
            process = await host.spawn("own", program(["id", "-u"], user=own, limits=ProcessLimits(nice=19)), sink)
            await process.wait()
            assert int(sink.data["stdout"]) == os.getuid()

asyncio.run(main())
"""


def test_what_only_root_can_give(require: Callable[[str], None]) -> None:
    """Where the test is root itself, it runs without any of root's capabilities."""
    drop = []
    if os.geteuid() == 0:
        require("setpriv")
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    argv = [*drop, sys.executable, "-c", NOT_ROOT, str(os.geteuid() + 1)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    became, nice, score, files = done.stdout.splitlines()
    assert became.startswith("125 cannot run as the user ")
    assert became.endswith("Operation not permitted; the runner has to be root")
    assert nice.startswith("125 cannot set nice to -5: ")
    assert score.startswith("125 cannot set oom_score_adj to -500: ")
    assert files.startswith("125 cannot allow 2147483647 open files: at most ")
