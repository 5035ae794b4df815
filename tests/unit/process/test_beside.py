from __future__ import annotations

import signal
import threading

from runner.process.supervisor.beside import Beside


def test_no_signal_wakes_what_is_done_beside_the_loop() -> None:
    """The ends of children are told by signals, and those are the loop's."""
    seen: list[tuple[threading.Thread, set[int]]] = []
    beside = Beside()
    beside.do(lambda: seen.append((threading.current_thread(), set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))))
    beside.finish(60.0)
    ((thread, blocked),) = seen
    assert thread is not threading.main_thread()
    assert blocked >= signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
