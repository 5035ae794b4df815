"""The canonical form of documents: what changes, and that nothing of what they say does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runner.config import load_settings
from runner.errors import RunnerError
from runner.formatting import formatted
from runner.model import document
from runner.tasktypes import registry
from runner.validation import load
from runner.validation.forwarding import unjudged

ROOT = Path(__file__).parents[2]
REGISTRY = registry(load_settings({}))
FENCED = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documents() -> Iterator[tuple[str, str]]:
    """All valid documents of the tests, the examples and the pages."""
    for path in [
        *ROOT.glob("tests/testdata/groups/valid/*.yaml"),
        *ROOT.glob("tests/testdata/groups/valid/*.json"),
        *ROOT.glob("examples/*.yaml"),
    ]:
        yield path.name, path.read_text()
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for number, found in enumerate(FENCED.findall(path.read_text())):
            yield f"{path.name} {number}", found


def tokens(text: str) -> list[Any]:
    try:
        return list(yaml.scan(text, Loader=yaml.CSafeLoader))
    except yaml.YAMLError:
        return list(yaml.scan(text, Loader=yaml.SafeLoader))


def comments(text: str) -> list[str]:
    """In order, without the blanks at their edges."""
    found: list[str] = []
    at = 0
    text = text.replace("\t", " ") if text.startswith("{") else text

    def look(gap: str) -> None:
        found.extend(line[line.index("#") + 1 :].strip() for line in gap.split("\n") if "#" in line)

    for token in tokens(text):
        look(text[at : token.start_mark.index])
        at = token.end_mark.index
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            look(text[token.start_mark.index : at].partition("\n")[0])
    look(text[at:])
    return found


def spelt(data: Any) -> Any:
    """Plain data as it is read, with the texts of what was not quoted apart from that of what was."""
    if isinstance(data, dict):
        return {spelt(key): spelt(value) for key, value in data.items()}
    if isinstance(data, list):
        return [spelt(item) for item in data]
    return (type(data).__name__, str(data))


def meaning(text: str) -> Any:
    """What the reader makes of it; None where it does not take it."""
    read = document.read(text.encode(errors="surrogatepass"))
    return spelt(read.data) if read.complete and not read.faults else None


def check(text: str) -> str:
    """It says the same, has the same comments, and its canonical form is its own. What neither scanner takes is refused."""
    assume(meaning(text) is not None)
    try:
        found = formatted(text)
    except RunnerError:
        assume(False)
    assert meaning(found) == meaning(text)
    assert comments(found) == comments(text)
    assert formatted(found) == found
    return found


DOCUMENTS = dict(documents())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_document_changes_its_meaning(name: str) -> None:
    text = DOCUMENTS[name]
    found = formatted(text)
    assert formatted(found) == found
    assert comments(found) == comments(text.replace("\r\n", "\n"))
    assert not re.search(r"\n\n\n|^\n", re.sub(r"[|>]\+.*", "", found, flags=re.DOTALL))
    try:
        before = load(text.encode(), source=name, registry=REGISTRY, judge=unjudged)
    except RunnerError:  # it shows a part of one
        assert (meaning(found) is None) == (meaning(text) is None)
        return
    assert load(found.encode(), source=name, registry=REGISTRY, judge=unjudged).group == before.group


MESSY = """

#top
name:   deploy~~~


inputs:
      # about tag
      tag:   {default: "1.10",  required:  false }   #trailing
      other: {default: [ ], x: }
env:
    A:    yes
    C:   "two
      lines

      more"
tasks:
    # first
    -   name: build
        type: expression_evalation
        spec: &s
            command: |
                  set -e
                    indented

                  echo done


            # in spec
            folded: >-   # why
              a
              b
            kept: |+2
                lead
              keep

        # before exports
        exports: [ {name: a} ,{ name : b},
            # in flow
            {name: c}
          ]
        imports:
          -    task_name: x
               name: y
    - -   *s
      -   b
    -
      "quoted" : 'x'
      ? complex
      : value
      plain: multi
         line text

    # of the list
#end""".replace("~", " ")

CANONICAL = """\
# top
name: deploy

inputs:
  # about tag
  tag: {default: "1.10", required: false}   # trailing
  other: {default: [], x: }
env:
  A: yes
  C: "two
    lines

    more"
taskGroup:
# first
- name: build
  type: expression_evaluation
  spec: &s
    command: |
      set -e
        indented

      echo done

    # in spec
    folded: >- # why
      a
      b
    kept: |+2
        lead
      keep

  # before exports
  exports: [{name: a}, {name: b},
      # in flow
      {name: c}
    ]
  imports:
  - from: x
    variable: y
- - *s
  - b
-
  "quoted": 'x'
  ? complex
  : value
  plain: multi
     line text

# of the list
# end
"""


def test_byte_order_marks_go_where_none_of_them_is_text() -> None:
    assert formatted("\ufeffa: b") == formatted("\ufeff\ufeffa: b") == "a: b\n"
    with pytest.raises(RunnerError, match="a line begins with a byte order mark"):
        formatted("\n\ufeffa: b")


@pytest.mark.parametrize("end", "\x85\u2028\u2029")
def test_what_ends_a_line_for_parsers_alone_becomes_one(end: str) -> None:
    text = f"inputs:\n  a: {end}    b\nlabels: {end}...\n"
    found = formatted(text)
    assert found == "inputs:\n  a:\n    b\nlabels:\n...\n"
    assert meaning(found) == meaning(text) is not None
    assert formatted(f'a: "b{end}c"') == f'a: "b{end}c"\n'
    for text in (f"a: b{end} c", f"a: |\n  b{end}  c\n"):
        with pytest.raises(RunnerError, match="a text without quotes"):
            formatted(text)


def test_what_is_canonical() -> None:
    assert formatted(MESSY) == CANONICAL
    assert formatted(CANONICAL) == CANONICAL
    assert formatted("\ufeff" + MESSY.replace("\n", "\r\n")) == CANONICAL


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('{"taskGroup":[{"name":"a","n":1}]}', '{"taskGroup": [{"name": "a", "n": 1}]}\n'),
        ("a: *x\n", None),
        ("a: [1\n", None),
        ("a: &x 1\n*x : 2\n", "a: &x 1\n*x : 2\n"),
        ("a: |\n  text", "a: |\n  text"),  # a newline at the end would be one more in it
        ("a: |+\n  text\n\n\n", "a: |+\n  text\n\n\n"),
        ("a: |-\n  text\n\n\n", "a: |-\n  text\n"),
        ("---\na: 1\n...\n", "---\na: 1\n...\n"),
        ("a: !!str   1\n", "a: !!str 1\n"),
        ("a: [!!str  , b]\n", "a: [!!str , b]\n"),
        ("a: |\n\n\n", "a: |\n"),
        ("# nothing\n\n\n", "# nothing\n"),
        ("", ""),
        ("a:\n   - 1\n   -  - 2\n      - 3\n", "a:\n- 1\n- - 2\n  - 3\n"),
        ("a:\n  - |\n        x\n  - y\n", "a:\n- |\n  x\n- y\n"),
        ("a: 'x\n\n\n   y'\n", "a: 'x\n\n\n   y'\n"),
        ("a: #!x\n##y\n", None),
    ],
)
def test_single_cases(text: str, canonical: str | None) -> None:
    if canonical is None:
        try:
            found = formatted(text)
        except RunnerError:
            assert meaning(text) is None
        else:
            assert found == text
    else:
        assert formatted(text) == canonical
        assert formatted(canonical) == canonical


SEEDS = [formatted(text) for text in DOCUMENTS.values() if meaning(text) is not None and len(text) < 4000]
LINES = ["", "# note", "      # deep note", "  #tight", "   "]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_comments_and_blanks_anywhere(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(SEEDS)).split("\n")
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(lines)))
        if data.draw(st.booleans()):
            lines.insert(place, data.draw(st.sampled_from(LINES)))
        elif place < len(lines):
            lines[place] = lines[place].replace(" ", "  ") if data.draw(st.booleans()) else f"{lines[place]}   # why"
    text = "\n".join(lines)
    check(text)


WORDS = st.text("ab1.: -#'\"{}[],|>\\\n\té", max_size=12)


@st.composite
def written(draw: st.DrawFn, indent: int = 0, depth: int = 0) -> str:
    """A block of YAML in one of the ways in which people write."""
    step = draw(st.integers(1, 5))
    lines = []
    as_list = draw(st.booleans())
    for number in range(draw(st.integers(1, 4))):
        if draw(st.integers(0, 4)) == 0:
            lines.append(" " * draw(st.integers(0, 8)) + draw(st.sampled_from(["# c", "#c", ""])))
        head = "-" if as_list else f"k{number}{draw(st.sampled_from(['', ' ']))}:"
        lines.append(" " * indent + head + draw(value(indent, step, depth)))
    return "\n".join(lines)


@st.composite
def value(draw: st.DrawFn, indent: int, step: int, depth: int) -> str:
    kind = draw(st.sampled_from(["plain", "quoted", "single", "literal", "flow", "block", "block", "empty"]))
    blank = " " * draw(st.integers(1, 3))
    text = draw(WORDS)
    match kind:
        case "quoted":
            return blank + yaml.dump(text, default_style='"', width=8, allow_unicode=True).strip().replace(
                "\n", "\n" + " " * (indent + step)
            )
        case "single":
            return (
                blank
                + "'"
                + text.replace("'", "''").replace("\n", " ").replace("\t", " ")
                + "'"
                + draw(st.sampled_from(["", " # c"]))
            )
        case "literal":
            inner = "\n".join(" " * (indent + step) + line if line else "" for line in f"x\n{text}".split("\n"))
            return f"{blank}{draw(st.sampled_from(['|', '>', '|-', '>+', '|+']))}\n{inner}"
        case "flow":
            return blank + draw(
                st.sampled_from(
                    [
                        "[a,b]",
                        "{a: 1,b: [ x , y ]}",
                        "[ ]",
                        "[a,\n" + " " * (indent + step) + "b # c\n" + " " * (indent + 1) + "]",
                        "{ }",
                        "*none",
                        '{"a":1}',
                    ]
                )
            )
        case "block" if depth < 3:
            anchor = draw(st.sampled_from(["", f"{blank}&a", "  # c"]))
            return f"{anchor}\n" + draw(written(indent + step, depth + 1))
        case "empty":
            return draw(st.sampled_from(["", "  # c", " ~"]))
    return blank + draw(
        st.sampled_from(
            ["a", "1.10", "yes", "0x1F", "22:22", "a b", "multi\n" + " " * (indent + step) + "line", "!!str 5"]
        )
    )


@given(written())
@settings(max_examples=250, deadline=None)
def test_whatever_people_write(text: str) -> None:
    check(text)


@given(st.text("ab:-?{}[],#&*!|>'\" \n", max_size=30))
@settings(max_examples=250, deadline=None)
def test_whatever_the_reader_takes(text: str) -> None:
    check(text)
