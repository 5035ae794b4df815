"""How a group is named on the command line: by its id, by a beginning of it that only it has, or as the last one."""

from __future__ import annotations

from runner.cli.groups import Groups
from runner.errors import GroupNotFoundError, UsageError

LAST = "@last"
HELP = f"its id, or the beginning of it; {LAST} for the group that was accepted last"
MOST_LOOKED_AT = 20_000
MOST_NAMED = 5


async def resolve(groups: Groups, text: str) -> str:
    """The id that is meant. Raises GroupNotFoundError, and UsageError where there are several."""
    if text == LAST:
        async for summary in groups.list():
            return summary.id
        raise GroupNotFoundError(f"{LAST}: there is no group yet")
    if not text:
        raise UsageError(f"an empty id names no group; give {HELP}")
    try:
        return (await groups.summary(text)).id
    except GroupNotFoundError as error:
        found = await _beginning_with(groups, text)
        if not found:
            raise
        if len(found) > 1:
            raise UsageError(f"several groups begin with {text!r}: {', '.join(found)}; give more of the id") from error
        return found[0]


async def _beginning_with(groups: Groups, text: str) -> list[str]:
    found = []
    looked_at = 0
    async for summary in groups.list():
        looked_at += 1
        if summary.id.startswith(text):
            found.append(summary.id)
        if looked_at >= MOST_LOOKED_AT or len(found) >= MOST_NAMED:
            break
    return found
