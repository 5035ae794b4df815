"""What the code says when something is wrong, and what the tests quote of it, both read from the source."""

from __future__ import annotations

import ast
import re
from bisect import bisect
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

_TOLD = frozenset({"complain", "Fault", "Finding", "ArgumentTypeError", "CannotStartError"})
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
    sources = {
        path: (ROOT / path).read_text()
        for path in sorted(str(file.relative_to(ROOT)) for room in ROOMS for file in (ROOT / room).rglob("*.py"))
        if not path.startswith(NOT_OURS_TO_SAY)
    }
    tellers = _TOLD | _errors("\n".join(sources.values()))
    return [message for path, source in sources.items() for message in told(path, source, tellers)]


def quotes(apart: Iterable[Path]) -> Quotes:
    """`apart` are files whose texts do not count."""
    files = set((ROOT / "tests").rglob("*.py")) - set(apart)
    samples = [file.read_text(errors="replace") for file in (ROOT / "tests/testdata").rglob("*") if file.is_file()]
    return Quotes(chain(samples, *(quoted(file.read_text()) for file in files)))


def _errors(source: str) -> frozenset[str]:
    """The names of all classes of the one tree, wherever they are."""
    bases = {name: set(re.findall(r"\w+", above)) for name, above in re.findall(r"class (\w+)\(([^)]*)\):", source)}
    found = {_TREE}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return frozenset(found)


def told(path: str, source: str, tellers: frozenset[str]) -> Iterator[Message]:
    wanted = [found.start() for found in re.finditer(rf"\b(?:{'|'.join(tellers)}|faults\.add)\(", source)]
    if not wanted:
        return
    breaks = [found.start() for found in re.finditer("\n", source)]
    lines = [bisect(breaks, at - 1) + 1 for at in wanted]
    for scope, call in _calls(tree := ast.parse(source), tree, lines):
        teller = _name(call.func)
        if teller not in tellers and not (teller == "add" and _name(getattr(call.func, "value", None)) == "faults"):
            continue
        for text in _texts([*call.args, *(keyword.value for keyword in call.keywords)], scope):
            pieces = tuple(piece.strip() for piece in _plain(text).split(_GAP) if len(piece.split()) > 1)
            if pieces:
                yield Message(path=path, line=call.lineno, teller=teller, pieces=pieces)


def _calls(node: ast.AST, scope: ast.AST, lines: Sequence[int]) -> Iterator[tuple[ast.AST, ast.Call]]:
    """With the function that each is in. Looks at nothing that is on none of the `lines`, for most of the code tells nothing."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt) and bisect(lines, child.lineno - 1) == bisect(lines, child.end_lineno or 0):
            continue
        within = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        if isinstance(child, ast.Call):
            yield within, child
        yield from _calls(child, within, lines)


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


_STRING = re.compile(
    r"""(?P<apart>\#[^\n]*) | (?P<kind>[bBfFrRuU]{0,2}) (?P<mark>\"{3}|'{3}|["'])
    (?P<text>(?:\\.|(?!(?P=mark)).)*) (?P=mark)""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
"""What is told apart in the source of a test, which takes a tenth of the time that its syntax does."""


def quoted(source: str) -> Iterator[str]:
    """The texts of a test, those beside each other as one, without what explains it."""
    run, end = "", 0
    for found in _STRING.finditer(source):
        if found["apart"] or (len(found["mark"]) == 3 and _begins(source, found.start())):
            continue
        if source[end : found.start()].strip():
            yield run
            run = ""
        text = found["text"].replace("\\n", "\n").replace("\\", "")
        run += re.sub(r"\{\{|\}\}|\{[^{}]*\}", _value, text) if "f" in found["kind"].lower() else text
        end = found.end()
    yield run


def _begins(source: str, at: int) -> bool:
    """Whether what stands there is the first of its line, as an explanation is."""
    return not source[source.rfind("\n", 0, at) + 1 : at].strip()


def _value(found: re.Match[str]) -> str:
    """What stands for a value between braces, or the brace that two are."""
    return found[0][0] if found[0] in ("{{", "}}") else _GAP


def _plain(text: str) -> str:
    """As one line, and without what makes a regular expression of it."""
    return re.sub(r"\s+", " ", text.replace("\\", "").replace(".*", _GAP))


def _name(node: ast.AST | None) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
