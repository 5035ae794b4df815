"""What a task prints: masking, and `::add-mask::` among it.

An input is a stream, and behind each NUL a secret. One that begins with a NUL decides instead what is built: encoded secrets, parts of them,
commands, and where the writes are cut. Judged is:

- where writes are cut, and whether the runner was started anew in between, changes nothing;
- no secret is in what comes out, in none of the encodings as this module, not the product, makes them;
- what is no secret comes out as it went in: compared with a search that is too simple to be wrong in the same way;
- so are the commands: which there are, what they register, and that none shows its value;
- no more is held back than the longest spelling of a secret is long.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from urllib.parse import quote
from xml.sax.saxutils import escape

from runner.masking import MARK, Masker
from runner.masking.commands import BEGINNING, LONGEST_COMMAND_BYTES, MaskCommands
from runner.masking.needles import COMMON_WORDS, SHORTEST_NEEDLE_BYTES, maskable, needles
from runner.masking.stream import NOTHING, MaskingStream
from tests.fuzz.choices import Choices, cuts

WORDS = (
    b"::add-mask::", b"::add-mask ", b"::", b"\n", b"\r\n", b"%0A", b"%0D", b"%25", b"hunter2", b"***", b"aHVudGVyMg", b"\t",
)  # fmt: skip

SECRETS = (
    "hunter2", "hunter2hunter2", "abab", "ababab", "correct horse", "p&ss<w>rd\"'", "multi line one\nand line two\n", "a\\nb\\tc d",
    "ünïcødé", "🔑 key 🔑", "x" * 20, "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\n-----END KEY-----", "%0Apercent%25", "::add-mask::",
    "$HOME/`id`", "true", "abc", "tab\tand\rreturn",
)  # fmt: skip
MOST_SECRETS, MOST_SECRET_CHARS = 4, 80
MOST_STREAM_BYTES = 1024


def check(data: bytes) -> None:
    """Raises AssertionError for an input that finds a fault."""
    if data[:1] == b"\0":
        stream, secrets, pieces = _built(Choices(data[1:]))
    else:
        stream, *rest = data.split(b"\0")
        secrets = tuple(part.decode(errors="surrogateescape")[:MOST_SECRET_CHARS] for part in rest[:MOST_SECRETS])
        pieces = Choices(zlib.crc32(data).to_bytes(4, "big") * (1 + len(stream) // 8))
    _judge(stream[:MOST_STREAM_BYTES], secrets, pieces)


def _judge(stream: bytes, secrets: tuple[str, ...], pieces: Choices) -> None:
    way = pieces.below(4)
    parts = [stream[at : at + 1] for at in range(len(stream))] if way == 0 else cuts(stream, pieces)
    plain, values = _commands(stream)
    for writes in ([stream], parts):
        assert _obeyed(writes) == (plain, values)
    if not secrets:
        return
    said, registered = _run([stream], _masker(secrets).copy())
    whole = b"".join(said)
    if way == 1:
        assert _restarted(parts, _masker(secrets).copy()) == whole, "started anew between writes"
    else:
        assert b"".join(_run(parts, _masker(secrets).copy())[0]) == whole, "where writes are cut"
    for text, at in zip(values, registered, strict=True):
        if maskable(text) and "*" not in text:
            assert _raw(text) not in b"".join(said[at:]), "a value that was asked to be masked"
    _no_secret(whole, secrets)
    if not registered:
        assert whole == _covered(plain, secrets)


def _obeyed(writes: Iterable[bytes]) -> tuple[bytes, list[str | None]]:
    """What commands leave, which nothing masks, and what they register."""
    values: list[str | None] = []
    commands = MaskCommands(values.append)
    plain = [piece for data in writes for piece in commands.feed(data)]
    assert len(commands.line.text) <= LONGEST_COMMAND_BYTES
    return b"".join([*plain, *commands.feed(b"", final=True)]), values


def _run(writes: Iterable[bytes], masker: Masker) -> tuple[list[bytes], list[int]]:
    """What is said, and for each command how much had been said by then."""
    said: list[bytes] = []
    registered: list[int] = []

    def register(text: str | None) -> None:
        registered.append(len(said))
        masker.command(text)

    commands, masking = MaskCommands(register), masker.stream()
    for data, final in [*((data, False) for data in writes), (b"", True)]:
        for piece in commands.feed(data, final=final):
            said.append(masking.feed(piece))  # noqa: PERF401 - a command asks how many there are
        longest = max((layer.matcher.longest for layer in masker._layers), default=0)
        assert len(masking.held.tail) <= max(longest - 1, 0), "held back"
    said.append(masking.flush())
    return said, registered


def _restarted(writes: Iterable[bytes], masker: Masker) -> bytes:
    """Between two writes nothing is kept but what a log keeps."""
    said = []
    line, held = BEGINNING, NOTHING
    for data, final in [*((data, False) for data in writes), (b"", True)]:
        commands, masking = MaskCommands(masker.command, line), MaskingStream(masker, held)
        said += [masking.feed(piece) for piece in commands.feed(data, final=final)]
        line, held = commands.line, masking.held
    return b"".join([*said, MaskingStream(masker, held).flush()])


# Models.

_COMMAND = re.compile(rb"([ \t\v\f]*::[aA][dD][dD]-[mM][aA][sS][kK](?: .*?)?::)(.+)", re.DOTALL)


def _commands(stream: bytes) -> tuple[bytes, list[str]]:
    """What is left of a stream, and the values that it asks to mask: line by line."""
    values: list[str] = []
    shown = []
    for line in re.split(rb"([\r\n])", stream):
        found = _COMMAND.fullmatch(line)
        if found:
            raw = found[2].replace(b"%0D", b"\r").replace(b"%0A", b"\n").replace(b"%25", b"%")
            values.append(raw.decode(errors="surrogateescape"))
        shown.append(found[1] + MARK if found else line)
    return b"".join(shown), values


def _covered(stream: bytes, secrets: Sequence[str]) -> bytes:
    """Each byte that some spelling covers is masked, and no other."""
    covered = bytearray(b"-" * len(stream))
    for needle in {needle for text in secrets for needle in _needles(text)}:
        at = stream.find(needle)
        while at >= 0:
            covered[at : at + len(needle)] = b"x" * len(needle)
            at = stream.find(needle, at + 1)
    said, at = b"", 0
    for piece in re.findall(rb"x+|-+", bytes(covered)):
        said += MARK if piece[:1] == b"x" else stream[at : at + len(piece)]
        at += len(piece)
    return said


def _no_secret(said: bytes, secrets: Iterable[str]) -> None:
    for text in secrets:
        if maskable(text) and "*" not in text:
            for spelling in _spellings(text):
                assert spelling not in said, spelling


@lru_cache(maxsize=1024)
def _spellings(text: str) -> tuple[bytes, ...]:
    """The usual ones, of SPEC: the value, its lines, and both in the encodings that programs print."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    telling = [line for line in lines if len(_raw(line)) >= 8 and re.search(r"[^\W_]{4}", line) and "-----" not in line]
    telling = [line for line in telling if not line.endswith(tuple(":[{(|>+-"))]
    found = {spelling for part in (text, text.strip(), *telling) for spelling in _encoded(part)}
    return tuple(sorted(one for one in found if _tells(one)))


def _encoded(text: str) -> set[bytes]:
    raw = _raw(text)
    found = {raw, raw.hex().encode(), raw.hex().upper().encode()}
    found |= {quote(raw, safe="").encode(), quote(raw).encode(), quote(raw, safe="").replace("%20", "+").encode()}
    for before in range(3):
        # The characters which the value alone decides: neither its neighbours' bits nor padding are in them.
        encoded = base64.b64encode(bytes(before) + raw)
        decided = encoded[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        found |= {decided, decided.replace(b"+", b"-").replace(b"/", b"_")}
    try:
        text.encode()
    except UnicodeEncodeError:
        return found
    found |= {json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode()}
    found |= {escape(text).encode(), escape(text, {'"': "&quot;"}).encode()}
    quoted = shlex.quote(text)
    return found | {(quoted[1:-1] if quoted[:1] == "'" else quoted).encode()}


def _tells(spelling: bytes) -> bool:
    """Whether it is long enough to be looked for, and no word that everybody prints."""
    bare = spelling.strip()
    usual = bare.lower().decode(errors="replace") in COMMON_WORDS
    return len(bare) >= SHORTEST_NEEDLE_BYTES and not usual and len(set(bare)) > 1


def _raw(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


@lru_cache(maxsize=128)
def _masker(secrets: tuple[str, ...]) -> Masker:
    masker = Masker()
    for text in secrets:
        masker.add(text)
    return masker


@lru_cache(maxsize=1024)
def _needles(text: str) -> tuple[bytes, ...]:
    return tuple(sorted(needles(text)))


# What is built.


def _built(choices: Choices) -> tuple[bytes, tuple[str, ...], Choices]:
    pieces = Choices(choices.bytes(24))
    first = choices.below(len(SECRETS))
    secrets = (SECRETS * 2)[first : first + 1 + choices.below(3)]
    stream = bytearray()
    while choices.left:
        match choices.below(6):
            case 0:
                stream += _raw(choices.pick(secrets))
            case 1:
                text = choices.pick(secrets)
                stream += choices.pick((*_spellings(text), *_needles(text), b"-"))
            case 2:
                spelling = choices.pick(_needles(choices.pick(secrets)) or (b"-",))
                stream += spelling[choices.below(4) : 1 + choices.below(40)]
            case 3:
                value = (
                    _raw(choices.pick(SECRETS[:6])).replace(b"%", b"%25").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
                )
                stream += (
                    choices.pick((b"\n", b"\r\n", b"", b" "))
                    + b"::add-mask::"
                    + value
                    + choices.pick((b"\n", b"\r", b""))
                )
            case 4:
                stream += choices.pick((b"\n", b"\r\n", b" ", b"::", b"::add-mask", b"%0A", b"*", b"=", b"ab"))
            case _:
                stream += choices.bytes(12)
    return bytes(stream), secrets, pieces
