"""What few programs ask for, on real processes: something to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drivers.base import ProcessLimits
from tests import apart
from tests.integration.surroundings.programs import said


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
