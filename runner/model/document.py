"""Bytes → plain data: YAML, or JSON where the text begins with `{`. Nothing here knows what a task is."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from runner.model import json, yaml
from runner.model.fault import Fault, Path, quote
from runner.model.limits import Limits
from runner.model.place import Mark, Opening, Place, Shape, end_of, openings, places, walk

_ESCAPES = re.compile(r"\\(?:0|x00|u0000|U00000000|u[dD][89a-fA-F])")
"""Escapes that may spell a NUL or half of a surrogate pair."""

_STRANGE_SPACES = "\xa0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u3000"
"""What looks like a space and is none to YAML."""
_STRANGE_INDENT = re.compile(f"(?:^|(?<=[\r\x85\u2028\u2029])) *(?:- *)?[{_STRANGE_SPACES}]", re.MULTILINE)


class Document(Struct, frozen=True, kw_only=True):
    """What a text says. `data` is made of dict, list, None, bool and str; unquoted booleans and numbers are
    `scalars.Plain` (true and false of a JSON text are bool). `faults` have their places; with `complete` False the data is
    only what was whole before the last of them, or None."""

    data: Any
    faults: tuple[Fault, ...] = ()
    complete: bool = True
    source: str = "<document>"
    _text: str = ""
    _json: bool = False

    def __repr__(self) -> str:
        return f"Document({self.source!r}, {len(self.faults)} faults)"

    def locate(self, faults: Iterable[Fault]) -> tuple[Fault, ...]:
        """The faults in the order of their places, each with line and column: its own where the text has it, else that
        of the innermost mapping or list around it (or of the alias that brought it there). Those that are faults only if
        something is written are left out where nothing is."""
        unplaced = list(faults)
        found = places(self._marks(), {fault.path for fault in unplaced if not fault.line})
        templates: dict[Path, list[Opening]] = {}
        located = [replace(fault, source=self.source) for fault in unplaced if fault.line]
        for fault in unplaced:
            if not fault.line and not (fault.if_written and _is_empty(found.get(fault.path))):
                line, column = self._in_template(fault, found, templates) or _place(fault, found)
                located.append(replace(fault, source=self.source, line=line, column=column))
        return tuple(sorted(located, key=lambda fault: (fault.line, fault.column)))

    def _in_template(
        self, fault: Fault, found: dict[Path, Place], templates: dict[Path, list[Opening]]
    ) -> tuple[int, int] | None:
        """The place within a text: exact where it is written as it is read, else that of its template. `templates` are the
        ones that were found already."""
        place = found.get(fault.path)
        if fault.offset is None or place is None or place.value.shape is not Shape.SCALAR:
            return None
        if fault.path not in templates:
            templates[fault.path] = openings(self._text, place.value, json=self._json)
        before = bisect_right(templates[fault.path], fault.offset, key=lambda opening: opening.offset)
        if not before:
            return None
        opening = templates[fault.path][before - 1]
        inner = place.value.text[opening.offset : fault.offset]
        exact = "\n" not in inner and self._text.startswith(inner, opening.start)
        return opening.line, opening.column + (len(inner) if exact else 0)

    def _marks(self) -> Iterator[Mark]:
        return json.marks(self._text) if self._json else yaml.marks(self._text)


def read(data: bytes, *, source: str = "<document>", limits: Limits | None = None) -> Document:
    """Never raises for anything that a document may hold."""
    limits = limits or Limits()
    if len(data) > limits.document_bytes:
        message = f"the document has more than {limits.document_bytes:,} bytes, which is the limit"
        return _refused(source, Fault(path=(), message=message, line=1, column=1))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _refused(source, _not_utf8(data, error.start))
    text = text.lstrip("\ufeff")  # what is left of them would be taken off by a parser, which does not count it
    if text.lstrip().startswith("{"):
        return _checked(_read_json(text, source, limits), limits)
    return _checked(_read_yaml(text, source, limits), limits)


def _read_yaml(text: str, source: str, limits: Limits) -> Document:
    data, faults, complete = yaml.read(text, limits)
    strange = None if text.isascii() else _STRANGE_INDENT.search(text)
    if strange and (not complete or any(not key[:1].isprintable() for key in _keys(data))):
        # Copied from a web page, most likely. Mended, the rest of it can be judged too.
        text = text.translate(dict.fromkeys(map(ord, _STRANGE_SPACES), " "))
        data, faults, complete = yaml.read(text, limits)
        faults.insert(0, _strange_indent(text, strange))
    return Document(data=data, faults=tuple(faults), complete=complete, source=source, _text=text)


def _strange_indent(text: str, match: re.Match[str]) -> Fault:
    line, column = end_of(text[: match.end() - 1])
    return Fault(
        path=(),
        message=f"the indentation has the character U+{ord(match[0][-1]):04X} in place of a space",
        hint="indent with ordinary spaces, here and below",
        line=line,
        column=column,
    )


def _read_json(text: str, source: str, limits: Limits) -> Document:
    """A text that begins with `{`: what is no JSON may still be YAML."""
    if json.has_more_nodes(text, limits.nodes):
        message = f"the document has more than {limits.nodes:,} nodes, which is the limit"
        return _refused(source, Fault(path=(), message=message, line=1, column=1))
    try:
        data, twice = json.read(text)
    except RecursionError:
        return _read_yaml(text, source, limits)
    except JSONDecodeError as error:
        document = _read_yaml(text, source, limits)
        fault = json.malformed(error)
        if not document.complete and (fault.line, fault.column) > (
            document.faults[-1].line,
            document.faults[-1].column,
        ):
            # Whichever got further into the text understood what its author meant.
            return _refused(source, fault)
        return document
    document = Document(data=data, source=source, _text=text, _json=True)
    if twice:
        document = replace(document, faults=tuple(_stand_twice(document, limits)))
    return document


def _stand_twice(document: Document, limits: Limits) -> Iterator[Fault]:
    seen = set()
    left = limits.faults
    for path, key, _ in walk(document._marks()):
        if path in seen and key is not None and left:
            left -= 1
            message = f"the key {quote(key.text)} stands twice"
            yield Fault(path=path, message=message, line=key.line, column=key.column, about_key=True)
        seen.add(path)


def _checked(document: Document, limits: Limits) -> Document:
    """With what cannot be seen while reading: nesting by JSON or by aliases, characters by escapes."""
    if (document._json or "*" in document._text) and _deeper_than(limits.nesting, document.data):
        path = next(path for path, _ in _containers(document.data) if len(path) >= limits.nesting)
        message = f"mappings and lists are nested more than {limits.nesting} deep, which is the limit"
        fault = replace(document.locate([Fault(path=path, message=message)])[0], path=path[:2])
        return replace(document, data=None, complete=False, faults=(*document.faults, fault))
    if _ESCAPES.search(document._text):
        bad = [wrong for path, text in _texts(document.data) if (wrong := _bad_text(path, text))]
        return replace(document, faults=(*document.faults, *document.locate(bad[: limits.faults])))
    return document


def _deeper_than(nesting: int, data: Any) -> bool:
    level = [data] if isinstance(data, dict | list) else []
    for _ in range(nesting):
        children = (item for node in level for item in (node.values() if isinstance(node, dict) else node))
        # By identity: what aliases share is one node, however often it is reached.
        level = list({id(item): item for item in children if isinstance(item, dict | list)}.values())
        if not level:
            return False
    return True


def _containers(data: Any) -> Iterator[tuple[Path, Any]]:
    """Every mapping and list once, outermost first, with the way to it."""
    level: list[tuple[Path, Any]] = [((), data)]
    while level:
        yield from level
        inner: dict[int, tuple[Path, Any]] = {}
        for path, node in level:
            for key, item in node.items() if isinstance(node, dict) else enumerate(node):
                if isinstance(item, dict | list):
                    inner.setdefault(id(item), ((*path, key), item))
        level = list(inner.values())


def _texts(data: Any) -> Iterator[tuple[Path, str]]:
    if not isinstance(data, dict | list):
        return
    for path, node in _containers(data):
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(key, str):
                yield (*path, key), key
            if isinstance(item, str):
                yield (*path, key), item


def holds_bad_text(value: Any) -> bool:
    """Whether a fault of a text was found in it when the document was read."""
    return any(_bad_text(path, text) for path, text in _texts([value]))


def _keys(data: Any) -> Iterator[str]:
    for _, node in _containers(data) if isinstance(data, dict | list) else ():
        yield from node if isinstance(node, dict) else ()


def _bad_text(path: Path, text: str) -> Fault | None:
    if "\0" in text:
        return Fault(path=path, message="a NUL character is not allowed in a text")
    try:
        text.encode()
    except UnicodeEncodeError:
        return Fault(path=path, message="half of a surrogate pair is no character, and not allowed in a text")
    return None


def _place(fault: Fault, found: dict[Path, Any]) -> tuple[int, int]:
    for length in range(len(fault.path), -1, -1):
        place = found.get(fault.path[:length])
        if place is not None:
            mark = place.key if fault.about_key and place.key and length == len(fault.path) else place.value
            return mark.line, mark.column
    return 1, 1


def _is_empty(place: Place | None) -> bool:
    """Whether nothing is written there: `key:`."""
    return place is not None and place.value.shape is Shape.SCALAR and not place.value.text


def _not_utf8(data: bytes, at: int) -> Fault:
    line_start = data.rfind(b"\n", 0, at) + 1
    column = len(data[line_start:at].decode("utf-8", errors="replace")) + 1
    message = f"the byte 0x{data[at]:02X} is not UTF-8, the encoding of a document"
    return Fault(path=(), message=message, line=data.count(b"\n", 0, at) + 1, column=column)


def _refused(source: str, fault: Fault) -> Document:
    return Document(data=None, faults=(fault,), complete=False, source=source)
