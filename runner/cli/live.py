"""The live view of a group: a line for each task, drawn anew in its place while the group runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice

from runner.cli.board import Board
from runner.cli.picture import Picture
from runner.cli.screen import Screen
from runner.cli.terminal import complaints_to
from runner.errors import RunnerError
from runner.model.explanation import Explanation
from runner.model.watch import Happening

FRAME_SECONDS = 0.1
ASKED_EVERY_SECONDS = 0.5
MOST_ASKED = 5
"""So many questions are asked at a time."""

Ask = Callable[[str], Awaitable[Explanation]]
"""Why a task is as it is, of the place where its group is."""


class Live:
    """Shows one group. What is complained about meanwhile stands above it, where `with_complaints`."""

    def __init__(
        self, board: Board, picture: Picture, screen: Screen, *, ask: Ask | None = None, with_complaints: bool = True
    ) -> None:
        self._board = board
        self._picture = picture
        self._screen = screen
        self._ask = ask
        self._with_complaints = with_complaints
        self._size = screen.size

    def typed(self, lines: int) -> None:
        """A person has pressed Enter so often."""
        self._screen.typed(lines)

    async def show(self, story: AsyncIterator[Sequence[Happening]]) -> None:
        """Show all of it, to its end; what is seen last stays on the screen."""
        with ExitStack() as stack:
            if self._with_complaints:
                stack.enter_context(complaints_to(self._screen.say))
            stack.enter_context(_told_of_returns(self._screen))
            await self._show(story)
            await self._frame()

    async def _show(self, story: AsyncIterator[Sequence[Happening]]) -> None:
        failure: RunnerError | None = None
        over = asyncio.Event()
        async with asyncio.TaskGroup() as beside:
            beside.create_task(self._paint(over))
            asking = None if self._ask is None else beside.create_task(self._ask_on(self._ask))
            try:
                async for happenings in story:
                    for happening in happenings:
                        self._board.take(happening)
            except RunnerError as error:
                failure = error
            over.set()
            if asking is not None:
                asking.cancel()
        if failure is not None:
            raise failure

    async def _paint(self, over: asyncio.Event) -> None:
        """Until it is `over`; not cut off then, or a thread could still draw this frame behind the last one."""
        while not (over.is_set() or self._screen.lost):
            size = self._screen.size
            # While a window is being drawn larger or smaller each frame would leave traces.
            if size == self._size and self._screen.takes:
                await self._frame()
            self._size = size
            with suppress(TimeoutError):
                async with asyncio.timeout(FRAME_SECONDS):
                    await over.wait()

    async def _frame(self) -> None:
        width, height = self._screen.size
        said, self._board.said = self._board.said, []
        # A terminal that is held keeps whoever writes to it waiting.
        if said:
            await asyncio.to_thread(self._screen.say, "\n".join(said))
        await asyncio.to_thread(self._screen.draw, self._picture.draw(self._board, width - 1, height - 1))

    async def _ask_on(self, ask: Ask) -> None:
        """Where it is not known what waits for what, ask about those that may be seen, and again when what they wait for is over."""
        # It may be allowed to watch and not to ask, and what is seen is true without that too.
        with suppress(RunnerError):
            while True:
                for name in list(islice(self._board.unexplained(), MOST_ASKED)):
                    self._board.explain(name, (await ask(name)).cause)
                await asyncio.sleep(ASKED_EVERY_SECONDS)


@contextmanager
def _told_of_returns(screen: Screen) -> Iterator[None]:
    """Whoever was stopped (Ctrl-Z) finds another picture when they come back."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCONT, screen.leave)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCONT)
