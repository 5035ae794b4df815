"""YAML text → plain data, through the events of libyaml's parser where there is one, and the places in it.

YAML 1.2 core: an unquoted scalar that reads as a boolean or a number stays a `Plain`, `null` is None, everything else is
`str`. Anchors, aliases, merge keys (`<<`) and the core tags are understood. Time and memory are bounded by the limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from runner.model.fault import Fault, Path, quote
from runner.model.limits import Limits
from runner.model.malformed import malformed
from runner.model.place import LINE_ENDS, Mark, Shape
from runner.model.scalars import FIRST_OF_NUMBER, WORDS, Plain, read_plain

ParserType = type[yaml.CSafeLoader] | type[yaml.SafeLoader]
Parser: ParserType = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_PARSER_ERRORS = (yaml.YAMLError, ValueError, OverflowError)
"""The pure parser raises the latter two for an escape that is no character."""

MOST_TAG_DIRECTIVES = 32
"""libyaml compares each with all before it."""
_TAG_DIRECTIVE = re.compile("(?:^|[\n\r\x85\u2028\u2029])%TAG")

_CORE = "tag:yaml.org,2002:"


class Reading(NamedTuple):
    """What was read. With `complete` False it ends where the text could not be read any further: the mapping at the top
    and the list that was being read hold what was whole by then."""

    data: Any
    faults: list[Fault]
    complete: bool


def read(text: str, limits: Limits, parser: ParserType = Parser) -> Reading:
    return _Builder(text, limits).read(parser)


def marks(text: str) -> Iterator[Mark]:
    """The structure of a text, up to where it cannot be read any further or a second document begins."""
    parser = Parser(text)
    started = False
    try:
        while not isinstance(event := parser.get_event(), StreamEndEvent):
            if isinstance(event, DocumentStartEvent):
                if started:
                    return
                started = True
            shape = _SHAPES.get(type(event))
            if shape is not None:
                value = event.value if isinstance(event, ScalarEvent) else ""
                yield Mark(shape, value, *_place(event, text), *_span(event))
    except _PARSER_ERRORS:
        return
    finally:
        parser.dispose()


_SHAPES: dict[type, Shape] = {
    MappingStartEvent: Shape.MAPPING,
    SequenceStartEvent: Shape.LIST,
    ScalarEvent: Shape.SCALAR,
    AliasEvent: Shape.SCALAR,
    MappingEndEvent: Shape.END,
    SequenceEndEvent: Shape.END,
}


class _Mark:
    """A key that no text is equal to."""


_ITEM = _Mark()
"""In place of a key: the node is a list."""
_MERGED = _Mark()
_DISCARDED = _Mark()


class _StopError(Exception):
    """Nothing more is to be read."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


Frame = tuple[Any, Any, Any, int]
"""A mapping or list that waits for the end of one that it holds: itself, the key of that, the event that began it, and how
many nodes there were by then."""


class _Builder:
    def __init__(self, text: str, limits: Limits) -> None:
        self._text = text
        self._limits = limits
        self._faults: list[Fault] = []
        self._stack: list[Frame] = []
        self._node: Any = None
        """The innermost mapping or list that was open when reading ended early."""
        self._anchors: dict[str, tuple[Any, int]] = {}
        """By name: the node, and how many nodes it is with aliases expanded."""
        self._added = 0
        """How many nodes aliases added."""
        self._most_added = min(limits.nodes, 4 * len(text)) * limits.alias_expansion
        """More than the rest of the text can make good, however many nodes it has."""
        self._merge_keys: dict[int, Event] = {}
        """By the identity of the mapping that is merged into."""
        self._largest_alias: tuple[int, Event, Path] = (0, Event(), ())

    def read(self, parser_type: ParserType) -> Reading:
        if "%TAG" in self._text and len(_TAG_DIRECTIVE.findall(self._text)) > MOST_TAG_DIRECTIVES:
            fault = Fault(
                path=(), message=f"there are more than {MOST_TAG_DIRECTIVES} %TAG directives", line=1, column=1
            )
            return Reading(None, [fault], False)
        root: list[Any] = []
        try:
            parser = parser_type(self._text)
        except _PARSER_ERRORS as error:  # the pure parser looks at every character first
            return Reading(None, [malformed(self._text, error)], False)
        try:
            nodes = self._build(parser, root)
            self._check_expansion(nodes)
        except _PARSER_ERRORS as error:
            self._faults.append(malformed(self._text, error))
            return Reading(self._salvage(), self._faults, False)
        except _StopError as stop:
            self._faults.append(stop.fault)
            return Reading(None, self._faults, False)
        finally:
            parser.dispose()
        return Reading(root[0] if root else None, self._faults, True)

    def _build(self, parser: Any, root: list[Any]) -> int:  # noqa: PLR0912, PLR0915 - a call per event would double the time
        """Fill `root`; the number of nodes, those that aliases add included."""
        get_event = parser.get_event
        stack = self._stack
        known_keys: dict[str, str] = {}
        most_nodes, most_nesting = self._limits.nodes, self._limits.nesting
        nodes = 0
        node: Any = root
        key: Any = _ITEM
        try:
            while True:
                event = get_event()
                kind = event.__class__
                if kind is ScalarEvent:
                    nodes += 1
                    if nodes > most_nodes:
                        self._check_size(event, nodes)
                    value = event.value
                    if event.tag is not None or event.anchor is not None:
                        value = self._marked_scalar(event, node, key)
                    elif not event.style and (value[:1] in FIRST_OF_NUMBER or value in WORDS):
                        value = read_plain(value)
                elif kind is MappingStartEvent or kind is SequenceStartEvent:
                    nodes += 1
                    if nodes > most_nodes:
                        self._check_size(event, nodes)
                    if event.tag is not None:
                        self._check_tag(event, self._path(node, key))
                    stack.append((node, key, event, nodes))
                    if len(stack) > most_nesting:
                        self._refuse_nesting(event)
                    node, key = ({}, None) if kind is MappingStartEvent else ([], _ITEM)
                    continue
                elif kind is MappingEndEvent or kind is SequenceEndEvent:
                    if key is None and (_MERGED in node or _DISCARDED in node):
                        self._tidy(node)
                    value = node
                    node, key, event, before = stack.pop()
                    if event.anchor is not None:
                        self._anchors[event.anchor] = (value, nodes - before + 1)
                elif kind is AliasEvent:
                    value, size = self._alias(event, self._path(node, key))
                    nodes += size
                    if nodes > most_nodes:
                        self._check_size(event, nodes)
                elif kind is StreamEndEvent:
                    return nodes
                elif kind is DocumentStartEvent and root:
                    self._fault(event, (), "a second document begins here, and a file holds one task group")
                    return nodes
                else:
                    continue
                if key is _ITEM:
                    node.append(value)
                    continue
                if key is not None:
                    node[key] = value
                    key = None
                    continue
                if value.__class__ is not str:
                    key = self._refuse_key(event, value, self._path(node, key))
                elif value == "<<" and kind is ScalarEvent and not event.style:
                    key = _MERGED
                    self._merge_keys[id(node)] = event
                else:
                    key = known_keys.setdefault(value, value)
                if key in node and key is not _DISCARDED:
                    self._fault(event, self._path(node, key), f"the key {_spelt(key)} stands twice", about_key=True)
        except _PARSER_ERRORS:
            self._node = node
            raise

    def _path(self, node: Any, key: Any) -> Path:
        """The way to what is being read: `key` of the innermost `node`."""
        places = [(holder, at) for holder, at, _, _ in self._stack[1:]]
        if self._stack:
            places.append((node, key))
        parts = (_part(holder, at) for holder, at in places)
        return tuple(part for part in parts if part is not None)

    def _fault(
        self, event: Event, path: Path, message: str, *, hint: str | None = None, about_key: bool = False
    ) -> None:
        line, column = _place(event, self._text)
        fault = Fault(path=path, message=message, hint=hint, line=line, column=column, about_key=about_key)
        if len(self._faults) < self._limits.faults:
            self._faults.append(fault)

    def _stop(self, event: Event, path: Path, message: str) -> None:
        line, column = _place(event, self._text)
        raise _StopError(Fault(path=path, message=message, line=line, column=column))

    def _check_size(self, event: Event, nodes: int) -> None:
        """Refuse the document, which has more nodes than the limit."""
        counting = ""
        if nodes - self._added <= self._limits.nodes:
            self._check_expansion(nodes)
            counting = ", counting what its aliases stand for"
        self._stop(event, (), f"the document has more than {self._limits.nodes:,} nodes{counting}, which is the limit")

    def _refuse_nesting(self, event: Event) -> None:
        path = self._path(None, None)
        self._stop(
            event, path[:2], f"mappings and lists are nested more than {self._limits.nesting} deep, which is the limit"
        )

    def _refuse_key(self, event: Any, value: Any, path: Path) -> Any:
        """What to go on with in place of a key that is no text."""
        if isinstance(value, Plain):
            message = f"the key {value} reads as a number or a boolean, and keys are text"
            self._fault(event, (*path, str(value)), message, hint="write it in quotes", about_key=True)
            return str(value)
        if value is None:
            self._fault(event, path, "a key is missing here")
        elif isinstance(value, dict) and isinstance(event, MappingStartEvent) and event.flow_style:
            hint = "a text that begins with {{ must stand in quotes"
            self._fault(event, path, "a key must be text and not a mapping", hint=hint)
        else:
            self._fault(event, path, f"a key must be text and not a {'mapping' if isinstance(value, dict) else 'list'}")
        return _DISCARDED

    def _tidy(self, node: dict[Any, Any]) -> None:
        """Carry out the merge, drop what had no proper key."""
        node.pop(_DISCARDED, None)
        if _MERGED not in node:
            return
        key, merged = self._merge_keys.pop(id(node)), node.pop(_MERGED)
        for source in merged if isinstance(merged, list) else [merged]:
            if isinstance(source, dict):
                for name, value in source.items():
                    node.setdefault(name, value)
            else:
                message = "a merge key (<<) needs a mapping or a list of mappings"
                self._fault(key, self._path(node, None), message, about_key=True)
                break

    def _marked_scalar(self, event: Any, node: Any, key: Any) -> Any:
        """A scalar with a tag or an anchor."""
        text: str = event.value
        value = read_plain(text) if not event.style and event.tag is None else text
        if event.tag is not None and event.tag not in {"!", _CORE + "str"}:
            value = read_plain(text)
            kind = event.tag.removeprefix(_CORE)
            if kind not in _TAGGED_SCALARS:
                self._refuse_tag(event, self._path(node, key))
            elif type(value.resolve() if isinstance(value, Plain) else value) not in _TAGGED_SCALARS[kind]:
                self._fault(event, self._path(node, key), f"{quote(text)} does not fit the tag !!{kind}")
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        return value

    def _check_tag(self, event: Any, path: Path) -> None:
        fitting = _CORE + ("map" if isinstance(event, MappingStartEvent) else "seq")
        if event.tag not in {"!", fitting}:
            self._refuse_tag(event, path)

    def _refuse_tag(self, event: Any, path: Path) -> None:
        tag = event.tag.replace(_CORE, "!!")
        self._fault(event, path, f"the tag {quote(tag)} is not supported here", hint="leave it out")

    def _alias(self, event: Any, path: Path) -> tuple[Any, int]:
        """The node that is meant, and its size."""
        if event.anchor in self._anchors:
            value, size = self._anchors[event.anchor]
            self._added += size - 1
            if size > self._largest_alias[0]:
                self._largest_alias = (size, event, path)
            if self._added > self._most_added:
                self._check_expansion(self._added)
            return value, size
        if any(start.anchor == event.anchor for _, _, start, _ in self._stack):
            self._fault(event, path, f"the alias *{event.anchor} stands within what it names")
        else:
            self._fault(event, path, f"the alias *{event.anchor} names no anchor before it")
        return None, 1

    def _check_expansion(self, nodes: int) -> None:
        """Refuse a document that aliases make larger than the limit allows."""
        written = nodes - self._added
        if nodes > written * self._limits.alias_expansion and self._added:
            _, event, path = self._largest_alias
            times = self._limits.alias_expansion
            self._stop(
                event,
                path,
                f"aliases make the document more than {times} times as large as written, which is the limit",
            )

    def _salvage(self) -> Any:
        """The mapping at the top as far as it was whole, and the list in it that was being read."""
        nodes = [(holder, at) for holder, at, _, _ in self._stack[1:]] + [(self._node, None)]
        top, key = nodes[0]
        if not isinstance(top, dict):
            return None
        if len(nodes) > 1 and isinstance(nodes[1][0], list) and isinstance(key, str):
            top[key] = nodes[1][0]
        top.pop(_MERGED, None)
        top.pop(_DISCARDED, None)
        return top


_TAGGED_SCALARS: dict[str, frozenset[type]] = {
    "null": frozenset({type(None)}),
    "bool": frozenset({bool}),
    "int": frozenset({int}),
    "float": frozenset({float, int}),
}


def _part(node: Any, key: Any) -> str | int | None:
    if key is _ITEM:
        return len(node)
    if isinstance(key, str):
        return key
    return "<<" if key is _MERGED else None


def _spelt(key: Any) -> str:
    return quote("<<" if key is _MERGED else key)


def _place(event: Any, text: str) -> tuple[int, int]:
    mark = event.start_mark
    if mark is None:
        return 0, 0
    if mark.column or mark.index < len(text) or not text or text[-1] in LINE_ENDS:
        return mark.line + 1, mark.column + 1
    # At the end of a text libyaml is in a new line, also where there is none. Its count of lines is used: the text may be long.
    return mark.line, len(text) - max(map(text.rfind, LINE_ENDS))


def _span(event: Any) -> tuple[int, int]:
    start, end = event.start_mark, event.end_mark
    return (start.index, end.index) if start is not None and end is not None else (0, 0)
