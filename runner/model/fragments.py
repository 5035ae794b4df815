"""What a malformed output file may have meant: values that must not be shown, though nothing is exported of them.

Of a file that `outputfile` refuses, all readings are told that its values may have: what stands before the fault, around it and
behind it. A value that a fault has cut or run together with others is told as long and as short as it may have been. Never told
is what belongs to another name as far as the file can be understood: what stands in a value that is whole is no name.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring

from runner.errors import OutputFileError
from runner.model.outputfile import BOM, DECODER, ConstantError, value_text

Pairs = Iterator[tuple[str, str]]

MOST_TOLD_OF_ONE = 4 << 20
MOST_TOLD = 64 << 20
"""How many characters of values are told at most of one name, and looked at of one file. They may overlap, so that there is no end of
them otherwise."""
MOST_LOOKED_THROUGH = 1 << 20
"""How many characters of objects and lists that are not whole are looked through. They may stand in one another."""
SHORTEST_PART = 8
"""A text that stands in a value of JSON which is not whole counts by itself from this length on, as a line does."""

_MOST_ENDS = 8
_MOST_PARTS = 100
_LAST_NAME = re.compile(r"([A-Za-z_][\w-]{0,127})\W*\Z")
_BEGINS_ONE = re.compile(r"[A-Za-z_][\w-]{0,127}(?:=|<<)")
_LINE = re.compile(r"""\W{0,4}([A-Za-z_][\w-]{0,127})["']?(\s*[^\w\s-]?\s*)(.*)""", re.DOTALL)
"""A name at the beginning of a line that says not how it is to be read."""

_BAD_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|(?=(.|\Z)))', re.DOTALL)
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:(")|\\?\Z)|[{}\[\],]', re.DOTALL)
"""Of JSON. Of a string that ends the quote behind it is a group."""
_BEHIND_KEY = re.compile(r"""\s*:\s*|\s*[^\s"'{\[\d]\s*(?=["'{\[\d-])|\s*""")
_COLON = re.compile(r"\s*:")
_MEMBER = re.compile(
    r"""(?<![\w-])(["']?)([A-Za-z_][\w-]{0,127})\1\s*[:=]\s*|(?<![\w-])([A-Za-z_][\w-]{0,127})["']\s*:\s*"""
)
_CONTENT = {quote: re.compile(rf"[^{quote}\\]*(?:\\.[^{quote}\\]*)*", re.DOTALL) for quote in "\"'"}
_LAST_QUOTE = {quote: re.compile(rf"{quote}\s*(?:[,}}\]]|\Z)") for quote in "\"'"}
_GOES_ON = re.compile(r"\s*(?:[,}\]]|\Z)")
_BEHIND_VALUE = " \t\r\n,}]"
_NO_TEXT = "\0" + "".join(map(chr, range(0xDC80, 0xDD00)))
_PLAIN = re.compile(r"""[^\s,}\]"']+""")
_UNTIL = re.compile(r"[^,}\]\r\n]+")
_CUT_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})')
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def parse_malformed(data: bytes) -> Pairs:
    """Names and values, each name as often as there is a value that it may have had. Never fails."""
    looked_at = 0
    told: Counter[str] = Counter()
    for name, text in _readings(data.removeprefix(BOM).decode(errors="surrogateescape")):
        looked_at += len(text)
        if looked_at > MOST_TOLD:
            return
        if text and told[name] + len(text) <= MOST_TOLD_OF_ONE:
            told[name] += len(text)
            yield name, text


def _readings(text: str) -> Pairs:
    lines = text.split("\n")
    is_object = text.startswith("{")
    yield from _in_lines(lines, loosely=not is_object)
    first = next((line for line in lines if line.strip()), "")
    if is_object or not _BEGINS_ONE.match(first):
        yield from _Json(text).members()


def _in_lines(lines: list[str], *, loosely: bool) -> Pairs:
    """`loosely`: also what is no statement, but begins with a name; and names with something before or behind them."""
    last = {line: number for number, line in enumerate(lines)}
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        equals, marker = line.find("="), line.find("<<")
        if equals >= 0 and not 0 <= marker < equals:
            yield from _named(line[:equals], [line[equals + 1 :]], loosely)
        elif marker >= 0:
            name, delimiter = line[:marker], line[marker + 2 :]
            end = lines.index(delimiter, at) if delimiter and last.get(delimiter, -1) >= at else None
            if end is not None:
                yield from _named(name, ["\n".join(lines[at:end])], loosely)
            if end is None or any(other.endswith(line[marker:]) for other in lines[at:end]):
                # What follows may be its value, or not; where the same delimiter is announced again, that has not ended this one.
                yield from _named(name, _unended(lines, at, delimiter), loosely)
            else:
                at = end + 1
        elif loosely and (found := _LINE.match(line)):
            name, between, rest = found.groups()
            yield from _named(name, [rest.strip("\"' \t\r,;")], loosely)
            if "<" in between:
                yield from _named(name, _unended(lines, at, rest.lstrip("< ")), loosely)


def _named(name: str, texts: Iterable[str], loosely: bool) -> Pairs:
    names = {name}
    if loosely and (found := _LAST_NAME.search(name[-160:])):  # `export NAME=…`, or `NAME = …`
        names.add(found[1])
    for text in texts:
        for spelling in dict.fromkeys((text, text.rstrip(_NO_TEXT))):
            for one in names:
                yield one, spelling


def _unended(lines: list[str], at: int, delimiter: str) -> Iterator[str]:
    """What a value may be whose delimiter does not follow: all the rest, or what stands before something that looks as if it was
    to end it."""
    yield "\n".join(lines[at:])
    wanted = delimiter.strip()
    ends, sought_statement = 0, True
    for number in range(at, len(lines)):
        line = lines[number]
        begins_one = sought_statement and _BEGINS_ONE.match(line) is not None
        alike = _resembles(line.strip(), wanted)
        if begins_one or alike or number == at + 1:
            yield "\n".join(lines[at:number])
        joined = bool(wanted) and not alike and line.rstrip().endswith(wanted)
        if joined:  # the value has no line end of its own
            cut = line.rstrip().removesuffix(wanted)
            yield "\n".join([*lines[at:number], cut])
            yield "\n".join([*lines[at:number], cut[:-1]])
        ends += alike or joined
        sought_statement = sought_statement and not begins_one
        if ends >= _MOST_ENDS:
            return


def _resembles(line: str, delimiter: str) -> bool:
    """Whether a line may have been meant as `delimiter`: more than that, a part of it, or one character of it is another one."""
    if not line or not delimiter:
        return not line and not delimiter
    if line.startswith(delimiter) or delimiter.startswith(line) or delimiter.endswith(line):
        return True
    return len(line) == len(delimiter) and sum(one != other for one, other in zip(line, delimiter, strict=True)) == 1


class _Json:
    """A text that was to be one object."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[str, tuple[int, int]] = {}
        """By quote: from where on one was looked for that ends a value, and where it is."""
        self._looked_through = 0

    def members(self) -> Pairs:
        """Up to the fault those of the object itself; behind it whatever looks like one."""
        text, fault = self._text, self._fault()
        depth, is_key, last = 0, False, 0
        is_object = text.lstrip().startswith("{")
        for token in _TOKEN.finditer(text):
            sign = token[0]
            if token.start() >= fault:
                break
            if sign[0] == '"':
                last = token.start()
            if sign[0] != '"':
                depth += (sign in "{[") - (sign in "}]")
                is_key = sign in "{,"
            elif is_key and (depth == 1 or not is_object):
                is_key = False
                gap = _BEHIND_KEY.match(text, token.end())
                assert gap is not None, "it may be empty"
                yield from ((_content(token), value) for value in self._values(gap.end()))
        if fault == len(text) or self._is_unfinished(fault):
            return
        behind = (
            last if text[fault] == ":" else fault
        )  # what stands before it is a name, though not where one was expected
        for member in _MEMBER.finditer(text, behind):
            yield from ((member[2] or member[3], value) for value in self._values(member.end()))

    def _fault(self) -> int:
        """Up to where the text is JSON, but for characters and escapes in strings which JSON has not; its size where all of it is."""
        usual = _BAD_ESCAPE.sub(lambda found: found[0] if found[1] else ".", self._text)
        try:
            DECODER.decode(usual)
        except json.JSONDecodeError as error:
            return error.pos
        except (RecursionError, ConstantError):
            pass
        return len(usual)

    def _is_unfinished(self, at: int) -> bool:
        """Whether a string begins there that has no end."""
        token = _TOKEN.match(self._text, at)
        return token is not None and token[0][0] == '"' and not token[1]

    def _values(self, at: int) -> Iterator[str]:
        """What the value that begins there may be."""
        sign = self._text[at : at + 1]
        if sign in ('"', "'"):
            yield from self._strings(at + 1, sign)
        elif sign in ("{", "["):
            yield from self._nested(at)
        elif (plain := _PLAIN.match(self._text, at)) is not None:
            yield plain[0]
            if not _GOES_ON.match(self._text, plain.end()):
                if until := _UNTIL.match(self._text, at):
                    yield until[0].strip()
                end = self._ending_quote('"', at)
                if end >= 0:  # the one before it is missing, or something else stands in its place
                    yield from _spellings(self._text[at:end])
                    yield from _spellings(self._text[at + 1 : end])

    def _strings(self, at: int, quote: str) -> Iterator[str]:
        content = _CONTENT[quote].match(self._text, at)
        assert content is not None, "it may be empty"
        raw, end = content[0], content.end()
        yield from _spellings(raw)
        if end < len(self._text) and _GOES_ON.match(self._text, end + 1):
            return
        # The quote that ends it is missing, or this one does not end it.
        cut = raw.rstrip(_BEHIND_VALUE)
        if cut != raw:
            yield from _spellings(cut)
            yield from _spellings(cut[:-1])
        last = self._ending_quote(quote, end + 1)
        if last >= 0:
            yield from _spellings(self._text[at:last])

    def _ending_quote(self, quote: str, at: int) -> int:
        """The next one behind which an object goes on or ends; -1 where there is none."""
        asked, known = self._known.get(quote, (len(self._text) + 1, -1))
        if asked <= at and (at <= known or known < 0):
            return known
        found = _LAST_QUOTE[quote].search(self._text, at)
        self._known[quote] = at, found.start() if found else -1
        return self._known[quote][1]

    def _nested(self, at: int) -> Iterator[str]:
        if self._looked_through >= MOST_LOOKED_THROUGH:
            return
        try:
            yield value_text(DECODER.raw_decode(self._text, at)[0], "")
            return
        except (ValueError, RecursionError, ConstantError, OutputFileError):
            pass
        depth, end, former = 0, len(self._text), at
        parts: list[str] = []
        squeezed: list[str] = []
        for token in _TOKEN.finditer(self._text, at):
            squeezed += [*self._text[former : token.start()].split(), _compact(token)]
            former = token.end()
            if token[0][0] != '"':
                depth += (token[0] in "{[") - (token[0] in "}]")
            elif len(parts) < _MOST_PARTS and not _COLON.match(self._text, former):
                parts.append(_content(token))
            if depth == 0:
                end = former
                break
        self._looked_through += end - at
        yield "".join([*squeezed, *self._text[former:end].split()])
        yield self._text[at:end].rstrip()
        yield from (part for part in parts if len(part) >= SHORTEST_PART)


def _spellings(raw: str) -> Iterator[str]:
    yield _decoded(raw)
    if "\\" in raw:
        yield raw


def _content(token: re.Match[str]) -> str:
    """Of a string."""
    return _decoded(token[0][1:].removesuffix(token[1] or ""))


def _compact(token: re.Match[str]) -> str:
    """As it is exported."""
    if token[0][0] != '"':
        return token[0]
    compact = encode_basestring(_content(token))
    return compact if token[1] else compact[:-1]


def _decoded(raw: str) -> str:
    """Whatever stands in a string of JSON; escapes that it has not stay as they are, one that is cut is left out."""
    if "\\" not in raw:
        return raw
    if cut := _CUT_ESCAPE.search(raw):
        raw = raw[: cut.start(1)]
    text = _ESCAPE.sub(
        lambda found: chr(int(found[1][1:], 16)) if found[1][0] == "u" else _ESCAPED.get(found[1], found[1]), raw
    )
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return joined[:-1] if "\ud800" <= joined[-1:] <= "\udbff" else joined
