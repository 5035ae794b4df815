from __future__ import annotations

import subprocess
import sys

import pytest
from msgspec.structs import replace

from runner import expressions
from runner.errors import TemplateError
from runner.expressions import filters
from runner.model.value import Bindings, Value

MIB = 1 << 20

BINDINGS = Bindings(
    imports={
        "fetch-secret": {"password": Value("s3cret", True), "user": Value("bob")},
        "build": {
            "changed": Value("true"),
            "no": Value("false"),
            "empty": Value(""),
            "name": Value("it's"),
            "list": Value('[3, {"b": "x", "n": null}, "é"]'),
            "csv": Value("a,b,c"),
            "big": Value("a" * MIB),
            "commas": Value("," * 200_000),
            "signs": Value("".join(map(chr, range(256, 400)))),
        },
        "not": {"if": Value("keyword")},
    },
    inputs={"tag": Value("v1"), "token": Value("t0ken", True)},
    env={
        "REGION": "eu",
        "IMAGE": "app:{{ .inputs.tag }}",
        "AUTH": "Bearer {{ .inputs.token }}",
        "BROKEN": "{{ .build.changed }}",
    },
    group_id="g1",
    group_name="deploy",
    task_name="push",
    task_attempt=2,
)


def scope() -> expressions.Scope:
    return expressions.Scope(BINDINGS)


def rendered(text: str) -> str:
    return expressions.render(text, scope()).text


def refusal(text: str) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        expressions.evaluate(text, scope())
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ .fetch-secret.password }}", "s3cret"),
        ("{{ fetch-secret.password }}", "s3cret"),
        ("{{.inputs.tag}}", "v1"),
        ('{{ .build["csv"] }}', "a,b,c"),
        ("{{ .not.if }}", "keyword"),
        ("deploy-{{ .inputs.tag }}-{{ .group.id }}\n", "deploy-v1-g1\n"),
        ("{{ .group.name }}/{{ .task.name }}/{{ .task.attempt }}", "deploy/push/2"),
        ("{{ .env.REGION }} {{ .env.IMAGE }}", "eu app:v1"),
        ("{% if x %}{# y #}{ { z } }\n", "{% if x %}{# y #}{ { z } }\n"),
        ("a \n {{- .inputs.tag -}} \t b", "av1b"),
        ("a {{-3}} b", "a -3 b"),
        ("{{- .inputs.tag -}}  {{- .inputs.tag -}}", "v1v1"),
        ("{{ '}}' }} {{ \"{{\" }}", "}} {{"),
        (r"""{{ 'it\'s' }} {{ "a\tb\\n\d" }} {{ '\x41\u00e9\U0001F600' }}""", "it's a\tb\\n\\d Aé😀"),
        ("{{ none }}|{{ true }}|{{ False }}|{{ 1.50 }}|{{ -7 }}", "|true|false|1.5|-7"),
        ("{{ ['a', -1, none, .inputs.tag] }}", '["a",-1,null,"v1"]'),
        ("{{ .group }}", '{"id":"g1","name":"deploy"}'),
        ("{{ .build.changed == 'true' and .task.attempt >= 2 }}", "true"),
        ("{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' != 'b' }}", "true false true"),
        ("{{ 'b' in ['a', 'b'] }} {{ 'z' not in 'abc' }} {{ 'tag' in .inputs }}", "true true true"),
        ("{{ not .build.changed }} {{ not .build.no }} {{ not .build.empty }}", "false true true"),
        ("{{ .build.empty or 'fallback' }} {{ .build.changed and 'yes' }}", "fallback yes"),
        ("{{ 'prod' if .inputs.tag == 'v1' else 'test' }}", "prod"),
        ("{{ none == 'a' }} {{ none == none }} {{ true == 1 }}", "false true false"),
        ("{{ 1 in [true] }} {{ [1] == [true] }} {{ 1.0 in [1] }} {{ 'true' in [true, 1] }}", "false false true false"),
        (
            """{{ '{"a": [1]}' | fromjson == '{"a": [true]}' | fromjson }} {{ .inputs == .inputs }}""",
            "false true",
        ),
        ("{{ .nothing.here | default('d') }} {{ .build.x.y | default }}|", "d |"),
        ("{{ .build.empty | default('d') }}|{{ .build.empty | default('d', true) }}", "|d"),
        ("{{ .nothing | upper | default(.inputs.tag) }}", "v1"),
        ("{{ 'Ab ' | lower }}|{{ 'ab' | upper }}|{{ ' ab\n' | trim }}|{{ 'xxaxx' | trim('x') }}", "ab |AB|ab|a"),
        (
            "{{ 'aaa' | replace('a', 'b') }} {{ 'aaa' | replace('a', 'b', 2) }} {{ 'ab' | replace('', '-') }}",
            "bbb bba -a-b-",
        ),
        ("{{ 'é' | b64encode }} {{ 'w6k=' | b64decode }} {{ 'w6\nk=' | b64decode }}", "w6k= é é"),
        ("{{ 'a\"é' | tojson }} {{ .build.list | fromjson | tojson }}", '"a\\"é" [3,{"b":"x","n":null},"é"]'),
        ("{{ (.build.list | fromjson)[1].b }} {{ (.build.list | fromjson)[-1] }}", "x é"),
        ("{{ .build.name | shquote }} {{ 'plain' | shquote }} {{ '' | shquote }}", "'it'\"'\"'s' plain ''"),
        (
            "{{ .build.csv | split(',') | join('-') }} {{ ' a  b ' | split | join('|') }} {{ ['a', 1] | join }}",
            "a-b-c a|b a1",
        ),
        ("{{ .build.csv | length }} {{ .build.csv | split(',') | length }} {{ .inputs | length }}", "5 3 2"),
        ("{{ .build.csv | first }} {{ .build.csv | split(',') | last }}", "a c"),
        ("{{ 5 | upper }}{{ true | upper }}", "5TRUE"),
    ],
)
def test_what_templates_mean(text: str, expected: str) -> None:
    assert rendered(text) == expected


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("a {{ x", 2, "`{{` is not closed by `}}` (a literal one is written `{{ '{{' }}`)"),
        ("{{ 'x }}", 0, "`{{` is not closed by `}}`: the quote ' in it has no end"),
        ("{{ 1" + " " * 10_000 + "}}", 0, "`{{` is not closed by `}}` within 10,000 characters"),
        ("{{}}", 2, "the expression is empty"),
        ("{{ '%0999999999d' % 1 }}", 18, "arithmetic (`%`) is not allowed in an expression"),
        ("{{ 9**9**9 }}", 4, "arithmetic (`**`) is not allowed in an expression"),
        ("{{ .inputs.tag - .inputs.tag }}", 15, "arithmetic (`-`) is not allowed in an expression"),
        ("{{ 3 - 1 }}", 3, "arithmetic is not allowed in an expression"),
        ("{{ build.csv() }}", 12, "calls are not allowed in an expression"),
        ("{{ build is defined }}", 9, "tests (`is`) are not allowed: compare, or give a `default`"),
        ("{{ 'a' ~ 'b' }}", 7, "unexpected character '~': `~` is not allowed: write two templates side by side"),
        ("{{ {'a': 1} }}", 3, "unexpected character '{': there are no mappings in expressions"),
        ("{{ .build.csv[0:2] }}", 15, "unexpected character ':': there are no slices and no mappings in expressions"),
        ("{{ a && b }}", 5, "unexpected character '&': write `and`"),
        ("{{ größe }}", 5, "unexpected character 'ö'"),
        ("{{ a b }}", 5, "unexpected 'b' behind the expression"),
        ("{{ a .b-c }}", 5, "unexpected '.b-c' behind the expression"),
        ("{{ inputs..tag }}", 9, "a name is missing between two dots"),
        ("{{ .inputs. .tag }}", 10, "a name is missing between two dots"),
        ("{{ (a }}", 4, "the expression is malformed: unexpected end of template, expected ')'."),
        ("{{ a | uper }}", 7, "there is no filter 'uper' (did you mean 'upper'?)"),
        (
            "{{ a | attr('x') }}",
            7,
            f"there is no filter 'attr' (there are: {', '.join(filters.FILTER_NAMES)})",
        ),
        ("{{ a | replace('x') }}", 7, "replace takes 2 to 3 arguments, not 1"),
        ("{{ a | trim(*b) }}", 12, "arithmetic (`*`) is not allowed in an expression"),
        ("{{ a | default(boolean=true) }}", 22, "unexpected character '=': arguments have no names, and `==` compares"),
        ("{{ build.__class__ }}", 3, "'__class__' is not allowed: names that begin and end with two underscores"),
        ("{{ build['__class__'] }}", 8, "'__class__' is not allowed: names that begin and end with two underscores"),
        ("{{ a[b] }}", 4, "a subscript is one quoted name or one whole number"),
        ("{{ [a, [b]] }}", 7, "a list holds constants and paths only"),
        ("{{ [(a | fromjson).b] }}", 18, "a list holds constants and paths only"),
        ("{{ true.x }}", 3, "a constant has no members"),
        ("{{ 'yes' if a }}", 3, "an inline `if` needs an `else`"),
        ("{{ 1e999 }}", 3, "the number is too large"),
        ("{{ '\0' }}", 3, "a NUL character stands in a quoted text: leave it away"),
        ("{{ " + "9" * 33 + " }}", 3, "a number has more than 32 characters"),
        ("{{ '\\u0000' }}", 3, "\\u0000 is not a character that a text may contain"),
        ("{{ '\\ud800' }}", 3, "\\ud800 is not a character that a text may contain"),
        ("{{ " + "(" * 33 + "a" + ")" * 33 + " }}", 35, "brackets are nested more than 32 deep"),
        ("{{ " + "not " * 60 + "a }}", 207, "an expression is nested more than 50 deep"),
        ("{{ a" + "|trim" * 60 + " }}", 45, "an expression is nested more than 50 deep"),
        ("{{ [" + "1," * 600 + "] }}", 2, "an expression has more than 1,000 words"),
        ("x {{ .build.x }}", 2, "build has no 'x'; there is: big, changed, commas, csv, empty, list, name, no, signs"),
        (
            "{{ .biuld.csv }}",
            0,
            "nothing is called 'biuld' here (did you mean 'build'?); there is: build, env, fetch-secret, group, inputs, not, task",
        ),
        ("{{ .inputs.tga }}", 0, "inputs has no 'tga' (did you mean 'tag'?); there is: tag, token"),
        ("{{ .env.REGIN }}", 0, "env has no 'REGIN' (did you mean 'REGION'?); there is: AUTH, BROKEN, IMAGE, REGION"),
        ("{{ .inputs.tag.x }}", 0, "inputs.tag is a text and has no 'x'"),
        ("{{ .inputs.tag[0] }}", 0, "inputs.tag is a text and has no items"),
        ("{{ (.build.list | fromjson)[3] }}", 0, "the value has no item [3]: it has 3"),
        ("{{ .env.BROKEN }}", 0, "env.BROKEN: nothing is called 'build' here; there is: group, inputs"),
        ("{{ .build.changed == true }}", 0,
         "a text is never equal to a boolean: variables are text, so compare with a quoted text, or quote a boolean where it is set"),
        ("{{ .task.attempt == '2' }}", 0,
         "a text is never equal to a number: variables are text, so compare with a quoted text, or quote a number where it is set"),
        ("{{ .build.csv < 3 }}", 0, "a text and a number have no order"),
        ("{{ 1 in 'a' }}", 0, "a number cannot be in a text"),
        ("{{ 1 in 2 }}", 0, "nothing can be in a number"),
        ("{{ 'x' | b64decode }}", 0, "b64decode: the text is not base64"),
        ("{{ '/w==' | b64decode }}", 0, "b64decode: the decoded bytes are not UTF-8 text"),
        ("{{ '{' | fromjson }}", 0, "fromjson: the text is not JSON at character 1"),
        ("{{ 'NaN' | fromjson }}", 0, "fromjson: the text is not JSON"),
        ("{{ '1e999' | fromjson }}", 0, "fromjson: the text is not JSON"),
        ("{{ '\"\\\\u0000\"' | fromjson }}", 0, "the result contains a NUL character"),
        ("{{ '\"\\\\ud800\"' | fromjson }}", 0, "the result contains half of a surrogate pair, which is no character"),
        ("{{ none | upper }}", 0, "upper: a text is needed, not none"),
        ("{{ .group | upper }}", 0, "upper: a text is needed, not a mapping"),
        ("{{ 'a' | trim(.build.signs) }}", 0, "trim: more than 100 different characters are to be taken off"),
        ("{{ 'a' | join }}", 0, "join: a list is needed, not a text"),
        ("{{ 'a' | split('') }}", 0, "split: the separator is empty"),
        ("{{ .build.commas | split(',') }}", 0, "split: the text has more than 100,000 pieces"),
        ("{{ [] | first }}", 0, "first: a list without items has no first and no last"),
        ("{{ 1 | length }}", 0, "length: a number has no length"),
        ("{{ 'a' | replace('a', 'b', 'c') }}", 0, "replace: a whole number is needed, not a text"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, offset: int, message: str) -> None:
    error = refusal(text)
    assert (error.message, error.offset) == (message, offset)


@pytest.mark.parametrize(
    "text",
    [
        "{{ .build.big | replace('a', .build.big) }}",
        "{{ .build.big | replace('', .build.big) }}",
        "{{ [.build.big, .build.big, .build.big, .build.big, 'x'] | join }}",
        "{{ [.build.big, 'x', .build.csv] | join(.build.big) | b64encode | b64encode }}",
        " {{ [.build.big, .build.big, .build.big, .build.big] }}",
        "{{ [" + ".build.big," * 20 + "] | tojson }}",
        "{{ [.build.big, 'x'] | join('\"') | tojson }}{{ .build.big }}{{ .build.big }}{{ .build.big }}{{ .build.big }}",
        "{{ .build.big | replace('a', \"'\") | shquote }}",
        "{{ .build.big }}" * 5,
    ],
)
def test_a_result_that_would_be_too_long_is_refused_before_it_is_built(text: str) -> None:
    with pytest.raises(TemplateError, match="the result is longer than 4 MiB"):
        expressions.render(text, expressions.Scope(BINDINGS, expressions.Work(10_000)))


def test_the_work_of_one_rendering_is_bounded() -> None:
    assert refusal("{{ .build.big | length }}" * 100).message == (
        "the templates here are too much work: they may take 40 ms of the processor, by an estimate"
        " (RUNNER_TEMPLATE_MILLISECONDS sets another limit)"
    )


@pytest.mark.parametrize(
    "text", ["{{ .build.big | length }}", "{{ .env.COSTLY }}x", "{{ not 1 }} " * 2_000, "{{ not .build.big }}"]
)
def test_the_work_of_many_renderings_in_one_scope_is_bounded(text: str) -> None:
    env = {f"E{number}": "{{ .inputs.big | length }}" for number in range(100)}
    here = expressions.Scope(replace(BINDINGS, inputs={"big": Value("a" * MIB)}, env=env))

    def render_all() -> None:
        for number in range(200_000):
            expressions.render(text.replace("COSTLY", f"E{number}"), here)

    with pytest.raises(TemplateError, match="too much work"):
        render_all()


def test_the_number_of_expressions_is_bounded() -> None:
    with pytest.raises(TemplateError, match="the template has more than 10,000 expressions") as refused:
        expressions.parse("{{a}}" * 10_001)
    assert refused.value.offset == 50_000
    assert refusal("{{" + "x" * (5 * MIB)).message == "the template is longer than 4 MiB"


@pytest.mark.parametrize("deep", ["[" * 200 + "]" * 200, "[" * 100_000 + "]" * 100_000, '{"a":' * 65 + "1" + "}" * 65])
def test_deeply_nested_json_is_refused(deep: str) -> None:
    data = expressions.DataScope({"deep": deep})
    with pytest.raises(TemplateError, match=r"^fromjson: the data is nested more than 64 levels deep$"):
        expressions.evaluate("{{ deep | fromjson }}", data)


def test_json_of_64_levels_is_read() -> None:
    data = expressions.DataScope({"deep": "[" * 64 + "]" * 64})
    assert expressions.render("{{ deep | fromjson }}", data).text == "[" * 64 + "]" * 64


@pytest.mark.parametrize(
    ("text", "names", "whole"),
    [
        ("plain", (), False),
        ("{{ .fetch-secret.password }}", (("fetch-secret", "password"),), True),
        ("{{- fetch-secret.password -}}", (("fetch-secret", "password"),), True),
        (
            "{{ a.b }} {{ .a['b'] | upper }} {{ c if d else e.f.g }}",
            (("a", "b"), ("d",), ("c",), ("e", "f", "g")),
            False,
        ),
        ("{{ .a['b'][0].c }}", (("a", "b"),), True),
        ("{{ x | default(y.z) }}", (("x",), ("y", "z")), True),
        ("{{ (a.b | fromjson).c in [d, 1] }}", (("a", "b"), ("d",)), True),
        ("{{ 'x' }}", (), True),
        ("{{ a }}{{ b }}", (("a",), ("b",)), False),
    ],
)
def test_what_a_template_reads(text: str, names: tuple[tuple[str, ...], ...], whole: bool) -> None:
    template = expressions.parse(text)
    assert (template.names, template.whole) == (names, whole)


@pytest.mark.parametrize(
    ("text", "confidential"),
    [
        ("{{ .fetch-secret.password }}", True),
        ("{{ .fetch-secret.user }}", False),
        ("{{ .fetch-secret }}", True),
        ("{{ .inputs }}", True),
        ("{{ .env.AUTH }}", True),
        ("{{ .env.IMAGE }}", False),
        ("{{ 'x' if .fetch-secret.password else 'y' }}", True),
        ("{{ .fetch-secret.user | default(.inputs.token) }}", True),
        ("{{ (.inputs['token']) | length }}", True),
        ("{{ .nothing.here | default('x') }}", False),
        ("no template", False),
    ],
)
def test_what_names_something_confidential_is_confidential(text: str, confidential: bool) -> None:
    assert expressions.render(text, scope()).confidential is confidential
    assert expressions.evaluate(text, scope())[1] is confidential


def test_a_whole_template_stands_for_an_object() -> None:
    assert expressions.evaluate("{{ .task.attempt }}", scope()) == (2, False)
    assert expressions.evaluate("{{ (.build.list | fromjson)[1] }}", scope()) == ({"b": "x", "n": None}, False)
    assert expressions.evaluate("{{ .task.attempt }} ", scope()) == ("2 ", False)
    assert expressions.evaluate("text", scope()) == ("text", False)


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ("", False),
        ("false", False),
        ("true", True),
        ("0", True),
        (0, False),
        (None, False),
        ([], False),
        ({"a": 1}, True),
    ],
)
def test_truth(value: object, holds: bool) -> None:
    assert expressions.truth(value) is holds


def test_has_template() -> None:
    assert expressions.has_template("a {{ b }}")
    assert not expressions.has_template("{% a %} { { b } }")


def test_an_environment_variable_is_rendered_only_when_it_is_named() -> None:
    here = scope()
    assert expressions.render("{{ .env.REGION }}", here).text == "eu"
    assert here.env("AUTH") == Value("Bearer t0ken", True)
    assert refusal("{{ .env }}").message.startswith("env.BROKEN: ")


def test_a_plain_path_needs_no_jinja() -> None:
    program = (
        "import sys; from runner import expressions; from runner.model.value import *;"
        "b = Bindings(group_id='g', group_name='n', task_name='t', task_attempt=1);"
        "assert expressions.render('x {{ .group.id }}', expressions.Scope(b)).text == 'x g';"
        "sys.exit('jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
