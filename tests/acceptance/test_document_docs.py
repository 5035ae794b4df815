"""The examples of docs/document.md that need nothing but a shell, run as they stand there."""

from __future__ import annotations

import pytest

from tests.acceptance.command import Command
from tests.unit.test_docs_of_documents import EXAMPLES

SHOWS = {
    "say": "say  | eu\n",
    "login": "login.notes = several\\nlines\n",
    "everything": "/settings.ini\n",
    "check": '| ["debian-3.12.xml","debian-3.13.xml","alpine-3.13.xml","fedora-3.13.xml"]\n',
    "fetch": "fill-in.result = image: app:1.10, replicas: 3\n",
}
"""By the first task of the example."""


@pytest.mark.parametrize("first", SHOWS)
def test_an_example(runner: Command, first: str) -> None:
    [text] = [
        text for text in EXAMPLES if text.partition("- name: ")[2].startswith(f"{first}\n") and "curl" not in text
    ]
    given = ["--set", "version=1", "--set-secret", "token=-"] if "required: true" in text else []
    done = runner("run", runner.write(text), *given, stdin=b"a-secret-token")
    assert done.status == 0, done.stderr
    assert SHOWS[first] in done.stdout
