"""`runner schema`, as docs/editors.md has it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

from tests.acceptance.command import Command
from tests.readme import commands

DOCUMENT = Path(__file__).parents[2] / "docs" / "editors.md"


def first_yaml() -> str:
    found = re.search(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_the_schema_is_printed_and_holds_for_the_document_that_names_it(runner: Command) -> None:
    done = runner("schema")
    assert (done.status, done.stderr) == (0, "")
    schema = done.json
    Draft7Validator.check_schema(schema)
    text = first_yaml()
    assert "# yaml-language-server: $schema=runner.schema.json" in text
    assert "runner schema > runner.schema.json\n" in commands(DOCUMENT)
    document: dict[str, Any] = yaml.safe_load(text)
    assert Draft7Validator(schema).is_valid(document)
    assert not Draft7Validator(schema).is_valid({**document, "nmae": "x"})
    assert runner("validate", runner.write(text)).status == 0
