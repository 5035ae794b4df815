"""What is kept at hand of groups that are over."""

from __future__ import annotations

from runner.clock import Moment
from runner.engine.document import Document
from runner.engine.graph import build
from runner.engine.library import KEPT_BYTES, KEPT_TASKS, LEAST_TASKS, Library
from runner.model.group import TaskGroup
from runner.model.task import Task
from runner.sealing import Sealer
from runner.store.base import GroupHead, GroupRow
from runner.store.memory import MemoryStore

GROUP = TaskGroup(name="small", tasks=(Task(name="a", type="scripted"),))


def library_of(groups: int, bytes: int) -> tuple[Library, list[GroupHead]]:
    """One that has read so many documents, of so many bytes each, each of them twice."""
    store = MemoryStore(lambda callback: callback())
    library = Library(store, Sealer.ephemeral(), lambda id: None)
    heads = []
    for number in range(groups):
        row = GroupRow(
            id=f"g{number}",
            public_id=f"g{number}",
            caller="",
            name="small",
            digest="",
            task_count=1,
            document=b"",
            inputs=b"",
            accepted=Moment(wall=0.0, boot=0.0, boot_id="b"),
        )
        store.accept_group(row, [])
        heads.append(GroupHead(group=row, last_event=0))
        for _ in range(2):
            library.keep(heads[-1], Document(GROUP, build(GROUP.tasks), bytes))
    return library, heads


def test_small_documents_are_not_kept_for_ever() -> None:
    most = KEPT_TASKS // LEAST_TASKS
    library, heads = library_of(most + 10, 1000)
    kept = [library.unread(head) is None for head in heads]
    assert most - 30 < sum(kept) <= most
    assert all(kept[-100:]), "the last ones are at hand"
    assert not any(kept[:5])


def test_large_documents_are_kept_as_far_as_there_is_room() -> None:
    library, heads = library_of(8, KEPT_BYTES // 4)
    assert [library.unread(head) is None for head in heads] == [False] * 4 + [True] * 4
    for head in heads[4:]:  # what is gone makes room
        library.forget(head.group.id)
    for head in heads[:4]:
        library.keep(head, Document(GROUP, build(GROUP.tasks), KEPT_BYTES // 4))
    assert [library.unread(head) is None for head in heads] == [True] * 4 + [False] * 4


def test_the_last_document_is_kept_however_large_it_is() -> None:
    library, heads = library_of(3, 2 * KEPT_BYTES)
    assert [library.unread(head) is None for head in heads] == [False, False, True]
