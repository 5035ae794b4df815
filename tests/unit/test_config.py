from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config import available_cores, environment_value, is_tmpfs, load_settings
from runner.errors import UsageError


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


def test_secrets_go_to_memory_where_there_is_some() -> None:
    parent = load_settings({"HOME": "/h"}).temp_parent
    assert parent.is_dir()
    if is_tmpfs("/dev/shm") and os.access("/dev/shm", os.W_OK):
        assert is_tmpfs(str(parent))
    assert not is_tmpfs("/proc")


def test_roots_tasks_may_run_as_users_who_cannot_enter_its_runtime_folder(
    monkeypatch: pytest.MonkeyPatch, require: Callable[[str], None]
) -> None:
    require("tmpfs")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as runtime:
        environ = {"HOME": "/h", "XDG_RUNTIME_DIR": runtime}
        for uid, expected in ((1000, runtime), (0, "/dev/shm")):
            monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
            assert load_settings(environ).temp_parent == Path(expected)


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(UsageError, match="'NO_SUCH_VARIABLE' is not set"):
        environment_value("NO_SUCH_VARIABLE")
