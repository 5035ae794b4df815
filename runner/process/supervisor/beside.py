"""Work beside the loop, one piece after the other: for calls that may wait for the kernel while nobody waits for them."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of the supervisor is waited for
    from collections.abc import Callable


class Beside:
    """A thread that is started with the first piece of work, and that nobody waits for at the end but in `finish`."""

    def __init__(self) -> None:
        self._put: Callable[[Callable[[], None]], None] | None = None

    def do(self, work: Callable[[], None]) -> None:
        """`work` must not raise. It is done at once where there can be no thread."""
        if self._put is None:
            self._put = _started()
        self._put(work)

    def finish(self, seconds: float) -> None:
        """Wait until all is done, `seconds` at most."""
        if self._put is not None:
            import threading

            done = threading.Event()
            self._put(done.set)
            done.wait(seconds)


def _started() -> Callable[[Callable[[], None]], None]:
    import queue  # takes 2 ms, in which nobody waits for us
    import threading

    todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def serve() -> None:
        # The ends of children are the loop's. While it starts one it has all signals blocked, and this thread would be woken for them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            todo.get()()

    try:
        threading.Thread(target=serve, daemon=True).start()
    except RuntimeError:  # the user may have no more threads
        return lambda work: work()
    return todo.put
