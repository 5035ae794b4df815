"""Who may import whom: the table in ARCHITECTURE.md, enforced; and what a light command must not import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.cli.spared import PURE_PROTOBUF
from tests.plugins import install

ROOT = Path(__file__).parents[2]
PACKAGES = ("runner", "taskimpl", "drivers", "cache")
EVERYTHING = "everything"


def read_table(text: str) -> dict[str, set[str] | None]:
    """The rows of the table: a module, and whom it may import; None for everything."""
    table: dict[str, set[str] | None] = {}
    body = text.split("| module | may import (ours) |", 1)[1].split("\n\n", 1)[0]
    for line in body.splitlines()[2:]:
        modules, allowed = line.strip().strip("|").split("|")
        names = None if allowed.strip() == EVERYTHING else set(re.findall(r"`([a-z0-9_.]+)`(?! is free)", allowed))
        table.update(dict.fromkeys(re.findall(r"`([a-z0-9_.]+)`", modules), names))
    return table


TABLE = read_table((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def row_of(module: str) -> str | None:
    """The row that a module belongs to. `runner` is itself alone, else no module of it could be without a row."""
    return max(
        (name for name in TABLE if module == name or (name != "runner" and within(module, name))), key=len, default=None
    )


def all_modules() -> list[str]:
    files = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files)


def forbidden(row: str, modules: list[str]) -> list[str]:
    allowed = TABLE[row]
    if allowed is None:
        return []
    return [
        module for module in modules if module != "runner" and not any(within(module, name) for name in (row, *allowed))
    ]


def contracts(modules: list[str]) -> Iterator[str]:
    """The table as import-linter wants it: for every row, the modules that its modules must not import directly."""
    yield f"[importlinter]\nroot_packages =\n{_lines(PACKAGES)}"
    for row in TABLE:
        sources = [module for module in modules if row_of(module) == row]
        targets = forbidden(row, modules)
        if sources and targets:
            yield (
                f"[importlinter:contract:{row}]\nname = {row}\ntype = forbidden\n"
                "allow_indirect_imports = True\nas_packages = False\n"
                f"source_modules =\n{_lines(sources)}forbidden_modules =\n{_lines(targets)}"
            )


def _lines(names: Iterable[str]) -> str:
    return "".join(f"    {name}\n" for name in names)


def test_every_module_has_a_row() -> None:
    assert [module for module in all_modules() if row_of(module) is None] == []


def test_nobody_imports_what_the_table_does_not_allow(tmp_path: Path) -> None:
    config = tmp_path / "importlinter.ini"
    config.write_text("\n".join(contracts(all_modules())), encoding="utf-8")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    done = subprocess.run(
        [*command, "--config", str(config), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_says_what_it_seems_to_say() -> None:
    modules = all_modules()
    assert "runner.engine" in forbidden("runner.errors", modules)
    assert "runner.store.base" not in forbidden("runner.engine", modules)
    assert TABLE["runner.errors"] == set()
    assert TABLE["runner.node"] is None
    assert row_of("runner.model.task") == "runner.model"
    assert row_of("drivers.base") == "drivers.base"
    assert row_of("runner.no_such_room") is None


def test_the_supervisor_imports_the_standard_library_alone() -> None:
    """It is run from a copy of its own files, by an interpreter that may know nothing else."""
    imported: set[str] = set()
    for path in (ROOT / "runner" / "process" / "supervisor").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                imported.add("." * node.level + (node.module or ""))
    foreign = {name for name in imported if not within(name, "runner.process.supervisor")}
    assert {name.split(".")[0] for name in foreign} <= set(sys.stdlib_module_names)


def modules_after(code: str) -> set[str]:
    """The names of all modules that are loaded in a fresh interpreter, without `site`'s own, once `code` ran."""
    script = f"import sys; before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )
    return set(done.stdout.splitlines())


def test_importing_runner_imports_nothing_else() -> None:
    assert modules_after("import runner") == {"runner"}


SELDOM = {"ahocorasick_rs", "cryptography", "jinja2", "difflib", "rich", "tarfile"}


def test_a_run_imports_nothing_that_is_seldom_needed(tmp_path: Path) -> None:
    document = tmp_path / "group.yaml"
    document.write_text("tasks: [{name: a, type: os_exec, spec: {command: [/bin/true]}}]", encoding="utf-8")
    command = ["run", "--state-dir", str(tmp_path / "state"), str(document)]
    loaded = modules_after(f"from runner.cli import main; assert main({command}) == 0")
    assert loaded & SELDOM == set()
    assert {"runner.engine.engine", "taskimpl.os_exec", "yaml"} <= loaded
    assert {name for name in loaded if name.split(".")[0] in {"grpc", "google"}} <= {PURE_PROTOBUF}  # a stand-in for it


def test_the_first_line_of_a_run_waits_for_nothing_that_only_what_runs_needs(tmp_path: Path) -> None:
    document = tmp_path / "group.yaml"
    document.write_text("tasks: [{name: a, type: os_exec, spec: {command: [/bin/true]}}]", encoding="utf-8")
    command = ["run", "--state-dir", str(tmp_path / "state"), str(document)]
    loaded = modules_after(
        "from runner.cli import main, view\n"
        "class Seen(BaseException): pass\n"
        "def begin(self): assert '1 task' in self.title; raise Seen\n"
        "view.Outlets.begin = begin\n"
        f"try: main({command})\n"
        "except Seen: pass\n"
        "else: raise AssertionError"
    )
    assert loaded & (SELDOM | {"asyncio", "ssl", "sqlite3", "runner.node", "runner.engine", "runner.process"}) == set()
    assert {
        "importlib.metadata",
        "email",
    } & loaded == set()  # which pydantic would import to look for plugins of its own
    assert {"pydantic", "yaml", "taskimpl.os_exec"} <= loaded


def test_what_only_looks_at_a_document_imports_nothing_that_runs_it(tmp_path: Path) -> None:
    document = tmp_path / "group.yaml"
    document.write_text("tasks: [{name: a, type: os_exec, spec: {command: [/bin/true]}}]", encoding="utf-8")
    commands = [[name, str(document)] for name in ("validate", "graph")] + [
        ["fmt", "--check", str(document)],
        ["schema"],
    ]
    code = "import sys; sys.stdout.flush(); import os; saved = os.dup(1); os.dup2(2, 1)\nfrom runner.cli import main\n"
    code += "".join(f"main({command})\n" for command in commands)
    assert modules_after(f"{code}os.dup2(saved, 1)") & {"asyncio", "sqlite3", "runner.node", "runner.engine"} == set()


def test_a_run_that_uses_no_plugin_imports_none_and_looks_for_none(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    install(packages, "never", "raise RuntimeError", {"never": "Never"})
    document = tmp_path / "group.yaml"
    document.write_text("tasks: [{name: a, type: os_exec, spec: {command: [/bin/true]}}]", encoding="utf-8")
    command = ["run", "--state-dir", str(tmp_path / "state"), str(document)]
    loaded = modules_after(
        f"sys.path.insert(0, {str(packages)!r})\n"
        "import drivers.plugins; drivers.plugins.installed = None\n"
        f"from runner.cli import main; assert main({command}) == 0"
    )
    assert loaded & {"never", "drivers.guarded", "drivers.contract", "drivers.listing"} == set()


def test_a_node_that_waits_holds_nothing_that_is_seldom_needed() -> None:
    loaded = modules_after(
        "import runner.cli.serve\n"
        "from runner.config import machine; machine.silence_grpc()\n"
        "import runner.serving.life, runner.rpc.server, runner.retention, runner.telemetry.opening, runner.tokens\n"
        "import runner.uploads, runner.webhook.herald, runner.workspaces, taskimpl\n"
        "taskimpl.built_in_drivers({})"
    )
    assert loaded & SELDOM == set()
    assert loaded & {"google.protobuf.descriptor_pb2", "prometheus_client", "opentelemetry"} == set()
    assert {"grpc.aio", "grpc_health.v1.health", "runner.v1.runner_pb2"} <= loaded


def test_a_command_that_asks_a_node_imports_nothing_that_is_seldom_needed() -> None:
    loaded = modules_after(
        "from runner.config import machine; machine.silence_grpc()\n"
        "import runner.cli.info, runner.cli.ls, runner.cli.watch, runner.cli.submit, runner.client.aio"
    )
    assert loaded & (SELDOM | {"pydantic", "sqlite3", "runner.node"}) == set()
    assert "grpc.aio" in loaded


def test_the_version_costs_no_heavy_import() -> None:
    loaded = modules_after("from runner.cli import main; main(['--version'])")
    heavy = {
        "argparse",
        "asyncio",
        "cryptography",
        "dataclasses",
        "grpc",
        "jinja2",
        "json",
        "logging",
        "pydantic",
        "re",
    }
    assert loaded & (heavy | {"runner.node", "sqlite3", "subprocess", "typing", "yaml"}) == set()
    assert "runner.cli" in loaded


def test_what_works_here_imports_no_grpc() -> None:
    """Nor does any command before it has told gRPC to keep quiet."""
    modules = ("run", "validate", "graph", "config", "supervisor", "serve", "context", "info", "submit", "watch")
    script = "".join(f"import runner.cli.{name}\n" for name in modules)
    loaded = modules_after(f"{script}from runner.cli import main; main(['ls', '--state-dir', '/nowhere'])")
    assert {name for name in loaded if name.split(".")[0] in {"grpc", "google"}} <= {PURE_PROTOBUF}  # a stand-in for it
