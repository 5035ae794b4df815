"""`runner graph` in all its languages, read by those who know them."""

from __future__ import annotations

import html
import json
import re
import subprocess
from xml.etree import ElementTree as Xml

import pytest
import yaml

from tests.acceptance.command import Command, group, shell
from tests.conftest import Require

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'x"]; click t0 "javascript:alert(1)" %% </title><script>alert(1)</script> & \' \\ \\N 😀 ]]> --> end `'
V = [{"name": "v"}, {"name": "w"}]
CONDITION = "{{ 'a\"]; <b>&' == .end.v }}"
TASKS = [
    shell("end", "true", description=f"{HOSTILE}\x01\x1b[2J\u202e", exports=V),
    shell(
        "graph",
        "true",
        imports=[{"from": "end", "variable": "v"}, {"from": "end", "variable": "w"}],
        **{"if": CONDITION},
    ),
    shell("subgraph", "true", depends_on=["end", "graph"], when="always"),
    shell("node", "true", depends_on=["end", "subgraph"], when="failure", forward={"labels": {"a": '"><x>'}}),
]
EDGES = [("end", "graph"), ("end", "subgraph"), ("graph", "subgraph"), ("end", "node"), ("subgraph", "node")]
DOCUMENT = group(TASKS, name=HOSTILE)


def drawn(runner: Command, format: str, document: str = DOCUMENT) -> str:
    done = runner("graph", runner.write(document.replace("\\u0001", "")), "--format", format)
    assert (done.status, done.stderr) == (0, ""), done
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    return done.stdout


def test_svg_is_xml_with_every_task_and_edge(runner: Command) -> None:
    root = Xml.fromstring(drawn(runner, "svg"))
    assert root.tag == f"{SVG}svg"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "style", "defs", "marker", "path", "rect", "text", "g",
    }  # fmt: skip
    assert not any(name.startswith("on") or "href" in name for element in root.iter() for name in element.attrib)
    assert root.findtext(f"{SVG}title") == HOSTILE
    boxes = {(node.findtext(f"{SVG}text"), node.get("class")) for node in root.iter(f"{SVG}g")}
    assert boxes == {("end", None), ("graph", None), ("subgraph", "always"), ("node", "failure")}
    told = [path.findtext(f"{SVG}title") or "" for path in root.iter(f"{SVG}path") if path.get("marker-end")]
    assert sorted(told) == sorted(["end → graph: v, w", *(f"{start} → {to}" for start, to in EDGES[1:])])
    ordered = [path for path in root.iter(f"{SVG}path") if path.get("class") == "order"]
    assert len(ordered) == 4
    assert f"os_exec; if {CONDITION}" in {text.text for text in root.iter(f"{SVG}text")}


def test_dot_is_read_by_graphviz(runner: Command, require: Require) -> None:
    require("dot")
    text = drawn(runner, "dot")
    done = subprocess.run(["dot", "-Tjson"], input=text.encode(), capture_output=True, timeout=40, check=True)
    assert done.stderr == b""
    graph = json.loads(done.stdout)
    names = {node["_gvid"]: node["label"].split("\\n")[0] for node in graph["objects"]}
    assert list(names.values()) == ["end", "graph", "subgraph", "node"]
    edges = {(names[edge["tail"]], names[edge["head"]]): edge for edge in graph["edges"]}
    assert set(edges) == set(EDGES)
    assert edges["end", "graph"]["label"] == "v, w"
    assert edges["end", "node"]["style"] == "dashed"
    drawing = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, timeout=40, check=True).stdout
    texts = {element.text for element in Xml.fromstring(drawing).iter(f"{SVG}text")}
    assert HOSTILE in texts, "letter by letter"


LINE = re.compile(
    r"flowchart LR|"
    r'  t\d+(?:\["TEXT"\]|\(\["TEXT"\]\)|\{\{"TEXT"\}\})|'.replace("TEXT", r"(?:[A-Za-z0-9 _.,:+-]|#\d+;|<br/>)+")
    + r'  t\d+ (?:-- "[A-Za-z0-9 _,-]+" -->|-\.->) t\d+'
)


def test_mermaid_has_nothing_of_the_document_but_escaped_texts(runner: Command) -> None:
    front, title, end, *lines = drawn(runner, "mermaid").splitlines()
    assert (front, end) == ("---", "---")
    assert yaml.safe_load(title) == {"title": HOSTILE}
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    labels = [html.unescape(re.sub(r"#(\d+);", r"&#\1;", line)) for line in lines]
    assert f'  t1["graph<br/>os_exec; if {CONDITION}"]' in labels
    assert '  t0 -- "v, w" --> t1' in lines
    assert sum(" -.-> " in line for line in lines) == 4


def test_json_is_as_before_under_both_names(runner: Command) -> None:
    document = runner.write(DOCUMENT)
    told = runner("graph", document, "--format", "json")
    assert [task["name"] for task in told.json["tasks"]] == ["end", "graph", "subgraph", "node"]
    assert runner("graph", document, "--output", "json").stdout == told.stdout
    assert runner("graph", document, "--format", "text").stdout == runner("graph", document).stdout
    both = runner("graph", document, "--format", "svg", "--output", "json")
    assert (both.status, both.stderr) == (2, "runner: --output and --format say the same: give one of them\n")


@pytest.mark.parametrize("format", ["text", "mermaid", "dot", "svg", "json"])
def test_a_large_group_is_drawn(runner: Command, format: str) -> None:
    tasks = [shell(f"t{n}", "true", depends_on=[f"t{n // 2 - 1}"] if n > 1 else []) for n in range(3_000)]
    assert "t2999" in drawn(runner, format, group(tasks))


def test_formats_are_completed(runner: Command) -> None:
    done = runner("__complete", "bash", "runner graph x --format ", "", "=:")
    assert done.stdout.split() == ["words", "text", "mermaid", "dot", "svg", "json"]
