"""Spellings as programs really print them: those of this machine, and what others are known to print."""

from __future__ import annotations

import html
import json
import os
import re
import string
import subprocess
from collections.abc import Callable
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import pytest

from runner.masking import MARK, Masker
from runner.masking.needles import needles


def masker(text: str) -> Masker:
    made = Masker()
    assert made.add(text)
    return made


SHELLS = {
    "printf %q": 'printf "%q" "$V"',
    "@Q": 'printf %s "${V@Q}"',
    "declare": "declare -p V",
    "set -x": 'set -x; : "$V"',
    "set": "set | grep -a ^V=",
    "export of sh": "exec sh -c 'export -p' | grep -a ' V='",
    "set -x of sh": "exec sh -c 'set -x; : \"$V\"'",
}


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("command", SHELLS.values(), ids=SHELLS)
@pytest.mark.parametrize(
    "text",
    [
        *(f"cd{sign}FE{sign}" for sign in string.punctuation),
        *(f"{sign}cd FE" for sign in "~#=+-"),
        *("cd:~FE=~cd ~FE #cd", "cd'''FE''cd", "7€ FE 5§ cd ✓", "éé,cd;😀"),
    ],
)
def test_what_shells_quote(text: str, command: str, locale: str) -> None:
    environment = {"LC_ALL": locale, "PATH": os.environ["PATH"], "V": text}
    ran = subprocess.run(["bash", "-c", command], capture_output=True, check=True, env=environment)
    stream = masker(text).stream()
    shown = stream.feed(ran.stdout + ran.stderr) + stream.flush()
    assert MARK in shown
    assert re.search(rb"cd|FE", shown) is None, shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r"behind \e\1\12\\ it", "behind \x1b\1\n\\ it"),
        (r"\\cthis and that\1", "\\cthis and that\1"),
    ],
)
def test_what_the_echo_of_dash_prints(text: str, said: str) -> None:
    assert said.encode() in needles(text)


def test_what_echo_cuts_off_leaves_no_needle() -> None:
    assert masker(r"CORPORATE\charles").mask("at CORPORATE all is well") == "at CORPORATE all is well"


ATTRIBUTES: dict[str, Callable[[str], str]] = {
    "ElementTree": lambda text: ElementTree.tostring(ElementTree.Element("a", {"b": text}), "unicode"),
    "saxutils": quoteattr,
    "PHP": lambda text: html.escape(text).replace("&#x27;", "&#039;"),
    "canonical XML": lambda text: (
        text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").replace("\t", "&#x9;").replace("\n", "&#xA;")
    ),
    "HTML": lambda text: text.replace("&", "&amp;").replace('"', "&quot;"),
}  # fmt: skip


@pytest.mark.parametrize("spell", ATTRIBUTES.values(), ids=ATTRIBUTES)
@pytest.mark.parametrize(
    "text",
    ['it\'s <"&"> so', 'only "these"', "only 'those'", "tab\tabc\tdef", "one\ntwo\ntri", '"a\t"\t"\tb"', "<a>&<b>"],
)
def test_what_attributes_of_xml_and_html_hold(text: str, spell: Callable[[str], str]) -> None:
    shown = masker(text).mask(spell(text))
    assert re.fullmatch(r"""(<a b=)?["']?\*{3}["']?( />)?""", shown), shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\x1bbc\x7fd", r"a\x1Bbc\x7Fd"),  # JavaScript's console
        ("ab\x1fc é", r"ab\u001Fc \u00E9"),  # Jackson
        (r"a\u00e9b ê", r"a\\u00e9b \u00EA"),
        ("é\"&<a>+`'", r"\u00E9\u0022\u0026\u003Ca\u003E\u002B\u0060\u0027"),  # System.Text.Json
        ("it's a\\b\tc", "it\\'s a\\\\b\tc"),  # Perl's Data::Dumper
    ],
)
def test_escapes_in_capitals_and_more_or_fewer_of_them(text: str, said: str) -> None:
    assert masker(text).mask(f"<{said}>") == "<***>"


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_in_a_string_of_json(ascii_only: bool) -> None:
    text = 'a "b" \\ é\n c'
    inner = json.dumps({"text": text}, ensure_ascii=ascii_only)
    said = json.dumps({"log": inner}, ensure_ascii=ascii_only)
    assert masker(text).mask(said) == r'{"log": "{\"text\": \"***\"}"}'
