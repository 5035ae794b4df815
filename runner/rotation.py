"""Puts a new sealing key in the place of the old one, and seals anew all that was sealed with that.

While nobody works on the state. May be ended anywhere and be done again: the former key stays beside the new one until nothing needs
it any more, and whatever works on the state meanwhile opens what either has sealed. The steps:

1. the old key is written to `key.former`, and then a new one to `key`; whoever reads a key from now on finds the new one;
2. inputs, outputs, digests of submissions and what logs hold back are sealed anew, group by group; a run that is in use is left out;
3. `key.former` is removed, unless a run was left out.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from msgspec import Struct

from runner import privatefile, sealing
from runner.engine import again, variables
from runner.engine.services import group_digest, input_context, output_context
from runner.errors import StateLockedError, StoreFullError, UsageError
from runner.logs.files import FileLogStore
from runner.model import codec
from runner.model.dispatch import AttemptId
from runner.sealing import Sealer
from runner.store.base import Archive, GroupQuery, GroupRecord, GroupRow
from runner.store.retirement import DATABASE
from runner.store.sqlite import SqliteStore

PAGE = 100


class Rotated(Struct, kw_only=True):
    """What was done. Counted are values that were sealed anew, and digests."""

    key: str = ""
    former: str = ""
    resumed: bool = False
    """The new key was there already: a former attempt had been cut off, or had left something out."""
    groups: int = 0
    values: int = 0
    held_back: int = 0
    in_use: list[str] = []
    """Runs that were left out."""
    unknown: list[str] = []
    """Groups whose digest could not be made anew: submitted again as they were, they will be taken for others."""
    not_compacted: bool = False
    """There was no room to write a database anew: what was sealed with the former key may lie in parts of it that are not used."""


def rotate(state_dir: Path) -> Rotated:
    """Raises StateLockedError while a node works on `state_dir`, UsageError where there is no key, StoreError, SealError and
    OSError; then it is to be done again."""
    key_file = state_dir / "key"
    if not key_file.exists():
        raise UsageError(f"{state_dir} has no sealing key: nothing was ever sealed there; give another state directory")
    done = Rotated()
    node = _opened(state_dir) if (state_dir / DATABASE).exists() else None
    try:
        done.resumed = not _begin(key_file)
        sealer = Sealer.open_or_create(key_file)
        assert sealer.former is not None, "it was just written"
        done.key, done.former = sealer.key_id, sealer.former.key_id
        if node is not None:
            _reseal(node, state_dir, sealer, done)
    finally:
        if node is not None:
            node.close()
    for folder in _runs(state_dir):
        try:
            store = _opened(folder)
        except StateLockedError:
            # Whoever has it in use may have read the former key, and seal with it still.
            done.in_use.append(folder.name)
            continue
        try:
            _reseal(store, folder, sealer, done)
        finally:
            store.close()
    if not done.in_use:
        sealing.former_key(key_file).unlink()
        privatefile.sync_folder(state_dir)
    return done


def _begin(key_file: Path) -> bool:
    """Whether it was this call that has put a new key into its place."""
    former = sealing.former_key(key_file)
    if not former.exists():
        privatefile.write(former, sealing.read_key(key_file))
    elif sealing.read_key(former) != sealing.read_key(key_file):
        return False
    privatefile.write(key_file, secrets.token_bytes(sealing.KEY_BYTES), replace=True)
    return True


def _opened(folder: Path) -> SqliteStore:
    return SqliteStore.open(folder / DATABASE, call_soon_threadsafe=lambda callback: callback())


def _runs(state_dir: Path) -> Iterator[Path]:
    for path in sorted(state_dir.glob(f"runs/*/{DATABASE}")):
        yield path.parent


def _reseal(store: Archive, folder: Path, sealer: Sealer, done: Rotated) -> None:
    while store.purge(1000):  # what nobody sees any more is not sealed anew
        pass
    logs = FileLogStore(folder / "logs", sealer=sealer)
    before = done.values
    for row in _groups(store):
        record = store.group(row.id)
        assert record is not None, "nobody else works on it"
        _reseal_group(store, record, sealer, done)
        for attempt in record.attempts:
            done.held_back += logs.reseal(AttemptId(attempt.group, attempt.task, attempt.attempt))
        done.groups += 1
    try:
        store.compact()
    except StoreFullError:
        done.not_compacted = done.not_compacted or done.values > before


def _groups(store: Archive) -> Iterator[GroupRow]:
    query = GroupQuery(limit=PAGE)
    while True:
        page = store.groups(query)
        yield from page.rows
        if page.next is None:
            return
        query = GroupQuery(limit=PAGE, before=page.next)


def _reseal_group(store: Archive, record: GroupRecord, sealer: Sealer, done: Rotated) -> None:
    row = record.group
    anew = _Anew(sealer)
    inputs = anew.values(row.inputs, input_context(row.id))
    outputs = {
        task.name: sealed
        for task in record.tasks
        if task.outputs and (sealed := anew.values(task.outputs, output_context(row.id, task.name))) != task.outputs
    }
    digest = _digest(row, sealer)
    # One that does another group again has that in its digest, which may be gone; nobody has a document of it to submit.
    if digest is None and again.former_of(store, row.id) is None:
        done.unknown.append(row.public_id)
    if anew.count or digest not in (None, row.digest):
        store.reseal(row.id, digest or row.digest, inputs, outputs)
    done.values += anew.count


def _digest(row: GroupRow, sealer: Sealer) -> str | None:
    """Under the present key; None where it is not of what is kept: another version of the runner has written it."""
    former = sealer.former
    assert former is not None
    stored = codec.decode_values(row.inputs, partial(sealer.unseal, context=input_context(row.id)))
    group, inputs = variables.with_secrets(codec.decode_group(row.document), stored)
    whole = codec.encode_group(group)
    present = group_digest(whole, inputs, sealer)
    return present if row.digest in (group_digest(whole, inputs, former), present) else None


class _Anew:
    """Seals with the present key what was sealed with the former one, and counts that."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self.count = 0

    def values(self, data: bytes, context: str) -> bytes:
        """Values as `codec.encode_values` gives them; the same bytes where nothing in them was sealed with the former key."""
        before = self.count

        def opened(sealed: bytes) -> bytes:
            self.count += self._sealer.is_former(sealed)
            return self._sealer.unseal(sealed, context)

        values = codec.decode_values(data, opened)
        return codec.encode_values(values, partial(self._sealer.seal, context=context)) if self.count > before else data
