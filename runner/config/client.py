"""What the environment says to those who speak with a node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from runner.errors import UsageError


class ClientSettings(Struct, frozen=True, kw_only=True):
    """`to` and `context` name a node; the token, or its file, is for one that has none of its own. Empty is not given."""

    contexts_file: Path
    to: str
    context: str
    token: str
    token_file: str

    def __repr__(self) -> str:
        return f"ClientSettings(to={self.to!r}, context={self.context!r})"  # and no token


def load_client_settings(environ: Mapping[str, str] | None = None) -> ClientSettings:
    if environ is None:
        environ = os.environ
    return ClientSettings(
        contexts_file=_config_dir(environ) / "contexts.toml",
        to=environ.get("RUNNER_TO", ""),
        context=environ.get("RUNNER_CONTEXT", ""),
        token=environ.get("RUNNER_TOKEN", ""),
        token_file=environ.get("RUNNER_TOKEN_FILE", ""),
    )


def _config_dir(environ: Mapping[str, str]) -> Path:
    # The specification of XDG_CONFIG_HOME says that a relative path is to be ignored.
    home = environ.get("XDG_CONFIG_HOME", "")
    if home.startswith("/"):
        return Path(home, "runner")
    own = environ.get("HOME") or os.path.expanduser("~")
    if own == "~":  # as it was: the system knows nothing of this user
        raise UsageError("there is no home folder to look for contexts in; set XDG_CONFIG_HOME")
    return Path(own, ".config", "runner")
