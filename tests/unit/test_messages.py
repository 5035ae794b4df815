"""Every message that a person can cause is quoted by a test: who changes one, or writes a new one, looks at what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import messages
from tests.messages import Message, Quotes

EXCEPTIONS = {
    "runner/rpc/peer": "what runners of ours tell each other; a person hears that a peer is refused",
    "runner/rpc/guestsession.py": "likewise",
    "runner/rpc/reception.py": "likewise",
    "runner/rpc/receiving.py": "of an upload whose sender is gone, who hears nothing of it",
    "runner/rpc/premises.py": "of a node in tests, from which nothing is removed",
    "runner/rpc/shelling.py": "of runners in a circle, and of a caller who takes nothing; all else in it is quoted",
    "runner/process/supervisor/terminals.py": "of a machine that has no terminals left",
    "runner/cli/conversing.py": "is said to a terminal that is gone",
    "runner/engine/places.py": "of outputs that a state directory has lost; all else in it is quoted",
    "runner/process/channel.py": "what the runner and its own supervisor tell each other",
    "runner/process/host.py": "likewise",
    "runner/process/lasting.py": "likewise",
    "runner/process/supervised.py": "likewise",
    "runner/process/supervisor/server.py": "likewise",
    "runner/process/supervisor/program.py": "of a machine that has no room for another process",
    "runner/process/supervisor/forked.py": "of a limit that is below what the supervisor itself takes on that machine",
    "runner/process/launch.py": "of a machine on which Python cannot be started again",
    "runner/process/fake.py": "the twin of a process host, in tests",
    "runner/logs/": "of a log that a disk has damaged; tests/unit/logs/test_damage.py compares what is left of it",
    "runner/store/memory.py": "the twin of a store, in tests",
    "runner/store/sqlite.py": "of an engine that asks its store for what it never does",
    "runner/store/reader.py": "likewise, of one that is closed",
    "runner/store/database.py": "of a library or a file system that no machine here has",
    "runner/preview/texts.py": "is caught, and shown as a place that only a run can fill",
    "runner/workspace.py": "of two that fight over a folder, which nothing can make happen in time",
    "runner/cli/changes.py": "of a system that cannot watch files any more",
    "runner/cli/onchange.py": "likewise",
    "runner/expressions/": "is refused by what looks at the text before",
    "drivers/": "of a driver of somebody else; what is told is put together from its own words",
    "taskimpl/os_exec/driver.py": "becomes the reason `supervisor_lost`, which is told in words of its own",
}
"""Whose messages no test has to quote, and why."""

OURS = (Path(__file__), Path(messages.__file__))


@pytest.fixture(scope="module")
def quoted() -> Quotes:
    return messages.quotes(OURS)


@pytest.fixture(scope="module")
def told() -> list[Message]:
    return messages.messages()


def test_every_message_is_quoted_by_a_test(told: list[Message], quoted: Quotes) -> None:
    missing = [
        f"{each.path}:{each.line}: no test quotes {each.text!r}"
        for each in told
        if not each.path.startswith(tuple(EXCEPTIONS)) and not each.is_quoted_by(quoted)
    ]
    assert not missing, "\n".join(
        [
            *missing,
            "",
            "Cause each as a person would, and compare its whole text: tests/acceptance/test_refusals.py has tables for that.",
        ]
    )


def test_no_exception_is_left_over(told: list[Message], quoted: Quotes) -> None:
    left = {
        path for path in EXCEPTIONS for each in told if each.path.startswith(path) and not each.is_quoted_by(quoted)
    }
    assert set(EXCEPTIONS) == left, "these are quoted by now: take them out of EXCEPTIONS"


def test_all_rooms_are_looked_at(told: list[Message]) -> None:
    """Where the search has become blind nothing would be missing."""
    assert {each.path.split("/")[0] for each in told} == {"runner", "drivers", "taskimpl", "cache"} - {"cache"}
    assert {"complain", "add", "UsageError", "ArgumentTypeError", "Finding", "Fault", "ConfigurationError"} - {
        each.teller for each in told
    } == {"ConfigurationError"}
    assert len(told) > 600


@pytest.mark.parametrize(
    ("pieces", "quote", "is_quoted"),
    [
        (("there is no folder",), "there is no folder /x", True),
        (("there is no folder",), "there is no file", False),
        (("there is no folder",), "there is\nno folder", True),
        (("the group", "is not over"), "the group g is not over", True),
        (("the group", "is not over"), "is not over: the group", False),
        (("cannot be read: Permission denied",), r"cannot be read: .*Permission denied", False),
        (("give it without (them) now",), r"give it without \(them\) now", True),
    ],
)
def test_what_counts_as_quoted(pieces: tuple[str, ...], quote: str, is_quoted: bool) -> None:
    message = Message(path="a.py", line=1, teller="UsageError", pieces=pieces)
    assert message.is_quoted_by(Quotes([quote])) is is_quoted


def test_what_is_read_of_the_code() -> None:
    source = """
class OddError(UsageError): ...
def f(name):
    hint = "give another" if name else "give one at all"
    raise OddError(f"{name!r} is no name: " + hint)
    raise OddError("two words" "and more")
    faults.add(path, f"no such {name} as this", hint=hint)
    print("is not looked at")
"""
    found = messages.told("a.py", source, frozenset({"OddError"}))
    assert [(each.line, each.pieces) for each in found] == [
        (5, ("is no name:",)),
        (6, ("two wordsand more",)),
        (7, ("no such", "as this")),
        (7, ("give another",)),
        (7, ("give one at all",)),
    ]


def test_what_is_read_of_the_tests() -> None:
    source = '''
def test() -> None:
    """A docstring quotes nothing."""
    # "nor does a comment"
    assert said == f"one {value} " "text"  # it's here
    assert "another" in said
'''
    assert [text for text in messages.quoted(source) if text.strip()] == ["one \0 text", "another"]
