"""The confidential inputs of groups are prepared once for all that have the same at one time, and kept for nobody."""

from __future__ import annotations

import gc

import pytest

from runner.dispatch import secrets
from runner.dispatch.secrets import GroupInputs
from runner.masking import Masker
from runner.model.value import Value


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Masker]:
    """The maskers that were made anew."""
    found: list[Masker] = []

    class Counted(Masker):
        def __init__(self) -> None:
            super().__init__()
            found.append(self)

    monkeypatch.setattr(secrets, "Masker", Counted)
    return found


def values(**texts: str) -> dict[str, Value]:
    return {name: Value(text, confidential=True) for name, text in texts.items()}


def test_groups_with_the_same_secrets_share_what_was_prepared(made: list[Masker]) -> None:
    inputs = GroupInputs()
    maskers = [inputs.masker(group, values(token="opensesame-4711", pin="42"))[0] for group in ("a", "b", "c")]
    assert len(made) == 1
    maskers[0].add("only in the first")
    assert [masker.mask("opensesame-4711, only in the first") for masker in maskers[:2]] == [
        "***, ***",
        "***, only in the first",
    ]


def test_other_secrets_and_other_names_are_looked_at_by_themselves(made: list[Masker]) -> None:
    inputs = GroupInputs()
    assert inputs.masker("a", values(pin="42"))[1] == [("inputs.pin", "42")]
    assert inputs.masker("b", values(code="42"))[1] == [("inputs.code", "42")]
    masker, _ = inputs.masker("c", values(pin="another-secret"))
    assert masker.mask("opensesame-4711 another-secret") == "opensesame-4711 ***"
    assert len(made) == 3


def test_what_no_group_has_any_more_is_not_kept(made: list[Masker]) -> None:
    inputs = GroupInputs()
    for group in ("a", "b"):
        inputs.masker(group, values(token="opensesame-4711"))
    inputs.forget("a")
    inputs.masker("c", values(token="opensesame-4711"))
    assert len(made) == 1
    inputs.forget("b")
    inputs.forget("c")
    made.clear()
    gc.collect()
    assert not inputs._shared
