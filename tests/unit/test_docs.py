"""What the documents promise is held by tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUMBERED = [ROOT / "docs" / name for name in ("security.md", "serving.md", "operation.md")]


def defined(path: Path) -> set[str]:
    """The tests of a module as pytest names them behind the path."""

    def names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for item in body:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test_"):
                yield prefix + item.name
            elif isinstance(item, ast.ClassDef) and item.name.startswith("Test"):
                yield from names(item.body, f"{prefix}{item.name}::")

    return set(names(ast.parse(path.read_text()).body, ""))


@pytest.mark.parametrize("document", NUMBERED, ids=lambda path: path.name)
def test_every_number_leads_to_tests(document: Path) -> None:
    text, table = document.read_text().split("## The tests")
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", table, re.MULTILINE))
    used = set(re.findall(r"\[(\d+)\]", text))
    assert used == rows.keys()
    for number, row in rows.items():
        where = None
        for path, name in re.findall(r"`([^`:]*)::([^`]+)`", row):
            where = ROOT / path if path else where
            assert where is not None, f"[{number}] begins without a file"
            assert name in defined(where), f"[{number}] {path}::{name}"


def test_links_between_documents_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/README.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def headings(document: Path) -> set[str]:
    """What its headings are linked by, as forges make it of them."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


def test_links_to_headings_lead_to_one() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/README.md")):
        for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
            there = document.parent / target if target else document
            assert heading in headings(there), f"{document.name}: {target}#{heading}"


def test_every_promise_about_processes_names_a_file_of_tests_that_exists() -> None:
    text = (ROOT / "docs" / "processes.md").read_text()
    letters = dict(re.findall(r"\b([A-Z])\s+is\s+`(tests/[^`]+)`", text))
    assert len(letters) == 10
    paths = [*letters.values(), *re.findall(r"`(tests/[^`]+\.py)`", text)]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    promised = text[text.index("## Who owns them") : text.index("## Limits")]
    bullets = re.findall(r"^- .+\n(?:  .+\n)*", promised, re.MULTILINE)
    rows = [
        row
        for row in re.findall(r"^\| .+$", promised, re.MULTILINE)
        if "---" not in row and "what is missing" not in row
    ]
    assert len(bullets) >= 50
    assert len(rows) > 5
    for promise in (*bullets, *rows):
        named = {letter for group in re.findall(r"\(([^)]*)\)", promise) for letter in re.findall(r"\b[A-Z]\b", group)}
        assert named <= letters.keys(), promise
        for letter, word in re.findall(r"[(,] ?([A-Z]) ([a-z]+)\b", promise):
            assert (ROOT / letters[letter] / f"test_{word}.py").exists(), promise
        assert named or "`tests/" in promise or "same file" in promise, promise
