"""What is kept at hand of groups that are over."""

from __future__ import annotations

from runner.clock import Moment
from runner.engine.graph import build
from runner.engine.library import KEPT_TASKS, LEAST_TASKS, Document, Library
from runner.model.group import TaskGroup
from runner.model.task import Task
from runner.sealing import Sealer
from runner.store.base import GroupHead, GroupRow
from runner.store.memory import MemoryStore


def test_small_documents_are_not_kept_for_ever() -> None:
    store = MemoryStore(lambda callback: callback())
    library = Library(store, Sealer.ephemeral(), lambda id: None)
    group = TaskGroup(name="small", tasks=(Task(name="a", type="scripted"),))
    most = KEPT_TASKS // LEAST_TASKS
    heads = []
    for number in range(most + 10):
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
            library.keep(heads[-1], Document(group, build(group.tasks)))
    kept = [library.unread(head) is None for head in heads]
    assert most - 30 < sum(kept) <= most
    assert all(kept[-100:]), "the last ones are at hand"
    assert not any(kept[:5])
