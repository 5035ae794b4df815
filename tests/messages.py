"""What the code says when something is wrong, and what the tests quote of it, both read from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("runner", "drivers", "taskimpl", "cache")
NOT_OURS_TO_SAY = ("runner/simulator/", "runner/v1/", "drivers/v1/")
"""Of the simulator, which is a tool of ours, and what is generated."""

WORDS = 4
"""So many of a message's words in a row are no coincidence."""

_TOLD = frozenset({"complain", "Fault", "Finding", "ArgumentTypeError"})
_TREE = "RunnerError"
_GAP = "\0"
"""Stands in a text where a value is put in."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One text, of which `pieces` are what is always the same."""

    path: str
    line: int
    teller: str
    pieces: tuple[str, ...]

    @property
    def text(self) -> str:
        return "…".join(self.pieces)

    def is_quoted_by(self, quotes: Quotes) -> bool:
        runs = [words for piece in self.pieces if len(words := piece.split(" ")) >= WORDS]
        if not runs:
            return quotes.have_in_order(self.pieces)
        return any(
            " ".join(words[at : at + WORDS]) in quotes.text for words in runs for at in range(len(words) - WORDS + 1)
        )


class Quotes:
    """All that tests write in quotation marks, apart from what explains them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.text = "\n\n".join(sorted({_plain(text) for text in texts}))

    def have_in_order(self, pieces: Sequence[str]) -> bool:
        return re.search("[^\n]*?".join(map(re.escape, pieces)), self.text) is not None


def messages() -> list[Message]:
    """Of all rooms, by place."""
    trees = {
        path: ast.parse((ROOT / path).read_text())
        for path in sorted(str(file.relative_to(ROOT)) for room in ROOMS for file in (ROOT / room).rglob("*.py"))
        if not path.startswith(NOT_OURS_TO_SAY)
    }
    tellers = _TOLD | _errors(trees.values())
    return [message for path, tree in trees.items() for message in _told(path, tree, tellers)]


def quotes(apart: Iterable[Path]) -> Quotes:
    """`apart` are files whose texts do not count."""
    files = set((ROOT / "tests").rglob("*.py")) - set(apart)
    samples = [file.read_text(errors="replace") for file in (ROOT / "tests/testdata").rglob("*") if file.is_file()]
    return Quotes(chain(samples, *(_quoted(ast.parse(file.read_text())) for file in files)))


def _errors(trees: Iterable[ast.Module]) -> frozenset[str]:
    """The names of all classes of the one tree, wherever they are."""
    bases = {
        node.name: {name for base in node.bases if (name := _name(base))}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {_TREE}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return frozenset(found)


def _told(path: str, tree: ast.Module, tellers: frozenset[str]) -> Iterator[Message]:
    for scope, call in _calls(tree, tree):
        teller = _name(call.func)
        if teller not in tellers and not (teller == "add" and _name(getattr(call.func, "value", None)) == "faults"):
            continue
        for text in _texts([*call.args, *(keyword.value for keyword in call.keywords)], scope):
            pieces = tuple(piece.strip() for piece in _plain(text).split(_GAP) if len(piece.split()) > 1)
            if pieces:
                yield Message(path=path, line=call.lineno, teller=teller, pieces=pieces)


def _calls(node: ast.AST, scope: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
    """With the function that each is in."""
    for child in ast.iter_child_nodes(node):
        within = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        if isinstance(child, ast.Call):
            yield within, child
        yield from _calls(child, within)


def _texts(values: Sequence[ast.expr], scope: ast.AST) -> list[str]:
    """What may stand there; a name stands for all that its function gives it."""
    given = [
        node.value
        for name in (value.id for value in values if isinstance(value, ast.Name))
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and any(_name(target) == name for target in node.targets)
    ]
    return [text for value in (*values, *given) for text in _spelt(value)]


def _spelt(value: ast.expr) -> list[str]:
    match value:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(str(part.value) if isinstance(part, ast.Constant) else _GAP for part in parts)]
        case ast.IfExp(body=one, orelse=other):
            return _spelt(one) + _spelt(other)
        case ast.BoolOp(values=several):
            return [text for one in several for text in _spelt(one)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [one + other for one in _spelt(left) or [_GAP] for other in _spelt(right) or [_GAP]]
        case _:
            return []


def _quoted(tree: ast.Module) -> Iterator[str]:
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in said:
            yield from _spelt(node)


def _plain(text: str) -> str:
    """As one line, and without what makes a regular expression of it."""
    return re.sub(r"\s+", " ", text.replace("\\", "").replace(".*", _GAP))


def _name(node: ast.AST | None) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
