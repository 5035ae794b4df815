"""Packages with drivers, as pip would install them, in a folder that is put on the path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

HEAD = """
import asyncio, sys, time

from drivers.base import Capabilities, DriverError, Driver, Finding, Fingerprint, Outcome, Recovery, SimpleDriver, Spec, Status, Value
"""


def install(folder: Path, package: str, code: str, types: Mapping[str, str], *, version: str = "1.0") -> dict[str, str]:
    """A package of one module, whose entry points are `types`: by task type, the name of a class in it. The environment in which it is
    found, with all that was installed in the folder before."""
    module = package.replace("-", "_")
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(HEAD + dedent(code))
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    entries = "".join(f"{type} = {module}:{name}\n" for type, name in types.items())
    (info / "entry_points.txt").write_text(f"[runner.drivers]\n{entries}")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}
