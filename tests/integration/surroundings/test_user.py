"""What few programs ask for, on real processes: another user."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from drivers.base import ProcessHost, ProcessUser
from runner.errors import StartError
from runner.model.result import Outcome, Status
from runner.process.host import SupervisorHost
from runner.workspace import make_temp
from taskimpl.os_exec.outputfiles import AttemptFiles
from tests import apart, hostile
from tests.contract.process_labs import Sink, program
from tests.integration.surroundings.programs import play, refused, said
from tests.os_exec_attempts import KEY, context, driver

NOBODY = 65534


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


@pytest.mark.parametrize("groups", [(), (4711, 4712)], ids=["none", "two"])
def test_another_user_has_its_own_groups_and_none_of_the_supervisors(open_path: Path, groups: tuple[int, ...]) -> None:
    def work() -> None:
        user = ProcessUser(uid=NOBODY, gid=NOBODY, groups=groups)
        text = said(open_path / "state", ["id", "-G"], user=user)
        assert sorted(map(int, text.split())) == sorted((NOBODY, *groups))

    apart.run(work, lambda: os.setgroups([0, 4713]))


def test_a_script_in_a_file_of_another_user(open_path: Path) -> None:
    log = Sink()
    script = 'id -u; stat -c "%a %U" "$0" "$(dirname "$0")"'
    outcome = outcome_of(open_path, script, log, shell="sh -e {0}")
    assert outcome.status is Status.SUCCESS
    assert log.data["stdout"] == f"{NOBODY}\n600 nobody\n700 nobody\n".encode()


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
