"""In which spellings a confidential value is looked for. Pure.

The value itself, with and without the white space around it; of several lines the whole with every usual spelling of a
line's end, and each line that says something; and all of these in the encodings that programs print.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.masking import encodings
from runner.masking.encodings import to_bytes

SHORTEST_NEEDLE_BYTES = 4
SHORTEST_LINE_BYTES = 8
LONGEST_ENCODED_LINES_BYTES = 64 << 10
"""Of a longer value the lines are looked for as they are; only the whole is looked for in encodings as well."""

COMMON_WORDS = frozenset({"true", "false", "null", "none", "yes", "no", "on", "off"})

_SAYS_SOMETHING = re.compile(r"[^\W_]")
_PEM_ARMOUR = re.compile(r"-----(?:BEGIN|END) [^\r\n]*-----")
_KEY_ALONE = re.compile(r"""["']?[\w .-]+["']?\s*:\s*[\[{(|>]?[-+]?""")
"""Of JSON and YAML: the value stands in the lines behind."""
_LINE_ENDS = ("\n", "\r\n", "\\n", "\\r\\n")


def maskable(text: str) -> bool:
    """Whether `text` can be masked without harm to everything else that is printed."""
    stripped = text.strip()
    if len(to_bytes(stripped)) < SHORTEST_NEEDLE_BYTES or stripped.lower() in COMMON_WORDS:
        return False
    return len(set(stripped)) > 1 or stripped[0].isalnum()  # `----` is a line in half of all logs


def structural(line: str) -> bool:
    """Whether a line is found in many values and says nothing of this one: brackets, quotes, white space, PEM armour, a key
    without its value."""
    says_nothing = _SAYS_SOMETHING.search(line) is None
    return says_nothing or any(shape.fullmatch(line) for shape in (_PEM_ARMOUR, _KEY_ALONE))


def lines(text: str) -> list[str]:
    """The lines of `text`, stripped, without the empty ones."""
    return [line for line in (line.strip() for line in re.split(r"[\r\n]+", text)) if line]


def needles(text: str) -> frozenset[bytes]:
    """What to look for, so that `text` is found. Nothing if it is not maskable."""
    if not maskable(text):
        return frozenset()
    found: set[bytes] = set()
    for whole in _wholes(text):
        found.update(_kept(whole, encode=True))
    parts = lines(text)
    if len(parts) > 1:
        encode = len(text) <= LONGEST_ENCODED_LINES_BYTES
        for line in parts:
            if len(to_bytes(line)) >= SHORTEST_LINE_BYTES and not structural(line) and maskable(line):
                found.update(_kept(line, encode=encode))
    return frozenset(found)


def _wholes(text: str) -> Iterator[str]:
    for whole in dict.fromkeys((text, text.strip())):
        yield whole
        pieces = re.split(r"\r\n|\n|\r", whole)
        if len(pieces) > 1:
            yield from (end.join(pieces) for end in _LINE_ENDS)


def _kept(text: str, *, encode: bool) -> Iterator[bytes]:
    raw = to_bytes(text)
    yield raw
    if encode:
        yield from filter(_telling, encodings.of(text))


def _telling(needle: bytes) -> bool:
    """Whether an encoding can be masked without harm to all else: what `echo` makes of a value may be nothing but ends of lines.
    As `maskable`, but as good as free for what is long."""
    bare = needle.strip()
    if len(bare) < SHORTEST_LINE_BYTES:
        return maskable(bare.decode(errors="surrogateescape"))
    return bare[:1].isalnum() or bare.strip(bare[:1]) != b""
