"""How `make docs` makes pages of this folder, with Sphinx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from runner import __version__

project = "The Runner"
author = "the Runner's authors"
version = release = __version__
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"The Runner {release}"
myst_heading_anchors = 3

_LINK_OUT = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]+)[^)]*\)")


def _name_what_lies_beside(app: Sphinx, page: str, source: list[str]) -> None:
    """A file of the repository that is no page is named and not linked; a link to one that is not there stays, and is a fault."""
    folder = Path(app.srcdir, page).parent
    source[0] = _LINK_OUT.sub(lambda link: link[1] if (folder / link[2]).exists() else link[0], source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _name_what_lies_beside)
    return {"parallel_read_safe": True}
