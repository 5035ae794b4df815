"""The encodings in which programs print a value. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote_from_bytes

_UNQUOTED = re.compile(r"([^\w@%+=:,./\n-])")
_UNQUOTED_IN_BASH = re.compile(r"""([ "'|&;()<>!{}*\[\]?^$`,\\]|\A[~#]|(?<=[:=])~)""")
_APOSTROPHES = re.compile("'+")
_HEXADECIMAL = re.compile(r"\\(u[0-9a-f]{4}|x[0-9a-f]{2}|[\s\S])")
_PERCENT = re.compile(rb"%[0-9A-F]{2}")
_ECHO = re.compile(r"\\([abfnrtv\\]|0[0-7]{0,3})")
_ECHO_OF_DASH = re.compile(r"\\([abefnrtv\\]|0[0-7]{0,3}|[1-7][0-7]{0,2})")
_ECHOED = {"e": "\x1b", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_NOT_PRINTABLE = re.compile(rb"([^ -~]+)")
_NAMED = {7: b"\\a", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 92: b"\\\\"}
_OCTAL = [_NAMED.get(byte) or (bytes([byte]) if 32 <= byte < 127 else b"\\%03o" % byte) for byte in range(256)]
_UNESCAPED_IN_URLS = ("", "/", "!~*'()", "/:@!~*'();&=+$,?#")
"""Everything is escaped, or all but the path's `/`, or as JavaScript's `encodeURIComponent` and `encodeURI` do."""
_WHITE = re.compile("[\t\n\r]")
_IN_XML = re.compile("[&<>\"'\t\n\r]")
_ALL_IN_XML = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
_QUOTES_IN_XML = (
    *(("&quot;", "&apos;"), ("&quot;", "&#39;"), ("&quot;", "&#x27;"), ("&quot;", "&#039;"), ("&#34;", "&#39;")),
    *(("&quot;", "'"), ('"', "'")),
)
_WHITE_IN_ATTRIBUTES = tuple(
    (("\t", tab), ("\n", line), ("\r", carriage))
    for tab, line, carriage in (("&#9;", "&#10;", "&#13;"), ("&#09;", "&#10;", "&#13;"), ("&#x9;", "&#xA;", "&#xD;"))
)
_ESCAPED_BY_NET = [(sign, f"\\u{ord(sign):04X}") for sign in "&<>'+`"]
_WRAPPED = ((57, b"\n"), (57, b"\r\n"), (48, b"\n"))
"""How `base64`, mail and `openssl` break lines: after so many bytes of the value, with this."""


def to_bytes(text: str) -> bytes:
    """As UTF-8. Bytes that were no UTF-8 and became surrogates when they were read become what they were."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def of(text: str) -> Iterator[bytes]:
    """All encodings of `text`. Many are equal to each other or to `text`."""
    raw = to_bytes(text)
    for spelling in _texts(text):
        yield to_bytes(spelling)
    if not text.isascii() or not text.isprintable():
        yield from _bytes_escaped(raw)
    yield from _percent(raw)
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield from _base64(raw)


def _texts(text: str) -> Iterator[str]:
    for spelling in _escaped(text):
        yield spelling
        if "\\u" in spelling or "\\x" in spelling:
            yield _HEXADECIMAL.sub(lambda found: "\\" + found[1][0] + found[1][1:].upper(), spelling)
    yield text.replace("\\", "\\\\").replace("'", "\\'")  # Perl's and PHP's
    yield from _shell(text)
    yield from _xml(text)


def _escaped(text: str) -> Iterator[str]:
    yield from _json(text)
    yield repr(text)[1:-1]  # Python's, and with `'` or `"` inside Go's and JavaScript's
    yield ascii(text)[1:-1]


def _json(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        spelling = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield spelling
        yield json.dumps(spelling, ensure_ascii=ascii_only)[1:-1]  # JSON in a string of JSON
        yield spelling.replace("/", "\\/")
        yield spelling.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        yield spelling.replace('\\"', '"')  # what GNU's programs complain about, in ‘…’
        yield spelling.replace("'", "\\'").replace('\\"', '"')  # in single quotes, also the shell's $'…'
        yield _replaced(spelling.replace('\\"', "\\u0022"), _ESCAPED_BY_NET)


def _shell(text: str) -> Iterator[str]:
    yield text.replace("'", "'\\''")
    yield text.replace("'", "'\"'\"'")
    apart = _APOSTROPHES.sub("'\"\\g<0>\"'", text)  # dash
    yield apart
    yield apart.removeprefix("'").removesuffix("'")
    double = re.sub(r'(["\\$`])', r"\\\1", text)
    yield double
    yield double.replace("!", "\\!")
    yield _UNQUOTED.sub(r"\\\1", text)
    yield _UNQUOTED_IN_BASH.sub(r"\\\1", text)
    if "\\" in text:
        yield _echoed(text, _ECHO)
        yield _echoed(text, _ECHO_OF_DASH)


def _echoed(text: str, escape: re.Pattern[str]) -> str:
    """What `echo` prints in a plain `sh`, which obeys escapes: `\\n` becomes the end of a line. Of a value that it cuts off at
    `\\c` the rest is no needle: it may be a common word."""
    return escape.sub(lambda found: _ECHOED.get(found[1]) or _byte(int(found[1], 8)), text)


def _byte(number: int) -> str:
    return bytes([number & 0xFF]).decode(errors="surrogateescape")


def _bytes_escaped(raw: bytes) -> Iterator[bytes]:
    """What programs print in the locale `C` of what is not ASCII, byte by byte."""
    yield repr(raw)[2:-1].encode()  # Python's b'…'
    octal = b"".join(_OCTAL[byte] for byte in raw)  # find, mkdir, tar
    yield octal
    yield octal.replace(b"'", b"\\'")  # bash, in $'…'
    yield octal.replace(b'"', b'\\"')  # git
    # GNU's, with a quotation of its own for what has to be escaped: 'a'$'\303\251''b'
    pieces = [
        b"'$'" + b"".join(_OCTAL[byte] for byte in piece) + b"''" if number % 2 else piece.replace(b"'", b"'\\''")
        for number, piece in enumerate(_NOT_PRINTABLE.split(raw))
    ]
    yield b"".join(pieces).replace(b"'''\\''", b"'\\''").removeprefix(b"'$'").removesuffix(b"''")


def _xml(text: str) -> Iterator[str]:
    if _IN_XML.search(text) is None:
        return
    escaped = _replaced(text, _ALL_IN_XML)
    for double, single in _QUOTES_IN_XML:
        yield escaped.replace('"', double).replace("'", single)
    # Of an attribute's value XML has to escape no more than this, and HTML not even `<`.
    for pairs in (_ALL_IN_XML, _ALL_IN_XML[:2], _ALL_IN_XML[:1]):
        escaped = _replaced(text, pairs)
        quoted = escaped.replace('"', "&quot;")
        yield quoted
        if _WHITE.search(text) is not None:
            for white in _WHITE_IN_ATTRIBUTES:
                yield _replaced(quoted, white)
                yield _replaced(escaped, white)


def _replaced(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _percent(raw: bytes) -> Iterator[bytes]:
    for safe in _UNESCAPED_IN_URLS:
        upper = quote_from_bytes(raw, safe=safe).encode()
        lower = _PERCENT.sub(lambda found: found[0].lower(), upper)
        for component in (upper, lower):
            yield component
            yield component.replace(b"%20", b"+")


def _base64(raw: bytes) -> Iterator[bytes]:
    """Whatever stands before and behind the value: the characters that its bytes alone decide, at each alignment."""
    for before in range(3):
        first, last = -(-8 * before // 6), 8 * (before + len(raw)) // 6
        standard = base64.b64encode(bytes(before) + raw)[first:last]
        yield standard
        yield standard.translate(_URL_SAFE)
    for width, end in _WRAPPED:
        if len(raw) > width:
            pieces = [base64.b64encode(raw[start : start + width]) for start in range(0, len(raw), width)]
            decided = 8 * (len(raw) % width or width) // 6
            yield end.join([*pieces[:-1], pieces[-1][:decided]])


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
