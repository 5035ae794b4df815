"""In which spellings a value is found."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.masking import MARK, Masker, MaskingStream
from runner.masking.needles import SHORTEST_NEEDLE_BYTES, maskable, needles
from tests.unit.masking import reference

PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    + "\n".join(letter * 3 + "+/Zx9" * 12 for letter in "ABCD")
    + "\n-----END PRIVATE KEY-----\n"
)
ACCOUNT = '{\n  "type": "service_account",\n  "key": "s3cr&t/<value>",\n  "list": [\n    1\n  ]\n}\n'
VECTORS = {
    "plain": "hunter2hunter",
    "quotes": 'it\'s "so" $ecret`\\!',
    "url": "p@ss/w?rd&x=1+2 %zz#~*",
    "xml": "<a b='c'>&\"d\"</a>",
    "unicode": "pässwörd-日本-🔑",
    "spaces": "  two words\t",
    "newline at the end": "token-value-1\n",
    "lines": "first line of it\nsecond\r\nthird line of it",
    "pem": PEM,
    "json": ACCOUNT,
    "short": "abcde",
    "shortest": "wx7z",
    "controls": "bell\x07tab\tescape\x1b!",
}

ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "json": lambda text: json.dumps(text)[1:-1].encode(),
    "json, as it is": lambda text: json.dumps(text, ensure_ascii=False)[1:-1].encode(),
    "json of Go": lambda text: json.dumps(text)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").encode(),
    "json of PHP": lambda text: json.dumps(text)[1:-1].replace("/", "\\/").encode(),
    "Python": lambda text: repr(text)[1:-1].encode(),
    "shell": lambda text: shlex.quote(text).removeprefix("'").removesuffix("'").encode(),
    "percent": lambda text: quote(text, safe="").encode(),
    "percent, path": lambda text: quote(text).encode(),
    "percent, lower": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")).encode(),
    "form": lambda text: quote_plus(text).encode(),
    "query": lambda text: urlencode({"k": text})[2:].encode(),
    "html": lambda text: html.escape(text).encode(),
    "html without quotes": lambda text: html.escape(text, quote=False).encode(),
    "xml": lambda text: html.escape(text, quote=False).replace('"', "&quot;").replace("'", "&apos;").encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "carriage returns": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n").encode(),
    "escaped lines": lambda text: text.replace("\r\n", "\n").replace("\n", "\\n").encode(),
    "escaped carriage returns": lambda text: text.replace("\r\n", "\n").replace("\n", "\\r\\n").encode(),
}  # fmt: skip


def masker(*texts: str) -> Masker:
    made = Masker()
    for text in texts:
        assert made.add(text)
    return made


@pytest.mark.parametrize("text", VECTORS.values(), ids=VECTORS)
@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_every_split_of_every_vector_in_every_encoding(text: str, encode: Callable[[str], bytes]) -> None:
    encoded = encode(text)
    data = b"before " + encoded + b" behind"
    mask = masker(text)
    expected = b"before " + MARK + b" behind"
    whole = mask.stream()
    said = whole.feed(data) + whole.flush()
    if text != text.strip():  # around the value itself white space of another encoding may stay
        assert needles(text.strip()) <= needles(text)
        assert encode(text.strip()) not in said
    else:
        assert said == expected
    for cut in range(len(data) + 1):
        stream = mask.stream()
        assert stream.feed(data[:cut]) + stream.feed(data[cut:]) + stream.flush() == said
    stream = mask.stream()
    assert b"".join(stream.feed(data[at : at + 1]) for at in range(len(data))) + stream.flush() == said


ESCAPES = ["c:\\new\\table\\\\x\\0101\\0303\\0244\\q", "\\a\\b\\f\\n\\r\\t\\v\\00"]


@pytest.mark.parametrize("text", [*VECTORS.values(), *ESCAPES])
def test_what_the_echo_of_this_machine_prints(text: str) -> None:
    said = subprocess.run(["sh", "-c", 'echo "<$1>"', "sh", text.strip()], capture_output=True, check=True).stdout
    stream = masker(text).stream()
    assert stream.feed(said) + stream.flush() == b"<***>\n"


def test_what_echo_prints_where_it_obeys_escapes() -> None:
    assert b"c:\new\table \\A\xc3\xa4\\q" in needles(r"c:\new\table \\\0101\0303\0244\q")
    assert b"nothing to obey" in needles("nothing to obey")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("text", ['it\'s "so" a\\b', "tab\tand\nline"])
def test_what_programs_of_gnu_complain_about(text: str, locale: str) -> None:
    environment = {"LC_ALL": locale, "PATH": os.environ["PATH"]}
    said = subprocess.run(["sleep", text], capture_output=True, check=False, env=environment).stderr
    assert said.startswith(b"sleep: invalid time interval")
    stream = masker(text).stream()
    shown = stream.feed(said.splitlines()[0]) + stream.flush()
    assert re.fullmatch(b"sleep: invalid time interval [^a-z]{1,3}[*]{3}[^a-z]{1,3}", shown), shown


@pytest.mark.parametrize("text", ["ünïcode-secret", "pä$$w\"0rd`x\\é'y!", "é'at'ö the ends", "tab\tand é"])
@pytest.mark.parametrize(
    "command",
    [
        'set -x; : "$1"', 'set -x; : "a$1b"; V="$1"', 'printf "%q\\n" "$1"', 'declare -p 1; v="$1"; declare -p v',
        'ls "./no/$1"', 'cat "$1"', 'find "./no/$1"', 'mkdir "./no/$1/x"', 'tar cf /dev/null "./no/$1"',
        '"$0" -c "import sys; print(sys.argv[1].encode(errors=\\"surrogateescape\\"))" "$1"',
        '"$0" -c "import sys; print(ascii(sys.argv[1]))" "$1"',
    ],
)  # fmt: skip
def test_what_programs_print_in_the_locale_c_of_what_is_not_ascii(text: str, command: str, tmp_path: Path) -> None:
    """Where `LANG` is not set, as in most containers, `set -x` spells it byte by byte."""
    ran = subprocess.run(
        ["bash", "-c", command, sys.executable, text],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
    )
    stream = masker(text).stream()
    shown = stream.feed(ran.stdout + ran.stderr) + stream.flush()
    assert MARK in shown
    assert re.search(rb"code|w.?0rd|at'|ends|and", shown.replace(b"standard", b"")) is None, shown


@pytest.mark.parametrize("text", VECTORS.values(), ids=VECTORS)
@pytest.mark.parametrize("before", ["", "u", "us", "user", "user:"])
@pytest.mark.parametrize("behind", ["", "@", "@host", "\n"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_whatever_stands_around_it(
    text: str, before: str, behind: str, encode: Callable[[bytes], bytes]
) -> None:
    """All characters that the value decides are gone; at most two that its neighbours have a part in stay on each side."""
    encoded = encode((before + text + behind).encode())
    stream = masker(text).stream()
    said = stream.feed(encoded) + stream.flush()
    start, end = said.find(MARK), said.rfind(MARK) + len(MARK)
    assert start >= 0
    assert said[start:end] == MARK
    assert start <= len(before) * 8 / 6 + 1
    assert len(said) - end <= len(behind) * 8 / 6 + 5  # and `==`


@pytest.mark.parametrize(("width", "end"), [(76, b"\n"), (76, b"\r\n"), (64, b"\n")])
def test_base64_in_lines(width: int, end: bytes) -> None:
    encoded = base64.b64encode(PEM.encode())
    lines = end.join(encoded[at : at + width] for at in range(0, len(encoded), width))
    stream = masker(PEM).stream()
    said = stream.feed(lines + b"\n") + stream.flush()
    assert said.startswith(MARK)
    assert len(said) <= len(MARK) + 5


@given(st.text(min_size=4, max_size=40), st.binary(max_size=7), st.binary(max_size=7))
@settings(max_examples=200)
def test_base64_of_anything(text: str, before: bytes, behind: bytes) -> None:
    secret = text.encode(errors="surrogatepass")
    found = needles(text)
    if found:
        encoded = base64.b64encode(before + secret + behind)
        first, last = -(-8 * len(before) // 6), 8 * (len(before) + len(secret)) // 6
        assert encoded[first:last] in found


@given(st.lists(st.text(max_size=30), min_size=1, max_size=2))
@settings(max_examples=150, deadline=None)
def test_the_whole_of_it_against_the_reference(texts: list[str]) -> None:
    known = [text for text in texts if maskable(text)]
    wanted = frozenset().union(*map(needles, known))
    data = b" ".join(sorted(wanted)[:40])
    mask = masker(*known)
    stream = mask.stream()
    said = b"".join(stream.feed(data[at : at + 7]) for at in range(0, len(data), 7)) + stream.flush()
    assert said == reference.masked(wanted, data)


@given(st.text(max_size=60))
def test_needles_are_a_function_of_the_value_and_never_too_short(text: str) -> None:
    found = needles(text)
    assert found == needles(text)
    assert bool(found) == maskable(text)
    assert all(len(needle) >= SHORTEST_NEEDLE_BYTES for needle in found)
    assert not any(needle.isspace() for needle in found)


@pytest.mark.parametrize(
    "text", ["", "abc", " a\n", "true", "NULL", "0", "1", "yes", "----", "====", "\n\n\n\n\n", "ü!", " \t \t "]
)
def test_what_would_destroy_a_log_is_no_needle_in_any_encoding(text: str) -> None:
    assert needles(text) == frozenset()


@pytest.mark.parametrize("text", [r"\n\n\n\n\n\n\n\n", r"\055\055\055\055\055\055", r"\t\t\t\t\n\n\n\n", r"\0164rue"])
def test_what_echo_makes_of_a_value_is_no_needle_where_that_would_destroy_a_log(text: str) -> None:
    log = b"\n\n\n\n\n\n\n\n------\n\t\t\t\t\n\n\n\n true"
    stream = masker(text).stream()
    assert stream.feed(log) + stream.flush() == log
    assert masker(text).mask(f"<{text}>") == "<***>"


def test_lines_that_say_nothing_are_no_needles() -> None:
    found = needles(ACCOUNT)
    stream = MaskingStream(reference.Found(found))
    log = b'{\n  "list": [\n    1\n  ],\n}\nclusters:\n\n-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n\n'
    assert stream.feed(log) + stream.flush() == log
    stream = MaskingStream(reference.Found(needles(PEM)))
    assert stream.feed(log) + stream.flush() == log


def test_each_line_that_says_something_is_one() -> None:
    for line in PEM.splitlines()[1:-1]:
        assert masker(PEM).mask(f"> {line} <") == "> *** <"
    assert masker(ACCOUNT).mask('key: "key": "s3cr&t/<value>", end') == "key: *** end"


def test_short_lines_are_masked_with_the_whole_and_not_alone() -> None:
    mask = masker("a line of some length\n1234567\n12345678")
    assert mask.mask("a line of some length\r\n1234567\r\n12345678") == "***"
    assert mask.mask("1234567 12345678\na line of some length") == "1234567 ***\n***"


def test_a_large_value_has_few_needles() -> None:
    text = "\n".join(f"line number {number} of it" for number in range(2_000))
    assert len(needles(text)) < 40 * 2_000
    assert masker(text).mask("a line number 77 of it.") == "a ***."
