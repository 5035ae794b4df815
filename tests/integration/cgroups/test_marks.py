"""Containment by control groups: what carries no mark, or that of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.process.host import SupervisorHost
from tests import hostile
from tests.contract.process_labs import Sink, program
from tests.integration.cgroups.driving import direct, play, until_held


def test_what_carries_no_mark_does_not_escape_while_others_run(tmp_path: Path) -> None:
    """It does what it does once it is in its control group."""

    async def scenario(host: SupervisorHost) -> None:
        other = await host.spawn("other", program(["sleep", "1000"]), Sink())
        sink = Sink()
        code = f"import time\ntime.sleep(0.2)\n{hostile.ESCAPES}"
        process = await host.spawn("k", program(hostile.python(code)), sink)
        await sink.until(b"ready ")
        pid = hostile.pid_said(sink.data["stdout"])
        await hostile.until_bare(pid)
        assert await until_held(host, pid) == await until_held(host, process.started.pid)
        assert await until_held(host, other.started.pid) != await until_held(host, pid)
        await host.stop("k", 0.2)
        exit = await process.wait()
        assert not hostile.is_alive(pid)
        assert exit.kill is not None
        assert (exit.kill["containment"], exit.kill["survivors"], exit.kill["leftovers"]) == ("cgroup2", 0, 1)
        assert hostile.is_alive(other.started.pid)

    play(tmp_path, scenario)


def test_what_carries_no_mark_belongs_to_the_one_that_is_not_contained_yet() -> None:
    """It does what it does before it is put into its control group."""
    told = direct("""
other = start("other", ["sleep", "1000"])
first = settled(other)
record, pid = escape("k")
then = settled(record)
tell(first=first, then=then, kill=end(record), alive=hostile.is_alive(pid), other=hostile.is_alive(other.pid))
""")
    assert (told["first"], told["then"], told["alive"], told["other"]) == ([True], [True], False, True)
    assert [(kill["containment"], kill["survivors"]) for kill in told["kill"]] == [("cgroup2", 0)]


def test_nothing_is_claimed_where_what_carries_no_mark_may_be_of_either_of_two() -> None:
    told = direct("""
other = start("other", ["sleep", "1000"])
record, pid = escape("k")
contained = settled(other, record)
later = start("later", ["sleep", "1000"])
tell(contained=contained, later=settled(later), kill=end(record, other), alive=hostile.is_alive(pid))
""")
    assert told["contained"] == [False, False]
    assert told["later"] == [True], "what was there before it began is not its own"
    assert [(kill["containment"], "survivors" in kill) for kill in told["kill"]] == [("marker", False)] * 2


@pytest.mark.parametrize("kind", hostile.FORGES)
def test_a_mark_that_was_made_up_is_as_good_as_none(kind: str) -> None:
    told = direct(f"""
other = start("other", ["sleep", "1000"])
first = settled(other)
record, pid = start_ready("k", hostile.FORGES[{kind!r}])
then = settled(record)
tell(first=first, then=then, kill=end(record), alive=hostile.is_alive(pid), other=hostile.is_alive(other.pid))
""")
    assert (told["first"], told["then"], told["alive"], told["other"]) == ([True], [True], False, True)
    assert [(kill["containment"], kill["survivors"], kill["leftovers"]) for kill in told["kill"]] == [("cgroup2", 0, 1)]


def test_nothing_is_claimed_where_a_mark_may_have_been_copied() -> None:
    """It is ended with the attempt whose mark it is."""
    told = direct("""
other = start("other", ["sleep", "1000"])
first = settled(other)
text = hostile.FORGES["text"].replace("os.environ['RUNNER_TASK_ID'].partition('/')[0] + '/nobody'", repr(other.mark.text))
record, pid = start_ready("k", text)
then = settled(record)
kill, lives = end(record), hostile.is_alive(pid)
tell(first=first, then=then, kill=kill + end(other), lives=lives, alive=hostile.is_alive(pid))
""")
    assert (told["first"], told["then"], told["lives"], told["alive"]) == ([True], [False], True, False)
    assert [(kill["containment"], "survivors" in kill) for kill in told["kill"]] == [("marker", False)] * 2
