"""`python -I -S …/runner/process/supervisor/__main__.py MODE …`, the first connection on descriptor 3."""

import os
import sys


def start() -> None:
    # The copy that is run has no other way to its own modules: an isolated interpreter looks in the library alone.
    sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..")))
    from runner.process.supervisor.main import main

    main(sys.argv[1:])


if __name__ == "__main__":
    start()
