from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import StoreError, StoreVersionError
from runner.store import database, statements

ONE = "CREATE TABLE a (x TEXT) STRICT; INSERT INTO a VALUES ('kept');"
TWO = "CREATE TABLE b (y TEXT) STRICT; UPDATE a SET x = 'changed';"

INTERRUPTED = """
import sys, pathlib
from runner.store import database

def pause():
    print("half done", flush=True)
    sys.stdin.read()

connection = database.connect(pathlib.Path(sys.argv[1]))
connection.create_function("pause", 0, pause)
database.migrate(connection, [sys.argv[2], sys.argv[3] + "SELECT pause();"], pathlib.Path(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def _content(path: Path, scripts: list[str]) -> tuple[int, str, list[str]]:
    connection = database.open_database(path, scripts)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (value,) = connection.execute("SELECT x FROM a").fetchone()
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema ORDER BY name")]
    connection.close()
    return version, value, tables


def test_each_step_is_taken_once(path: Path) -> None:
    assert _content(path, [ONE]) == (1, "kept", ["a"])
    assert _content(path, [ONE]) == (1, "kept", ["a"])
    assert _content(path, [ONE, TWO]) == (2, "changed", ["a", "b"])
    assert _content(path, [ONE, TWO]) == (2, "changed", ["a", "b"])


def test_a_new_database_takes_all_steps(path: Path) -> None:
    assert _content(path, [ONE, TWO]) == (2, "changed", ["a", "b"])


def test_an_older_runner_leaves_a_newer_state_alone(path: Path) -> None:
    _content(path, [ONE, TWO])
    with pytest.raises(StoreVersionError, match=r"version 2.*up to 1"):
        database.open_database(path, [ONE])
    assert _content(path, [ONE, TWO]) == (2, "changed", ["a", "b"])


@pytest.mark.parametrize("wrong", ["SELECT nothing FROM nowhere;", "CREATE TABLE", "INSERT INTO b VALUES (x'00');"])
def test_a_step_that_fails_leaves_the_old_version(path: Path, wrong: str) -> None:
    _content(path, [ONE])
    with pytest.raises(StoreError):
        database.open_database(path, [ONE, TWO + wrong])
    assert _content(path, [ONE]) == (1, "kept", ["a"])
    assert _content(path, [ONE, TWO]) == (2, "changed", ["a", "b"])


def test_a_first_step_that_fails_leaves_nothing(path: Path) -> None:
    with pytest.raises(StoreError):
        database.open_database(path, [ONE + "CREATE TABLE"])
    assert list(path.parent.iterdir()) == []


def test_a_step_that_is_killed_half_way_leaves_the_old_version(path: Path) -> None:
    _content(path, [ONE])
    arguments = [sys.executable, "-c", INTERRUPTED, str(path), ONE, TWO]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half done\n"
        process.send_signal(signal.SIGKILL)
    assert _content(path, [ONE]) == (1, "kept", ["a"])
    assert _content(path, [ONE, TWO]) == (2, "changed", ["a", "b"])


def test_the_scripts_and_queries_of_the_package_fit_together(path: Path) -> None:
    connection = database.open_database(path, statements.migrations())
    queries = statements.queries()
    assert len(queries) > 10
    for name, query in queries.items():
        assert query.endswith(";"), name
        assert sqlite3.complete_statement(query), name
        named = dict.fromkeys(re.findall(r":(\w+)", query))
        connection.execute(f"EXPLAIN {query}", named or (None,) * query.count("?"))
    connection.close()


def test_groups_of_the_first_version_belong_to_their_callers(path: Path) -> None:
    connection = database.open_database(path, statements.migrations()[:1])
    connection.execute(
        "INSERT INTO groups (id, caller, name, digest, labels_json, workspace, status, accepted, abort_count)"
        " VALUES ('g', 'me', 'n', 'd', '{}', '', 'success', '1 1 b', 0)"
    )
    connection.execute("INSERT INTO documents VALUES (1, ?, x'')", (b'{"tasks":[{"name":"a"},{"name":"b"}]}',))
    connection.close()
    connection = database.open_database(path, statements.migrations())
    found = connection.execute("SELECT id, public_id, task_count FROM groups").fetchall()
    connection.close()
    assert found == [("g", "g", 2)]
