"""What a command needs of the place where groups are: a node (`runner.client`), or what `runner run` has kept (`runner.runs`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from runner.model.explanation import Explanation
from runner.model.log import Stream
from runner.model.query import GroupFilter
from runner.model.result import Status, TaskGroupResult
from runner.model.summary import GroupSummary
from runner.model.watch import Happening, LogChunk


class Groups(Protocol):
    """Every verb raises GroupNotFoundError for a group, or a task, that is not there, and UnreachableError where the place itself
    cannot be had."""

    def list(self, filter: GroupFilter = ...) -> AsyncIterator[GroupSummary]:
        """Without counts; the last accepted first."""

    async def summary(self, id: str) -> GroupSummary:
        """With counts."""

    async def result(self, id: str, *, reveal: bool = False, limit: int = 0) -> TaskGroupResult:
        """As recorded so far; of at most `limit` tasks, the first of the document, unless that is 0."""

    async def explain(self, id: str, task: str | None = None) -> Explanation:
        """Why the group, or one of its tasks, is as it is."""

    def watch_in_batches(self, id: str, *, output: bool = True) -> AsyncIterator[Sequence[Happening]]:
        """Its story from the beginning, each piece once, until it is over, or nobody carries it out any more."""

    def events(self, id: str, *, follow: bool = False) -> AsyncIterator[Sequence[Happening]]:
        """Its events so far, or with `follow` until it is over."""

    def logs(
        self,
        id: str,
        task: str,
        *,
        attempt: int = 0,
        stream: Stream | None = None,
        offset: int = 0,
        follow: bool = False,
    ) -> AsyncIterator[LogChunk]:
        """What an attempt has printed (the last one for 0), of one stream from `offset` on or of both; with `follow` until it is
        over. A last piece without data tells how much is missing at the end of a stream. Raises LogGapError."""

    async def cancel(self, id: str, *, at_once: bool = False) -> Status:
        """Ask for its early end; `at_once` without clean-up. Repeated it changes nothing."""

    async def remove(self, id: str) -> None:
        """Remove it, with its logs, if it is over. Raises GroupInUseError, which says why it stays."""

    async def signal(self, id: str, task: str, signal: str) -> bool:
        """Whether the task runs and was sent it."""
