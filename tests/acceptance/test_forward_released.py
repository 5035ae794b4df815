"""That a group is over its executor hears from whichever life of the origin meets it first."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from runner.model.result import Status
from tests.acceptance.command import shell
from tests.acceptance.test_forward import ONPREM, Pair, pair

__all__ = ["pair"]


def test_it_hears_that_from_a_life_that_did_not_end_the_group(pair: Pair) -> None:
    os.mkfifo(pair.folder / "go")
    os.mkfifo(pair.folder / "stay")
    far = shell("far", "pwd", forward=ONPREM)
    ended = pair.submit(far, shell("near", f"read x < {pair.folder}/go", depends_on=["far"]))
    lives = pair.submit(far, shell("near", f"read x < {pair.folder}/stay", depends_on=["far"]))
    for id in (ended, lives):
        pair.until(partial(_runs_near, pair, id))
    over, kept = (Path(pair.log(id, "far").decode().strip()) for id in (ended, lives))
    pair.onprem.end()
    (pair.folder / "go").write_text("\n")
    assert pair.finished(ended).status is Status.SUCCESS
    pair.cloud.end()
    assert over.exists()
    pair.onprem.start()
    pair.cloud.start()
    pair.until(lambda: not over.exists())
    assert kept.exists(), "its group goes on"
    (pair.folder / "stay").write_text("\n")
    pair.until(lambda: not kept.exists())


def _runs_near(pair: Pair, id: str) -> bool:
    return pair.result(id).results["near"].status is Status.RUNNING
