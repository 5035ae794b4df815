from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import OutputFileError
from runner.model.outputfile import MAX_OUTPUT_FILE_BYTES, parse_begun, parse_output


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"", {}),
        (b"\n\n", {}),
        (b"A=1\nB=\n\nC=x=y<<z\n", {"A": "1", "B": "", "C": "x=y<<z"}),
        (b"A=1", {"A": "1"}),
        (b"A= spaced \r\n", {"A": " spaced \r"}),
        (b"A=1\nB=2\nA=3\n", {"A": "3", "B": "2"}),
        (b"A<<EOF\n\n one\n\nEOF\nB=2\n", {"A": "\n one\n", "B": "2"}),
        (b"A<<EOF\nEOF\n", {"A": ""}),
        (b"A<<EOF\nx\nEOF", {"A": "x"}),
        (b"A<<EOF\nEOF \n EOF\nB=1\nEOF\n", {"A": "EOF \n EOF\nB=1"}),
        (b"A<<E=F\nx\nE=F\n", {"A": "x"}),
        (b"A<<EOF\r\nx\r\nEOF\r\n", {"A": "x\r"}),
        (b"\xef\xbb\xbfA=\xc3\xa9\n", {"A": "é"}),
        (b" {=1\n", {" {": "1"}),
        (b"{}", {}),
        (b'{"a": "x\\ny", "b": 1, "c": null, "d": [1, {"e": true}], "f": 1.50, "a2": "\xc3\xa9"}\n',
         {"a": "x\ny", "b": "1", "c": "null", "d": '[1,{"e":true}]', "f": "1.50", "a2": "é"}),
        (b'{"a": [1.10, 1e999, -0.0], "b": {"c d": 12345678901234567890.123, "\\u00e9": "\\n"}, "c": ' + b"9" * 5000 + b"}",
         {"a": "[1.10,1e999,-0.0]", "b": '{"c d":12345678901234567890.123,"é":"\\n"}', "c": "9" * 5000}),
        (b'\xef\xbb\xbf{"a": 1, "a": 2}', {"a": "2"}),
    ],
)  # fmt: skip
def test_what_a_program_exports(data: bytes, values: dict[str, str]) -> None:
    assert parse_output(data, "out") == values


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"A=1\nhush\n", "out:2: expected NAME=VALUE or NAME<<DELIMITER"),
        (b"=hush\n", "out:1: the name is empty"),
        (b"<<EOF\nhush\nEOF\n", "out:1: the name is empty"),
        (b"A=1\n\nB<<\n", "out:3: no delimiter behind `<<`"),
        (b"A<<EOF\nhush\n", "out:1: the delimiter of this value does not follow on a line of its own"),
        (b"A<<EOF\nhush", "out:1: the delimiter of this value does not follow on a line of its own (and the last line has no line end)"),
        (b"A=1\nB=\x00\n", "out:2: a NUL byte"),
        (b"A=1\nB=\xff\n", "out:2: not UTF-8"),
        (b"x" * (MAX_OUTPUT_FILE_BYTES + 1), "out: 1,048,577 bytes are more than the 1,048,576 that are allowed"),
        (b'{\n"a": hush}', "out:2: malformed JSON at column 6: Expecting value"),
        (b'{"a": 1} hush', "out:1: malformed JSON at column 10: Extra data"),
        (b'{"": "hush"}', "out: a name is empty"),
        (b'{"a": "\\u0000"}', "out: a NUL character (\\u0000)"),
        (b'{"a": ["\\ud800"]}', "out: half of a surrogate pair, which is no character"),
        (b'{"a": NaN}', "out: malformed JSON: NaN is no value"),
        (b'{"a": ' + b"[" * 100_000, "out: the JSON is nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_refused_and_that_no_content_is_quoted(data: bytes, message: str) -> None:
    with pytest.raises(OutputFileError) as caught:
        parse_output(data, "out")
    assert caught.value.message == message
    assert "hush" not in message


def test_a_file_of_the_largest_size_is_read() -> None:
    assert parse_output(b"A=" + b"x" * (MAX_OUTPUT_FILE_BYTES - 2), "out") == {"A": "x" * (MAX_OUTPUT_FILE_BYTES - 2)}


NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@given(st.dictionaries(NAME, VALUE))
def test_what_is_written_is_read(values: dict[str, str]) -> None:
    lines = "".join(f"{name}<<__END__\n{value}\n__END__\n" for name, value in values.items())
    assert parse_output(lines.encode(), "out") == values
    assert parse_output(json.dumps(values).encode(), "out") == values


@given(st.binary(max_size=60) | st.text(st.sampled_from('A<=\n{}":,\0')).map(str.encode))
def test_any_file_has_values_or_an_error(data: bytes) -> None:
    try:
        values = parse_output(data, "out")
    except OutputFileError:
        return
    for name, value in values.items():
        assert name
        assert "\0" not in name + value
        (name + value).encode()


@pytest.mark.parametrize(
    ("data", "pairs"),
    [
        (b"", []),
        (b"A=1\nA=2\nB=3", [("A", "1"), ("A", "2"), ("B", "3")]),
        (b"A=1\nB", [("A", "1")]),
        (b"A<<E\nx\ny\nE\nB<<E\nz\n", [("A", "x\ny")]),
        (b"A=1\nwhat is this\nB=2\n", [("A", "1")]),
        (b"\xef\xbb\xbf" + b'{"A": 1}', [("A", "1")]),
        (b'{"A": "x"', []),
        (b"A=1\nB=\xc3", [("A", "1"), ("B", "\udcc3")]),
        (b"A=\0", [("A", "\0")]),
    ],
)
def test_what_is_there_of_a_file_that_is_being_written(data: bytes, pairs: list[tuple[str, str]]) -> None:
    assert list(parse_begun(data)) == pairs


@given(st.binary(max_size=200))
def test_what_is_being_written_never_fails_and_agrees_when_it_is_whole(data: bytes) -> None:
    begun = dict(parse_begun(data))
    with suppress(OutputFileError):
        assert begun == parse_output(data, "f")
