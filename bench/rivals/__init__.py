"""What others take for the same work: each module is one of them, started in a process of its own by the Python that has it
installed (`make bench-peers`), as `python -m bench.rivals.NAME COUNT`. All have one shape, which `contest` tells. Nothing of the
project is imported here, since that Python does not have it."""
