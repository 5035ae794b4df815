"""docs/drivers.md, word by word, in a fresh folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import venvs

DOCUMENT = Path(__file__).parents[2] / "docs" / "drivers.md"
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(240)
def test_who_follows_it_gets_what_it_says(tmp_path: Path) -> None:
    venv = venvs.make(tmp_path / "venv")
    folder, said, kinds = tmp_path, "", []
    for kind, name, text in _BLOCK.findall(DOCUMENT.read_text()):
        kinds.append(kind)
        if name:
            (folder / name).write_text(text)
        elif kind == "sh":
            *lines, last = venv.run(["bash", "-ec", f"{text}\npwd"], folder).splitlines()
            said, folder = "\n".join(lines), Path(last)
        else:
            assert kind == "console"
            assert text.strip() in said
    assert kinds.count("python") == 4
    assert kinds.count("sh") == 4
    assert "passed" in said
    assert "passed" in venv.run([venv.python, "-m", "pytest", "-q", "test_runner_script.py"], folder)


def test_every_code_in_it_is_a_file_that_the_test_writes() -> None:
    for block in _BLOCK.finditer(DOCUMENT.read_text()):
        assert not block[2] or f"`{block[2]}`" in DOCUMENT.read_text()[: block.start()], (
            "nobody sees what stands behind ```"
        )
    blocks = _BLOCK.findall(DOCUMENT.read_text())
    assert len(blocks) == DOCUMENT.read_text().count("\n```") // 2
    assert [kind for kind, name, _ in blocks if not name and kind not in {"sh", "console"}] == []
