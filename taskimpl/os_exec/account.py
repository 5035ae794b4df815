"""The user that a program runs as, by the name or the number that a document gives."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from pathlib import PurePath

from msgspec import Struct

from drivers.base import ProcessUser
from runner.errors import StartError

_LARGEST_ID = 2**32 - 2  # the one after it means «leave it as it is»
_PART = re.compile(r"[^\s:/\0]{1,256}")


class Account(Struct, frozen=True, kw_only=True):
    """`home` is the user's own folder."""

    user: ProcessUser
    home: str


def check(text: str) -> str:
    """`text`, if it can name a user: `name`, `uid`, and behind a colon a group's name or number. Raises ValueError."""
    parts = text.split(":")
    if len(parts) > 2 or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError("expected a user's name or number, or user:group")
    if any(_is_number(part) and int(part) > _LARGEST_ID for part in parts):
        raise ValueError(f"a user's or a group's number is at most {_LARGEST_ID}")
    return text


def find(text: str) -> Account:
    """Who that is on this machine. Blocks, for as long as the system's directory of users takes. Raises StartError."""
    name, _, group = text.partition(":")
    entry = _entry(name)
    gid = _gid(group) if group else entry.pw_gid if entry else None
    if gid is None:
        raise StartError(
            f"the user {name} has no entry on this machine, so that its group has to be given: {name}:GROUP"
        )
    if entry is None:
        return Account(user=ProcessUser(uid=int(name), gid=gid), home="/")
    groups = tuple(os.getgrouplist(entry.pw_name, gid))
    return Account(user=ProcessUser(uid=entry.pw_uid, gid=gid, groups=groups), home=entry.pw_dir or "/")


def check_way(user: ProcessUser, folder: str) -> None:
    """Raises StartError where this user cannot pass through all that leads to `folder`, and through it."""
    for path in (folder, *map(str, PurePath(folder).parents)):
        status = os.stat(path)
        if status.st_uid == user.uid:
            passes = stat.S_IXUSR
        elif status.st_gid in (user.gid, *user.groups):
            passes = stat.S_IXGRP
        else:
            passes = stat.S_IXOTH
        if user.uid != 0 and not status.st_mode & passes:
            raise StartError(
                f"the user {user.uid} cannot reach the runner's private folder, for {path} is closed to it"
            )


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(name)) if _is_number(name) else pwd.getpwnam(name)
    except KeyError:
        if _is_number(name):
            return None
        raise StartError(f"there is no user {name!r} on this machine") from None


def _gid(name: str) -> int:
    if _is_number(name):
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise StartError(f"there is no group {name!r} on this machine") from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
