from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from runner.config import available_cores, environment_value, is_tmpfs, load_settings, temp_parent
from runner.errors import UsageError
from tests import apart


@pytest.mark.parametrize(
    ("environ", "state_dir"),
    [
        ({"HOME": "/home/a"}, "/home/a/.local/state/runner"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "/state"}, "/state/runner"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "relative"}, "/home/a/.local/state/runner"),
    ],
)
def test_where_state_is_kept(environ: dict[str, str], state_dir: str) -> None:
    assert load_settings(environ).state_dir == Path(state_dir)


def test_what_is_given_wins(tmp_path: Path) -> None:
    settings = load_settings({"HOME": "/home/a"}, state_dir=tmp_path, max_parallel=3)
    assert (settings.state_dir, settings.max_parallel) == (tmp_path, 3)
    assert load_settings({"HOME": "/home/a"}).max_parallel == 4 * available_cores()


@pytest.mark.parametrize(("text", "value"), [("", 40), ("1", 1), ("60000", 60_000)])
def test_a_number_from_the_environment(text: str, value: int) -> None:
    environ = {"HOME": "/h", "RUNNER_TEMPLATE_MILLISECONDS": text}
    assert load_settings(environ).template_milliseconds == value


@pytest.mark.parametrize("text", ["0", "60001", "-1", "1.5", "x", " 1", "١", "9" * 5_000])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^RUNNER_TEMPLATE_MILLISECONDS: expected a whole number from 1 to 60000"):
        load_settings({"HOME": "/h", "RUNNER_TEMPLATE_MILLISECONDS": text})


def test_tasks_see_little_of_the_runners_environment() -> None:
    environ = {"PATH": "/bin", "HOME": "/h", "LANG": "C", "TZ": "UTC", "AWS_SECRET_ACCESS_KEY": "x"}
    assert load_settings(environ).base_env == {"PATH": "/bin", "HOME": "/h", "LANG": "C", "TZ": "UTC"}


@pytest.mark.parametrize("id", ["", "..", "a/b", "-a", "a" * 129, "a\n", "ü"])
def test_a_group_id_is_a_plain_name(id: str) -> None:
    with pytest.raises(UsageError, match="cannot be a group id"):
        load_settings({"HOME": "/h"}).run_dir(id)


def test_run_dirs_and_temp_dirs_differ_by_group() -> None:
    settings = load_settings({"HOME": "/h"})
    assert settings.run_dir("a").name == "a"
    assert settings.temp_dir(settings.run_dir("a")) == settings.temp_dir(settings.run_dir("a"))
    assert settings.temp_dir(settings.run_dir("a")) != settings.temp_dir(settings.run_dir("b"))
    assert settings.temp_dir(settings.run_dir("a")).name.startswith(settings.run_temp_prefix)
    assert not settings.temp_dir(settings.state_dir).name.startswith(settings.run_temp_prefix)


def test_secrets_go_to_memory_where_there_is_some(require: Callable[[str], None]) -> None:
    require("tmpfs")
    settings = load_settings({"HOME": "/h"})
    assert settings.temp_in_memory
    assert is_tmpfs(settings.temp_parent)
    assert load_settings({"HOME": "/h", "XDG_RUNTIME_DIR": "/nowhere"}).temp_parent == settings.temp_parent


def test_what_is_in_memory_is_told_by_where_it_really_lies(require: Callable[[str], None], tmp_path: Path) -> None:
    require("tmpfs")
    assert is_tmpfs("/dev/shm")
    assert not is_tmpfs("/dev/shm-not")
    assert not is_tmpfs("/proc")
    (tmp_path / "link").symlink_to("/dev/shm")
    assert is_tmpfs(tmp_path / "link")
    with TemporaryDirectory(dir="/dev/shm") as memory:
        Path(memory, "out").symlink_to("/proc")
        assert not is_tmpfs(Path(memory, "out"))


def test_the_first_safe_folder_in_memory_is_taken(require: Callable[[str], None]) -> None:
    require("tmpfs")
    with TemporaryDirectory(dir="/dev/shm") as memory:
        places = {name: Path(memory, name) for name in ("shared", "own", "other")}
        for place in places.values():
            place.mkdir(mode=0o700)
        places["shared"].chmod(0o777)
        candidates = ["", "relative", "/proc", f"{memory}/none", *map(str, places.values())]
        assert temp_parent(candidates) == places["own"]
        places["shared"].chmod(0o1777)
        assert temp_parent(candidates) == places["shared"]


def test_without_a_folder_in_memory_it_is_the_usual_one() -> None:
    assert temp_parent(["/proc", "/nowhere"]) == Path(tempfile.gettempdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_taken(require: Callable[[str], None]) -> None:
    require("tmpfs")
    with TemporaryDirectory(dir="/dev/shm") as memory:
        os.chown(memory, 12345, 12345)
        assert temp_parent([memory]) == Path(tempfile.gettempdir())


def test_the_folder_of_a_login_session_comes_second(require: Callable[[str], None]) -> None:
    """It goes with the session; and root's is closed to the users that its tasks may run as."""
    require("tmpfs")
    with TemporaryDirectory(dir="/dev/shm") as runtime:
        assert load_settings({"HOME": "/h", "XDG_RUNTIME_DIR": runtime}).temp_parent == Path("/dev/shm")


def test_no_more_tasks_at_once_than_there_are_files_for() -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        assert load_settings({"HOME": "/h"}, max_parallel=52).max_parallel == 52
        assert load_settings({"HOME": "/h"}).max_parallel == min(52, 4 * available_cores())
        with pytest.raises(UsageError, match="max_parallel: 53 tasks at once need about 259 open files"):
            load_settings({"HOME": "/h"}, max_parallel=53)

    apart.run(work)


@pytest.mark.parametrize("wanted", ["", "auto", "cgroup2", "marker"])
def test_containment(wanted: str) -> None:
    assert load_settings({"HOME": "/h", "RUNNER_CONTAINMENT": wanted}).containment == (wanted or "auto")


def test_a_containment_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match='RUNNER_CONTAINMENT: expected auto, cgroup2 or marker, found "docker"'):
        load_settings({"HOME": "/h", "RUNNER_CONTAINMENT": "docker"})


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(UsageError, match="'NO_SUCH_VARIABLE' is not set"):
        environment_value("NO_SUCH_VARIABLE")


@pytest.mark.parametrize(
    ("text", "bytes"), [(None, 4 << 30), ("", 4 << 30), ("0", 0), ("64KiB", 65536), ("1.5GiB", 3 << 29)]
)
def test_how_much_of_a_log_is_kept(text: str | None, bytes: int) -> None:
    environ = {"HOME": "/h"} if text is None else {"HOME": "/h", "RUNNER_LOG_LIMIT": text}
    assert load_settings(environ).log_bytes == bytes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("much", 'RUNNER_LOG_LIMIT: "much": expected a size such as 1048576, 512MiB or 1.5GiB'),
        ("1kB", "RUNNER_LOG_LIMIT: expected a size of at least 64KiB, or 0 for no limit"),
        ("-1", 'RUNNER_LOG_LIMIT: "-1": must not be negative'),
    ],
)
def test_a_limit_of_logs_that_is_none(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings({"HOME": "/h", "RUNNER_LOG_LIMIT": text})
    assert caught.value.message == message
