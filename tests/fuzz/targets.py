"""What is fuzzed: each target is a module of this package with `check`, which takes any bytes, and `WORDS`, which its inputs like to hold."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hypothesis import strategies as st

NAMES = ("documents", "expressions", "outputs", "streams")
CORPUS = Path(__file__).parent / "corpus"

Check = Callable[[bytes], None]
"""Raises AssertionError for an input that finds a fault."""


def load(name: str) -> Check:
    check: Check = importlib.import_module(f"tests.fuzz.{name}").check
    return check


def words(name: str) -> Sequence[bytes]:
    found: Sequence[bytes] = importlib.import_module(f"tests.fuzz.{name}").WORDS
    return found


def corpus(name: str) -> Iterator[Path]:
    return (path for path in sorted((CORPUS / name).iterdir()) if path.is_file())


def seeds(name: str) -> list[Path]:
    """Folders with what a fuzzer may begin with."""
    groups = Path(__file__).parents[1] / "testdata" / "groups"
    return [CORPUS / name, *([groups / "valid", groups / "invalid"] if name == "documents" else [])]


def inputs(name: str, longest: int) -> st.SearchStrategy[bytes]:
    """Bytes, words, and what decides what is built."""
    pieces = st.sampled_from(words(name)) | st.binary(max_size=8)
    return (
        st.lists(pieces, max_size=24).map(b"".join)
        | st.binary(max_size=longest - 1).map(lambda data: b"\0" + data)
        | st.binary(max_size=longest)
    ).map(lambda data: data[:longest])
