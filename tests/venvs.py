"""Virtual environments that are like a user's, made without a network: what the project needs is taken from the one of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Venv:
    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def runner(self) -> str:
        return str(self.folder / "bin" / "runner")

    @property
    def environment(self) -> Mapping[str, str]:
        """Of somebody who has activated it; pip asks no index, and builds with what is there."""
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder.parent / "home"),
            "LANG": "C.UTF-8",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # so pip spells that there is to be none
            "PIP_NO_DEPS": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }

    def install(self, project: Path) -> None:
        self.run([self.python, "-m", "pip", "install", "--quiet", str(project)], project)

    def run(self, argv: list[str], folder: Path) -> str:
        """What it says on both streams. It has to succeed."""
        done = subprocess.run(
            argv,
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def make(folder: Path) -> Venv:
    """With the command `runner` in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=LONGEST_SECONDS)
    venv = Venv(folder=folder)
    Path(venv.environment["HOME"]).mkdir()
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    scripts = folder / "bin" / "runner"
    scripts.write_text(
        f"#!{venv.python}\nimport sys\nfrom runner.cli import main\nsys.argv[0] = 'runner'\nsys.exit(main())\n"
    )
    scripts.chmod(0o755)
    return venv
