"""The canonical form of a document's text: its layout alone changes, and spellings that mean the same. Pure.

Blocks are indented by two, lists stand below their key, flow collections have a space behind commas and colons, blank lines come one at a time, lines
end where their text does. What an author chose for a reason stays: the order of keys, quotes, anchors, block scalars, line breaks, and comments, which
move with what they stand before. `tasks`, `task_name` and the misspelt `expression_evalation` become what is written today.

It goes through the tokens of YAML with what lies between them, so that whatever is in a token stays as it is, byte by byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml import tokens as kinds
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from runner.errors import RunnerError
from runner.model.taskparse import TYPE_SPELLINGS

INDENT = 2

_OPENING = (kinds.FlowMappingStartToken, kinds.FlowSequenceStartToken)
_CLOSING = (kinds.FlowMappingEndToken, kinds.FlowSequenceEndToken)
_MARKERS = (kinds.DocumentStartToken, kinds.DocumentEndToken, kinds.DirectiveToken)
_NO_KEYS = (kinds.AliasToken, kinds.AnchorToken, kinds.TagToken, kinds.KeyToken, kinds.FlowEntryToken, *_OPENING)
"""Behind these a colon needs a blank before it."""

_BARE_COMMENT = re.compile(r"#(?=[^\s#!])")
_MARK_IN_LINE = re.compile("[\n\x85\u2028\u2029]\ufeff")
_BLANKS = " \t"
_QUOTES = ("'", '"')
_OLD_LINE_END = re.compile("[\x85\u2028\u2029]")
"""They end a line to YAML's parsers, and to nobody else."""


class _Block:
    """A block collection that is open: the column where its keys or dashes stood, and stand now. A list that stands at the column of its key is
    `virtual`: no token tells of its beginning and its end."""

    __slots__ = ("is_list", "new", "old", "virtual")

    def __init__(self, old: int, new: int, *, is_list: bool, virtual: bool = False) -> None:
        self.old = old
        self.new = new
        self.is_list = is_list
        self.virtual = virtual


def formatted(text: str) -> str:
    """The document in its canonical form. Raises RunnerError where it is no YAML that can be taken apart."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if _MARK_IN_LINE.search(text):
        raise RunnerError(
            "it cannot be taken apart: a line begins with a byte order mark, which parsers do not agree about"
        )
    if "\t" in text and _is_json(text):
        text = text.replace("\t", " " * INDENT)  # which stand between words alone there; YAML takes none of them
    # The library in C takes a sixth of the time; it refuses an anchor that is used again, and escapes of halves of characters.
    for loader in (getattr(yaml, "CSafeLoader", _Composer), _Composer):
        try:
            return _Writer(text, loader).written()
        except yaml.YAMLError as error:
            failure = error
    raise RunnerError(f"it cannot be taken apart: {failure}") from failure


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _Writer:
    def __init__(self, text: str, loader: Any) -> None:
        self._text = text
        self._loader = loader
        self._spelt = dict(_spellings(yaml.compose(text, Loader=loader)))
        self._out: list[str] = []
        self._blocks: list[_Block] = []
        self._former: list[_Block] = []
        """Those that were open at the last token."""
        self._flow = 0
        self._is_key = False
        """Whether a key begins with the next token."""
        self._at = 0
        """Up to where the text has been written."""
        self._last: Any = None
        """The token that was written last."""
        self._open_end = False
        """A newline at the end would belong to its last text."""

    def written(self) -> str:
        for token in yaml.scan(self._text, Loader=self._loader):
            match token:
                case kinds.BlockMappingStartToken() | kinds.BlockSequenceStartToken():
                    self._open(token.start_mark.column, is_list=isinstance(token, kinds.BlockSequenceStartToken))
                case kinds.BlockEndToken():
                    self._close_virtual()
                    self._blocks.pop()
                case kinds.KeyToken() if not self._flow:
                    self._close_virtual()
                    self._is_key = True
                case kinds.BlockEntryToken() if not self._blocks[-1].is_list:
                    above = self._blocks[-1]
                    self._blocks.append(_Block(above.old, above.new, is_list=True, virtual=True))
            if token.start_mark.index < token.end_mark.index:
                self._write(token)
        self._break(self._gap(len(self._text)), ends=True)
        if self._out and not self._open_end:
            self._out.append("\n")
        return "".join(self._out)

    def _open(self, column: int, *, is_list: bool) -> None:
        above = self._blocks[-1] if self._blocks else None
        new = 0 if above is None else above.new if is_list and not above.is_list else above.new + INDENT
        self._blocks.append(_Block(column, new, is_list=is_list))

    def _close_virtual(self) -> None:
        if self._blocks and self._blocks[-1].virtual:
            self._blocks.pop()

    def _write(self, token: Any) -> None:
        start, end = token.start_mark.index, token.end_mark.index
        gap = self._gap(start)
        if "\n" in gap or not self._out:
            self._break(gap, ends=False)
            self._begin_line(self._indentation(token))
        else:
            self._out.append(self._between(token, gap))
        self._flow += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        self._at = end
        text = self._text[start:end]
        if isinstance(token, kinds.ScalarToken) and token.style not in _QUOTES and _OLD_LINE_END.search(text):
            raise RunnerError("it cannot be taken apart: a text without quotes has U+0085, U+2028 or U+2029 in it")
        if isinstance(token, kinds.ScalarToken) and token.style in ("|", ">"):
            self._write_block(text, start)
        else:
            first, *more = self._spelt.get(start, text).split("\n")
            self._out.append("\n".join([first, *map(self._continued, more)]))
        self._former = list(self._blocks)
        self._is_key = False
        self._last = token

    # Between two tokens.

    def _gap(self, end: int) -> str:
        return _OLD_LINE_END.sub("\n", self._text[self._at : end])

    def _break(self, gap: str, *, ends: bool) -> None:
        """Write what of a gap is to be kept: a comment behind the last token, and lines with comments, or with nothing."""
        behind, *lines = gap.split("\n")
        if not self._out:
            lines = [behind, *lines]
        elif behind.strip(_BLANKS):
            bare = behind.lstrip(_BLANKS)
            self._out.append(" " * (len(behind) - len(bare)) + _comment(bare))
        blank = False
        for number, line in enumerate(lines):
            bare = line.strip(_BLANKS)
            if bare:
                self._skip_line(blank=blank)
                self._begin_line(self._column_of_comment(len(line) - len(line.lstrip(_BLANKS))))
                self._out.append(_comment(bare))
            blank = not bare and (blank or number < len(lines) - 1)
        self._skip_line(blank=blank and not ends)

    def _skip_line(self, *, blank: bool) -> None:
        if blank and self._out:
            self._out.append("\n")

    def _begin_line(self, column: int) -> None:
        if self._out:
            self._out.append("\n")
        self._out.append(" " * column)

    def _column_of_comment(self, column: int) -> int:
        """It stays with the block that it stands in."""
        if self._flow:
            return self._shifted(column)
        columns = {block.old: block.new for block in (*self._former, *self._blocks)}
        return columns[max((old for old in columns if old <= column), default=min(columns))] if columns else 0

    def _indentation(self, token: Any) -> int:
        """Of a token that begins a line."""
        if isinstance(token, _MARKERS):
            return 0
        if not self._blocks:
            return int(token.start_mark.column)
        if self._flow:
            return self._shifted(token.start_mark.column)
        above = self._blocks[-1]
        if self._is_key or isinstance(token, kinds.BlockEntryToken | kinds.ValueToken):
            return above.new
        return above.new + INDENT

    def _shifted(self, column: int) -> int:
        """Where a line that begins no block of its own comes to stand with the one that it is in."""
        if not self._blocks:
            return column
        above = self._blocks[-1]
        return max(column - above.old + above.new, above.new)

    def _between(self, token: Any, gap: str) -> str:
        """What parts two tokens on a line."""
        last = self._last
        if isinstance(token, kinds.ValueToken):
            return " " if isinstance(last, _NO_KEYS) else ""
        if isinstance(last, kinds.ValueToken):
            return " "  # also before a comma, for a colon may belong to what is before it
        if isinstance(last, kinds.TagToken):
            return " " if gap else ""  # else what follows would belong to the tag
        if isinstance(last, _OPENING) or isinstance(token, (*_CLOSING, kinds.FlowEntryToken)):
            return ""
        return " " if gap or isinstance(last, kinds.FlowEntryToken) else ""

    # Texts of several lines.

    def _continued(self, line: str) -> str:
        """A line of a quoted or plain text, whose indentation means nothing."""
        bare = line.lstrip(_BLANKS)
        least = self._blocks[-1].new + 1 if self._blocks else 0
        return " " * max(self._shifted(len(line) - len(bare)), least) + bare if bare else ""

    def _write_block(self, text: str, start: int) -> None:
        """A block scalar. What follows its last line is left to the gap behind it, unless it is kept."""
        header, _, body = text.partition("\n")
        lines = body.split("\n")
        above = self._blocks[-1] if self._blocks else _Block(0, 0, is_list=False)
        digit = re.match(r"[|>][+-]?([1-9])", header)
        if digit is not None:
            old, new = above.old + int(digit[1]), above.new + int(digit[1])
        else:
            first = next((number for number, line in enumerate(lines) if line.strip(" ")), len(lines) - 1)
            old = max(len(line) - len(line.lstrip(" ")) for line in lines[: first + 1])
            new = above.new + INDENT
        ended = not lines[-1].strip(" ") and len(lines[-1]) <= old
        if ended:
            lines.pop()
        kept = len(lines)
        if "+" not in header.partition("#")[0]:
            while kept and not lines[kept - 1].strip(" ") and len(lines[kept - 1]) <= old:
                kept -= 1
        shown = (" " * new + line[old:] if len(line) > old else "" for line in lines[:kept])
        self._out.append("\n".join([_header(header), *shown]))
        self._at = start + len(header) + sum(len(line) + 1 for line in lines[:kept])
        self._open_end = not ended


def _header(text: str) -> str:
    mark, sign, comment = text.partition("#")
    return mark.rstrip(_BLANKS) + (f" {_comment(sign + comment)}" if sign else "")


def _comment(text: str) -> str:
    bare = text.strip(_BLANKS)
    return f"# {bare[1:]}" if _BARE_COMMENT.match(bare) else bare


class _Composer(yaml.SafeLoader):
    """Takes an anchor that is used again, as YAML does."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs have it so
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(getattr(event, "anchor", None), None)
        return super().compose_node(parent, index)


def _spellings(root: Node | None) -> Iterator[tuple[int, str]]:
    """Where something stands that is spelt otherwise today, and how."""
    for key, value in _pairs(root):
        if key.value == "tasks":
            yield key.start_mark.index, "taskGroup"
        if key.value in ("tasks", "taskGroup") and isinstance(value, SequenceNode):
            for task in value.value:
                yield from _spellings_of_task(task)


def _spellings_of_task(task: Node) -> Iterator[tuple[int, str]]:
    for key, value in _pairs(task):
        if key.value == "type" and isinstance(value, ScalarNode) and not value.style:
            now = TYPE_SPELLINGS.get(value.value)
            if now is not None:
                yield value.start_mark.index, now
        if key.value == "imports" and isinstance(value, SequenceNode):
            for item in value.value:
                spelt = {"task_name": "from", "name": "variable"}
                yield from (
                    (each.start_mark.index, spelt[each.value]) for each, _ in _pairs(item) if each.value in spelt
                )


def _pairs(node: Node | None) -> Iterator[tuple[ScalarNode, Node]]:
    if isinstance(node, MappingNode):
        yield from ((key, value) for key, value in node.value if isinstance(key, ScalarNode) and not key.style)
