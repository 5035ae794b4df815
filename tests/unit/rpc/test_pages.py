"""Tokens of pages: good for whom they were given, and for what he has asked."""

from __future__ import annotations

import pytest

from runner.errors import UsageError
from runner.rpc.pages import Pages
from runner.sealing import Sealer
from runner.v1 import runner_pb2 as pb

QUESTION = pb.ListTaskGroupsRequest(labels={"a": "1", "b": "2"}, page_size=3)


def test_it_leads_back_to_its_place() -> None:
    pages = Pages(Sealer.ephemeral())
    assert pages.token(None, "ada", QUESTION) == ""
    assert pages.place("", "ada", QUESTION) is None
    for place in (0, 7, 1 << 62):
        token = pages.token(place, "ada", QUESTION)
        again = pb.ListTaskGroupsRequest(labels={"b": "2", "a": "1"}, page_size=9, page_token=token)
        assert pages.place(token, "ada", again) == place


def test_it_says_nothing() -> None:
    pages = Pages(Sealer.ephemeral())
    tokens = [pages.token(place, "ada", QUESTION) for place in (1, 1, 1 << 62)]
    assert len(set(tokens)) == 3
    assert len({len(token) for token in tokens}) == 1


@pytest.mark.parametrize("token", ["7", "x" * 1000, "é", "AAAA", "-" * 80, "\n"])
def test_what_nobody_has_given(token: str) -> None:
    with pytest.raises(UsageError, match="was not given by this runner"):
        Pages(Sealer.ephemeral()).place(token, "ada", QUESTION)


def test_it_is_of_no_use_to_others_or_elsewhere() -> None:
    pages = Pages(Sealer.ephemeral())
    token = pages.token(7, "ada", QUESTION)
    altered = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for caller, question, given, made in (
        ("bob", QUESTION, token, pages),
        ("ada", pb.ListTaskGroupsRequest(labels={"a": "1"}), token, pages),
        ("ada", pb.GetTaskGroupRequest(), token, pages),
        ("ada", QUESTION, altered, pages),
        ("ada", QUESTION, token, Pages(Sealer.ephemeral())),
    ):
        with pytest.raises(UsageError, match="was not given by this runner"):
            made.place(given, caller, question)
