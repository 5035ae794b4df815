"""The files that a task is given: `files: {kubeconfig: "{{ .fetch.kubeconfig }}"}`, whose path it finds in `$FILE_KUBECONFIG`.

They lie in a folder of the attempt's own (0700), under the names that the document gives them, so that a program that goes by
a suffix, or that puts a lock or a new version beside a file, finds what it expects, and all of it goes with the folder. The
folder is in the runner's private one, on tmpfs where there is one.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import Struct
from pydantic import AfterValidator, BeforeValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from drivers.base import Says
from runner.removal import remove_tree

MAX_FILE_BYTES = 4 << 20
MAX_ALL_BYTES = 16 << 20
MAX_FILES = 128
PREFIX = "FILE_"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DRAFT = ".new"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def variable(name: str) -> str:
    """The environment variable that holds the path of the file `name`: `kube-config.yaml` gives FILE_KUBE_CONFIG_YAML."""
    return PREFIX + name.replace("-", "_").replace(".", "_").upper()


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a file's name has letters, digits, '_', '-' and '.', no '-' or '.' first, and at most 128 of them"
        )
    return name


def _given(value: Any) -> Any:
    return "" if value is None else value


def _checked_text(text: str) -> str:
    try:
        size = _bytes(text)
    except UnicodeEncodeError:
        raise ValueError("it cannot be written as UTF-8") from None
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{size:,} bytes; a file may have {MAX_FILE_BYTES:,}: leave larger data in the workspace")
    return text


def _checked(files: dict[str, str]) -> dict[str, str]:
    if len(files) > MAX_FILES:
        raise ValueError(f"{len(files):,} files; a task may be given {MAX_FILES}")
    size = sum(_bytes(text) for text in files.values())
    if size > MAX_ALL_BYTES:
        raise ValueError(
            f"{size:,} bytes in all; a task's files may have {MAX_ALL_BYTES:,}: leave larger data in the workspace"
        )
    taken: dict[str, str] = {}
    faults = []
    for name in files:
        other = taken.setdefault(variable(name), name)
        if other != name:
            faults.append(
                (name, f"its path would be in ${variable(name)}, as that of {other!r} is: rename one of them")
            )
    if faults:
        raise refused(faults)
    return files


def refused(faults: Iterable[tuple[str, str]], *field: str) -> ValidationError:
    """(a file's name, what is wrong with it) as what a validator may raise, so that each is told at its place. `field` leads
    there from what is validated."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{error}", {"error": message}),
            loc=(*field, name, "[key]"),
            input=name,
        )
        for name, message in faults
    ]
    return ValidationError.from_exception_data("files", details)


Files = Annotated[
    dict[
        Annotated[str, AfterValidator(_checked_name)],
        Annotated[str, BeforeValidator(_given), AfterValidator(_checked_text), Says({"type": "null"})],
    ],
    AfterValidator(_checked),
    Says(maxProperties=MAX_FILES, propertyNames={"pattern": f"^{_NAME.pattern}$"}),
]
"""What a spec says of them: their contents by name."""


Owner = tuple[int, int]
"""The user and the group of a program that runs as somebody else."""


class GivenFiles(Struct, frozen=True, kw_only=True):
    """Those of one attempt. Where they lie follows from its key, so that those of a former runner are found again."""

    folder: str
    owner: Owner | None = None

    def environment(self, files: Mapping[str, str]) -> Mapping[str, str]:
        """The variables with the paths of `files`."""
        return {variable(name): os.path.join(self.folder, name) for name in files}

    def make(self, files: Mapping[str, str]) -> None:
        """Write them, 0600, unless a former start of the same attempt did: then they are left as they are, for the program may
        run already. All of them or none: a runner that is killed leaves a draft, which does not count. Raises OSError."""
        if os.path.lexists(self.folder):
            return
        draft = self.folder + _DRAFT
        remove_tree(draft)
        try:
            os.mkdir(draft, 0o700)
            self._fill(draft, files)
            os.rename(draft, self.folder)
        except BaseException:
            remove_tree(draft)
            raise

    def _fill(self, draft: str, files: Mapping[str, str]) -> None:
        # By its descriptor: who owns the folder around it could put another one in its place.
        descriptor = os.open(draft, _FOLDER)
        try:
            if os.fstat(descriptor).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "somebody has put another folder in the place of theirs")
            for name, text in files.items():
                write_private(name, text.encode(), self.owner, dir_fd=descriptor)
            if self.owner is not None:
                os.fchown(descriptor, *self.owner)
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """With all that was put beside them, which may take a while. May be repeated."""
        remove_tree(self.folder)


def write_private(path: str, content: bytes, owner: Owner | None = None, *, dir_fd: int | None = None) -> None:
    """Make a file, 0600, that belongs to `owner`. Raises OSError; FileExistsError when there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600, dir_fd=dir_fd)
    try:
        if owner is not None:
            os.fchown(descriptor, *owner)
        written = 0
        while written < len(content):
            written += os.write(descriptor, content[written:] if written else content)
    finally:
        os.close(descriptor)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
