"""Makes a state directory of a backup.

A backup tells what was at a moment that is over. What was to be done then has been done since, or given up, and must not be done
again: so the groups that were not over are ended by the first node that works on the new directory (`RESTORED` tells it to), and that
node has an identity of its own. What ran then is `errored: host_restarted`, or aborted, and nobody looks for its processes: they
may be those of the node that the backup is of, which may work on.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from runner import privatefile, sealing
from runner.backup import RESTORED, archive
from runner.backup.archive import Heading
from runner.backup.taking import KEY
from runner.errors import BackupError, UsageError
from runner.removal import remove_tree
from runner.store import snapshot
from runner.store.retirement import DATABASE


class Restored(Struct, frozen=True, kw_only=True):
    heading: Heading
    unfinished: int
    """How many groups were not over, and will be ended."""


def restore(read: Callable[[], bytes], state_dir: Path, *, key_file: Path | None = None) -> Restored:
    """Make `state_dir`, which is empty or not there, of a backup; `read` gives some bytes of it, none at the end. `key_file` is the
    sealing key, for a backup without it. The directory is there whole or not at all. Raises BackupError, UsageError, StoreError,
    SealError, and OSError."""
    if os.path.lexists(state_dir) and (not state_dir.is_dir() or any(state_dir.iterdir())):
        raise UsageError(
            f"{state_dir} is not empty: a backup is restored into an empty folder, or one that is not there"
        )
    privatefile.make_folder(state_dir.parent)
    draft = state_dir.with_name(f".{state_dir.name}.{secrets.token_hex(8)}")
    draft.mkdir(mode=0o700)
    try:
        heading = archive.unpack(read, draft)
        _take_key(heading, draft, key_file)
        unfinished = _take_states(draft)
        if unfinished:
            privatefile.write(draft / RESTORED, f"{heading.node or ''}\n".encode())
        os.sync()
        draft.rename(state_dir)
        privatefile.sync_folder(state_dir.parent)
    except BaseException:
        remove_tree(draft)
        raise
    return Restored(heading=heading, unfinished=unfinished)


def _take_key(heading: Heading, draft: Path, key_file: Path | None) -> None:
    """The key that all is sealed with. Raises UsageError where it is not there."""
    if heading.key is None:
        return
    if (draft / KEY).exists():
        key = sealing.read_key(draft / KEY)
    elif key_file is None:
        raise UsageError("the sealing key is not in this backup: give the file that holds it with --key-file")
    else:
        key = sealing.read_key(key_file)
        privatefile.write(draft / KEY, key)
    if (found := sealing.Sealer(key).key_id) != heading.key:
        where = "the key in it" if heading.with_key else f"the key in {key_file}"
        raise UsageError(
            f"{where} is {found}, but the backup was sealed with {heading.key}: give that one with --key-file"
        )


def _take_states(draft: Path) -> int:
    """Look at every database, and make it one of another life. How many groups of a node are not over."""
    unfinished = 0
    for path in (*draft.glob(f"runs/*/{DATABASE}"), draft / DATABASE):
        if path.exists():
            if (fault := snapshot.fault(path)) is not None:
                raise BackupError(f"it is damaged: {path.relative_to(draft)} {fault}")
            unfinished = snapshot.disown(path)
    return unfinished if (draft / DATABASE).exists() else 0
